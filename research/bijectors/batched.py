"""Sums over all axes but the first, in float32: log-determinants are one number an example."""

import jax.numpy as jnp


def per_example(x):
    """Sums [B] of x [B, ...]."""
    return jnp.sum(x.astype(jnp.float32).reshape(len(x), -1), axis=1)


def same(x, value):
    """[B] of one value, for a log-determinant that all examples share."""
    return jnp.full(len(x), value, jnp.float32)
