"""Data as stored and data as a net sees them: integers on [-1, 1] and back, labels from what a user asks for."""

import jax.numpy as jnp
import numpy as np

from research.errors import UserError, is_known


def encode(x, levels, offset):
    """Integers 0 .. levels - 1, moved by offset in [0, 1), on [-1, 1]; without levels, x as it is, in float32."""
    x = x.astype(jnp.float32)
    return (x + offset) / levels * 2 - 1 if levels else x


def decode(x, levels):
    """The data's own unit again, not rounded."""
    return (x + 1) / 2 * levels if levels else x


def quantize(x, levels):
    """Integers 0 .. levels - 1 from what `decode` returns."""
    return jnp.clip(jnp.floor(x), 0, levels - 1).astype(jnp.uint8 if levels <= 256 else jnp.int32) if levels else x


def labels(condition, n, num_classes):
    """Labels [n] from a condition: None, one class or [n] of them; -1 stands for no label. Raises UserError."""
    if condition is None:
        return jnp.full((n,), -1)
    if not num_classes:
        raise UserError(
            "this model is told no classes: leave the condition out (or see data.num_classes and model.conditional)"
        )
    condition = jnp.asarray(condition)
    if condition.shape not in ((), (n,)) or not jnp.issubdtype(condition.dtype, jnp.integer):
        raise UserError(f"a condition is one integer class or [{n}] of them, not {condition.dtype}{condition.shape}")
    if is_known(condition) and not set(np.unique(condition)) <= set(range(num_classes)):
        raise UserError(f"a condition is a class from 0 to {num_classes - 1}, not {condition.tolist()}")
    return jnp.broadcast_to(condition, (n,))
