"""DDPM's ancestral sampling (Ho et al. 2020, algorithm 2), for any process and any times."""

import jax.numpy as jnp

from research import samplers
from research.errors import UserError
from research.samplers.transition import posterior, transition


def sample(field, noise, x, times, key=None, *, variance="beta_tilde", last_mean=True, trajectory=False):
    """Samples from x [B, ...] at times[0], along descending times [S + 1]: one call a step.

    From t to s, x_s = alpha_ts sigma_s^2 / sigma_t^2 x + alpha_s var_ts / sigma_t^2 x0 + std z (eq. 7), where
    alpha_ts = alpha_t / alpha_s and var_ts = sigma_t^2 - alpha_ts^2 sigma_s^2, which for DDPM's neighbours is beta_t.
    variance: std^2 is "beta", var_ts, or "beta_tilde", var_ts sigma_s^2 / sigma_t^2. The last step draws no noise,
    unless last_mean is False. Raises UserError for another variance, and without a key.
    """
    if variance not in ("beta", "beta_tilde"):
        raise UserError(f"ddpm has no variance={variance!r}: give 'beta' or 'beta_tilde'")

    def step(x, t, s, i):
        mean, var = posterior(noise, x, field(x, t).x0, t, s)
        if variance == "beta":
            var = transition(noise, s, t)[1]
        return mean + samplers.noisy(i, times, last_mean) * jnp.sqrt(var) * samplers.normal(key, i, x)

    return samplers.scan(step, x, times, calls=1, trajectory=trajectory)
