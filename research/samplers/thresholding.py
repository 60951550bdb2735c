"""Thresholding: x0 kept in the data's range, wrapped around a field before a sampler sees it."""

import jax
import jax.numpy as jnp

from research import parameterize
from research.errors import UserError
from research.noise import expand


def static(field, noise, bound=1.0, keep_eps=False):
    """The field with x0 clipped to [-bound, bound], and eps, score and velocity those of that x0.

    keep_eps leaves these three as they were, which some libraries do: then x is not alpha x0 + sigma eps.
    """

    def clip(x0):
        return jnp.clip(x0, -bound, bound)

    return _limited(field, noise, clip, keep_eps)


def dynamic(field, noise, quantile=0.995, bound=1.0):
    """The field with x0 clipped to [-s, s] and scaled by bound / s; all four readings are of that x0.

    s is the quantile of |x0| over each sample, and bound at least (Saharia et al. 2022, section 2.3).
    """

    def clip(x0):
        s = expand(jnp.maximum(jnp.quantile(jnp.abs(x0.reshape(len(x0), -1)), quantile, axis=1), bound), x0)
        return jnp.clip(x0, -s, s) * (bound / s)

    return _limited(field, noise, clip, False)


def _limited(field, noise, clip, keep_eps):
    def limited(x, t, *to):
        if to:
            raise UserError("a threshold clips x0, which an average over a span does not tell: jump without one.")
        old = field(x, t)
        x0 = clip(old.x0)
        if keep_eps:
            return old._replace(x0=x0)
        new, clean = parameterize.from_x0(x0, x, t, noise), expand(noise.sigma(t), x) == 0
        # Where there is no noise, eps cannot be read from x0.
        return jax.tree.map(lambda new, old: jnp.where(clean, old, new), new, old)._replace(x0=x0)

    return limited
