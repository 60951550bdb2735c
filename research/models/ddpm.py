"""Denoising diffusion probabilistic models (Ho et al. 2020): T steps of noise, undone one at a time, or by DDIM fewer.

Steps are n = 1 .. T at t = n / T, alpha_bar_0 = 1, and the net is told n - 1, in units of T.
"""

import jax.numpy as jnp

from research import diffusion, likelihood, noise
from research.errors import UserError, nearest

PREDICTIONS = ("eps", "x0", "v")
VARIANCES = ("beta", "beta_tilde")


def process(config):
    """The discrete process of config.model: its schedule over num_steps."""
    fields = config.model
    betas = {"beta_start": fields.beta_start, "beta_end": fields.beta_end}
    table = noise.alpha_bar(fields.schedule, fields.num_steps, zero_terminal_snr=fields.zero_terminal_snr, **betas)
    return noise.discrete(table)


def make(config, data_shape):
    """Model of data of shape `data_shape`, from the sections data, net, model and sampler of `config`.

    The loss is L_simple (eq. 14), of eps, x0 or v = alpha eps - sigma x0 (Salimans & Ho 2022), or weighted by the
    SNR. log_prob is the variational bound (eq. 5), all T terms of it, each with one draw of noise. Raises UserError.
    """
    fields, steps = config.model, process(config)
    for name, known in (("prediction", PREDICTIONS), ("variance", VARIANCES)):
        if fields[name] not in known:
            raise UserError(f"config.model.{name} is '{fields[name]}': {nearest(fields[name], known)}")
    if fields.zero_terminal_snr and fields.prediction == "eps":
        raise UserError("zero_terminal_snr leaves no signal at the last step: predict v or x0, not eps")

    def draw_times(key, n):
        # Even over the steps 1 .. T, as research.diffusion.even_times is over [0, 1).
        return (1 + jnp.floor(diffusion.even_times(key, n) * steps.num_steps)) / steps.num_steps

    def net_time(t):
        return (jnp.maximum(noise.step(steps, t), 1) - 1) / steps.num_steps

    def bound(field, x0, key):
        return likelihood.variational_bound(
            field, steps, x0, key, levels=config.data.levels or None, variance=fields.variance
        )

    weigh = diffusion.weight(fields.weight, fields.prediction, steps)
    denoiser = diffusion.Denoiser(steps, fields.prediction, draw_times, weigh, net_time=net_time, log_prob=bound)
    return diffusion.make(config, data_shape, denoiser)
