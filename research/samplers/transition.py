"""One step of a process between any two times s < t: forward, and back where x0 is known.

Written by 1 - SNR_t / SNR_s, which keeps its digits for neighbours, and is finite at alpha_t = 0 and at sigma_s = 0.
"""

import jax.numpy as jnp


def transition(noise, s, t):
    """(alpha_ts, var_ts, lost) of x_t = alpha_ts x_s + sqrt(var_ts) eps, s < t (Kingma et al. 2021, appendix A).

    alpha_ts = alpha_t / alpha_s, var_ts = sigma_t^2 - alpha_ts^2 sigma_s^2 = sigma_t^2 lost, lost = 1 - SNR_t / SNR_s.
    """
    # At equal times, also where the log-SNR is infinite, nothing is lost.
    fall = jnp.where(s == t, 0, noise.log_snr(t) - noise.log_snr(s))
    lost = jnp.maximum(-jnp.expm1(fall), 0)
    return noise.alpha(t) / noise.alpha(s), noise.sigma(t) ** 2 * lost, lost


def posterior(noise, x, x0, t, s):
    """(mean, variance) of x_s given x_t = x and x0 (Ho et al. 2020, eq. 7; Kingma et al. 2021, eq. 25)."""
    alpha_ts, _, lost = transition(noise, s, t)
    variance = noise.sigma(s) ** 2
    mean = alpha_ts * variance / noise.sigma(t) ** 2 * x + noise.alpha(s) * lost * x0
    return mean, variance * lost
