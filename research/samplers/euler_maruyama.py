"""Euler-Maruyama on the family of reverse SDEs that share the process's marginals (Song et al. 2021, eq. 6)."""

import jax.numpy as jnp

from research import samplers


def sample(field, noise, x, times, key=None, *, lam=1.0, last_mean=True, trajectory=False):
    """Samples from x [B, ...] at times[0], along descending times [S + 1]: one call a step.

    dx = (f x - (1 + lam^2) / 2 g^2 score) dt + lam g dw backwards in time: lam=1 is Anderson's reverse SDE, lam=0 the
    probability flow, which needs no key. The last step draws no noise, unless last_mean is False. Where alpha = 0, as
    in the rectified flow at t = 1, f is infinite, and so is x: start below it, by times of your own. Raises UserError
    where noise is drawn without a key.
    """

    def step(x, t, t_next, i):
        width = t - t_next
        x_next = x - width * drift(field, noise, x, t, lam)
        if samplers.is_zero(lam):
            return x_next
        std = lam * noise.g(t) * jnp.sqrt(width)
        return x_next + samplers.noisy(i, times, last_mean) * std * samplers.normal(key, i, x)

    return samplers.scan(step, x, times, calls=1, trajectory=trajectory)


def drift(field, noise, x, t, lam):
    """f x - (1 + lam^2) / 2 g^2 score at x [B, ...], t []."""
    return noise.f(t) * x - (1 + lam**2) / 2 * noise.g(t) ** 2 * field(x, t).score
