"""Euler-Maruyama on the family of reverse SDEs that share the process's marginals (Song et al. 2021, eq. 6)."""

import jax
import jax.numpy as jnp
import numpy as np

from research import samplers
from research.errors import UserError, is_known


def sample(field, noise, x, times, key=None, *, lam=1.0, last_mean=True, trajectory=False):
    """Samples from x [B, ...] at times[0], along descending times [S + 1]: one call a step.

    dx = (f x - (1 + lam^2) / 2 g^2 score) dt + lam g dw backwards in time: lam=1 is Anderson's reverse SDE, lam=0 the
    probability flow, which needs no key. The last step draws no noise, unless last_mean is False. Raises UserError
    where noise is drawn without a key, and where it would be infinite at times[0].
    """
    check(noise, times, lam)

    def step(x, t, t_next, i):
        width = t - t_next
        x_next = x - width * drift(field, noise, x, t, lam)
        if samplers.is_zero(lam):
            return x_next
        std = lam * noise.g(t) * jnp.sqrt(width)
        return x_next + samplers.noisy(i, times, last_mean) * std * samplers.normal(key, i, x)

    return samplers.scan(step, x, times, calls=1, trajectory=trajectory)


def drift(field, noise, x, t, lam):
    """f x - (1 + lam^2) / 2 g^2 score at x [B, ...], t []: the velocity, and lam^2 / 2 g^2 score off it."""
    prediction = field(x, t)
    if samplers.is_zero(lam):
        return prediction.velocity
    return prediction.velocity - lam**2 / 2 * noise.g(t) ** 2 * prediction.score


@jax.ensure_compile_time_eval()
def check(noise, times, lam):
    """Raises UserError for a negative lam, and for an SDE of infinite noise at times[0], as where alpha is 0."""
    samplers.at_least(0, lam=lam)
    samplers.falling(times, jnp.float32)
    if is_known(times) and not samplers.is_zero(lam) and not np.isfinite(noise.g(float(times[0]))):
        raise UserError(
            f"the reverse SDE has infinite noise at t = {float(times[0])} of this process: start below it by a list of "
            "times of your own, or take lam=0, ddpm, or ddim with eta"
        )
