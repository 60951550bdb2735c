"""NICE (Dinh et al. 2015, "Non-linear independent components estimation"): additive couplings and a diagonal scale."""

import math

import jax
import jax.numpy as jnp

from research import bijectors as bj
from research import flow
from research.nets import build


def bijector(config, data_shape):
    """The Bijector of a config: odd and even dimensions move in turn, so from three couplings on each moves each.

    The shift adds nothing to what couplings can do; it starts where the data are, and not at 0.
    """
    own, size, classes = config.model, math.prod(data_shape), flow.classes(config)

    def coupling(flip):
        told = build.conditioner("mlp", own.conditioner, 1, classes)
        return bj.additive_coupling(told, bj.masks.alternating(size, flip))

    stack = flow.alternating(coupling, own.couplings, own.reversible)
    last = {"scale": bj.scale()} if own.diagonal else {}
    return bj.chain(flatten=bj.flatten(data_shape), shift=bj.shift(), couplings=stack, **last)


def make(config, data_shape):
    """Model of vectors or images, from the sections data, model and sampler of `config`."""
    return flow.make(bijector(config, data_shape), config, data_shape)


def inpaint(log_prob, x, known, key, *, num_steps=200, low=-jnp.inf, high=jnp.inf, noise=1.0):
    """x [B, ...] whose entries where `known` is False climb log_prob(x) -> nats [B] (section 5.2).

    Steps are 10 / (100 + i) long, as the paper's; each follows the gradient and normal noise of the scale `noise`, and
    is brought back to [low, high]. known: booleans that broadcast against x.
    """
    slope = jax.grad(lambda x: jnp.sum(log_prob(x)))

    def step(x, i):
        moved = x + 10 / (100 + i) * (slope(x) + noise * jax.random.normal(jax.random.fold_in(key, i), x.shape))
        return jnp.where(known, x, jnp.clip(moved, low, high)), None

    return jax.lax.scan(step, x.astype(jnp.float32), jnp.arange(num_steps))[0]
