"""Work in a latent: images between two images, and attributes added to one (Kingma & Dhariwal 2018, section 6).

Of a run: `built, _, params = results.load(path)`, and its flow is `glow.bijector(built.config, built.dataset.shape)`.
"""

import jax.numpy as jnp

from research.encoding import decode, encode, quantize


def of(flow, params, x, levels=None, condition=None):
    """Latents z of data x [B, ...] as stored; integers enter at the middle of their level."""
    return flow.forward(params, encode(x, levels, 0.5), condition)[0]


def data(flow, params, z, levels=None, condition=None):
    """Data [B, ...] as stored of latents z."""
    return quantize(decode(flow.inverse(params, z, condition)[0], levels), levels)


def interpolate(flow, params, first, second, num=8, levels=None, condition=None):
    """[num, B, ...] from `first` to `second` [B, ...], both as stored, along straight lines in the latent."""
    a, b = (of(flow, params, x, levels, condition) for x in (first, second))
    return jnp.stack([data(flow, params, a + (b - a) * w, levels, condition) for w in jnp.linspace(0, 1, num)])


def direction(flow, params, with_it, without, levels=None, conditions=(None, None)):
    """The latent direction of an attribute: the mean of examples that have it minus the mean of those that do not."""
    a, b = (of(flow, params, x, levels, c).mean(axis=0) for x, c in zip((with_it, without), conditions))
    return a - b


def shift(flow, params, x, step, amount, levels=None, condition=None):
    """x [B, ...] as stored, moved by amount * step in the latent."""
    return data(flow, params, of(flow, params, x, levels, condition) + amount * step, levels, condition)
