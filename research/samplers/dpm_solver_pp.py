"""DPM-Solver++ (Lu et al. 2022b, algorithm 2, "2M"): a multistep method in log-SNR, and its SDE version."""

import jax.numpy as jnp

from research import samplers
from research.errors import UserError


def sample(field, noise, x, times, key=None, *, order=2, sde=False, lower_order_final=True, trajectory=False):
    """Samples from x [B, ...] at times[0], along descending times [S + 1]: one call a step.

    With lambda = log(alpha / sigma), h = lambda_s - lambda_t, and h' that of the step before,
    x_s = sigma_s / sigma_t x + alpha_s (1 - exp(-h)) D, D = x0 + h / (2 h') (x0 - x0 of the step before);
    sde: x_s = sigma_s / sigma_t exp(-h) x + alpha_s (1 - exp(-2 h)) D + sigma_s sqrt(1 - exp(-2 h)) z.
    D = x0 in the first step, in the last one if lower_order_final, next to infinite lambda (alpha_t or sigma_s is 0),
    and if order=1: that is ddim's step, with sde ddpm's. Raises UserError for another order, for sde without a key.
    """
    if order not in (1, 2):
        raise UserError(f"dpm_solver_pp is of order 1 or 2, not order={order}")

    def step(carry, t, s, i):
        x, x0_before, h_before = carry
        x0, h = field(x, t).x0, (noise.log_snr(s) - noise.log_snr(t)) / 2
        multistep = (order == 2) & (i > 0) & jnp.isfinite(h) & ~((i == len(times) - 2) & lower_order_final)
        d = x0 + jnp.where(multistep, h / (2 * h_before), 0) * (x0 - x0_before)
        ratio, alpha_s, sigma_s = noise.sigma(s) / noise.sigma(t), noise.alpha(s), noise.sigma(s)
        if not sde:
            return ratio * x - alpha_s * jnp.expm1(-h) * d, x0, h
        lost = -jnp.expm1(-2 * h)
        drawn = sigma_s * jnp.sqrt(lost) * samplers.normal(key, i, x)
        return ratio * jnp.exp(-h) * x + alpha_s * lost * d + drawn, x0, h

    start = x, jnp.zeros_like(x), jnp.ones((), jnp.promote_types(x.dtype, jnp.float32))
    return samplers.scan(step, start, times, calls=1, trajectory=trajectory, read=lambda carry: carry[0])
