"""The processes of the papers, each by its alpha and sigma; any two functions make one by `pair`."""

import jax
import jax.numpy as jnp
import numpy as np

from research.noise.process import Process


def rectified():
    """The line x_t = (1 - t) x0 + t eps, velocity eps - x0 (Liu et al. 2022; their time runs the other way)."""
    return Process(
        log_alpha=lambda t: jnp.log1p(-t),
        variance=jnp.square,
        exact_alpha=lambda t: 1 - t,
        exact_sigma=lambda t: t,
        exact_time=lambda log_snr: jax.nn.sigmoid(-log_snr / 2),
    )


def trigonometric():
    """A quarter of a circle, x_t = cos(pi t / 2) x0 + sin(pi t / 2) eps (Albergo & Vanden-Eijnden 2023)."""

    def alpha(t):  # the cosine, 0 at t = 1 to the bit
        return jnp.sin(np.pi / 2 * (1 - t))

    return Process(
        log_alpha=lambda t: jnp.log(alpha(t)),
        variance=lambda t: jnp.sin(np.pi / 2 * t) ** 2,
        exact_alpha=alpha,
        exact_sigma=lambda t: jnp.sin(np.pi / 2 * t),
        exact_time=lambda log_snr: 2 / np.pi * jnp.arctan(jnp.exp(-log_snr / 2)),
    )


def vp(beta_min=0.1, beta_max=20.0, t_min=1e-5):
    """Variance preserving, beta linear in t (Song et al. 2021, eq. 33); from t_min, as d sigma / dt(0) is infinite."""

    def log_alpha(t):
        return -(beta_max - beta_min) * t**2 / 4 - beta_min * t / 2

    def time(log_snr):
        # log alpha = -softplus(-log_snr) / 2 is a quadratic in t; this root loses no digits near t = 0.
        c = jax.nn.softplus(-log_snr)
        return 2 * c / (beta_min + jnp.sqrt(beta_min**2 + 2 * (beta_max - beta_min) * c))

    return Process(log_alpha, variance=lambda t: -jnp.expm1(2 * log_alpha(t)), t_min=t_min, exact_time=time)


def sub_vp(beta_min=0.1, beta_max=20.0, t_min=1e-5):
    """Below the variance of `vp` with the same alpha: sigma = 1 - alpha^2 (Song et al. 2021, eq. 29)."""
    log_alpha = vp(beta_min, beta_max).log_alpha

    def sigma(t):
        return -jnp.expm1(2 * log_alpha(t))

    return Process(log_alpha, variance=lambda t: sigma(t) ** 2, t_min=t_min, exact_sigma=sigma)


def ve(sigma_min=0.01, sigma_max=50.0, t_min=1e-5):
    """Variance exploding, sigma = sigma_min (sigma_max / sigma_min)^t: not 0 at t = 0 (Song et al. 2021, eq. 30)."""
    rate = float(np.log(sigma_max / sigma_min))

    def sigma(t):
        return sigma_min * jnp.exp(rate * t)

    return Process(
        log_alpha=jnp.zeros_like,
        variance=lambda t: sigma(t) ** 2,
        t_min=t_min,
        prior_std=sigma_max,
        exact_sigma=sigma,
        exact_time=lambda log_snr: (-log_snr / 2 - float(np.log(sigma_min))) / rate,
    )


def edm(sigma_min=0.002, sigma_max=80.0):
    """Karras et al.'s (2022) sigma = t, in units of sigma_max; the last step goes to sigma = 0."""
    process = heat(lambda t: sigma_max * t)
    return process._replace(
        t_min=sigma_min / sigma_max, prior_std=sigma_max, end=0.0, exact_time=lambda l: jnp.exp(-l / 2) / sigma_max
    )


def heat(sigma):
    """Data blurred by N(0, sigma(t)^2), sigma any rising function from 0: the heat equation's solution."""
    process = Process(jnp.zeros_like, variance=lambda t: sigma(t) ** 2, exact_sigma=sigma)
    with jax.ensure_compile_time_eval():
        return process._replace(prior_std=float(process.sigma(1.0)))


def cosine(s=0.008, t_max=0.995):
    """alpha = cos((t + s) / (1 + s) pi / 2), over its start (Nichol & Dhariwal 2021, eq. 17); 0 at t = 1.

    Samplers start at t_max: at t = 1 nothing of x0 is left to read from eps.
    """
    start = s / (1 + s) * np.pi / 2

    def angle(t):  # beyond the start
        return t / (1 + s) * (np.pi / 2)

    # Sums of angles written as products: no digits are lost at either end, and alpha(1) is 0 to the bit.
    def alpha(t):
        return jnp.sin((1 - t) / (1 + s) * (np.pi / 2)) / np.cos(start)

    def variance(t):
        return jnp.sin(angle(t)) * jnp.sin(angle(t) + 2 * start) / np.cos(start) ** 2

    return Process(lambda t: jnp.log(alpha(t)), variance, t_min=1e-5, t_max=t_max, exact_alpha=alpha)


def pair(alpha, sigma, **fields):
    """The process of two functions of t; `fields` of Process (t_min, t_max, prior_std ...) as they are needed."""
    return Process(
        log_alpha=lambda t: jnp.log(alpha(t)),
        variance=lambda t: sigma(t) ** 2,
        exact_alpha=alpha,
        exact_sigma=sigma,
        **fields,
    )
