"""Classifier-free guidance, wrapped around a field before a sampler sees it."""

import jax
import jax.numpy as jnp

from research.noise import as_time, expand


def guide(field_conditional, field_unconditional, scale, interval=(0.0, 1.0)):
    """Field u + scale (c - u) for t within interval, c outside of it: scale 1 is conditional, 0 unconditional.

    The scale is 1 + w of Ho & Salimans (2022, eq. 6); the interval is Kynkaanniemi et al.'s (2024). One call of the
    result is two of the net. All four parts are combined, which keeps them consistent, as the weights sum to 1.
    """
    low, high = interval

    def field(x, t):
        t = as_time(t)
        weight = expand(jnp.where((t >= low) & (t <= high), scale, 1.0), x)
        # Written so, the ends 0 and 1 are exact.
        return jax.tree.map(
            lambda c, u: weight * c + (1 - weight) * u, field_conditional(x, t), field_unconditional(x, t)
        )

    return field
