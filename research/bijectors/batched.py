"""What bijectors share: log-determinants, one float32 number an example, what is measured, the bound of log-scales."""

import jax.numpy as jnp

LIMIT = 12.0  # log-scales are clipped to +-12, so that a bad batch cannot overflow


def moments(x, axes):
    """Mean and log of the standard deviation of x over `axes`, 0 where nothing varies."""
    x = x.astype(jnp.float32)
    var = jnp.var(x, axes)
    return jnp.mean(x, axes), 0.5 * jnp.log(jnp.where(var > 1e-10, var, 1.0))


def per_example(x):
    """Sums [B] of x [B, ...]."""
    return jnp.sum(x.astype(jnp.float32).reshape(len(x), -1), axis=1)


def same(x, value):
    """[B] of one value, for a log-determinant that all examples share."""
    return jnp.full(len(x), value, jnp.float32)
