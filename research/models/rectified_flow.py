"""Rectified flow (Liu et al. 2022, "Flow straight and fast"): regress the velocity of lines from data to noise.

Their time runs from noise to data; here t = 0 is data, so the velocity eps - x0 is theirs with the sign turned.
"""

import functools

import jax

from research import diffusion, noise
from research.errors import UserError


def draw_times(key, n, density):
    """t [n]: "uniform" spreads one draw evenly; "logit_normal" is Esser et al.'s (2024)."""
    if density == "uniform":
        return diffusion.even_times(key, n)
    if density == "logit_normal":
        return jax.nn.sigmoid(jax.random.normal(key, (n,)))
    raise UserError(f"config.model.time_density is 'uniform' or 'logit_normal', not {density!r}")


def make(config, data_shape):
    """Model of data of shape `data_shape`, from the sections data, net, model and sampler of `config` (eq. 1)."""
    process = noise.rectified()
    times = functools.partial(draw_times, density=config.model.time_density)
    weigh = diffusion.weight("simple", "velocity", process)
    return diffusion.make(config, data_shape, diffusion.Denoiser(process, "velocity", times, weigh))
