"""NICE (Dinh et al. 2015, "Non-linear independent components estimation"): additive couplings and a diagonal scale."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from research import bijectors as bj
from research import flow
from research.errors import UserError


def bijector(config, data_shape):
    """The Bijector of a config: odd and even dimensions move in turn.

    So from three couplings on, four where the size is odd, each dimension depends on each.

    The shift adds nothing to what couplings can do; it starts where the data are, and not at 0.
    """
    own, size, classes = config.model, math.prod(data_shape), flow.classes(config)
    if size < 2:
        raise UserError("nice takes examples of two and more dimensions; with one there is nothing to couple.")
    order = np.r_[0:size:2, 1:size:2]  # even ones, then odd ones (section 5.1)

    def coupling():
        return bj.additive_coupling(*flow.half(config, "mlp", size, 1, num_classes=classes), compact=True)

    layers = {"flatten": bj.flatten(data_shape), "shift": bj.shift(), "parity": bj.permutation(order)}
    layers |= {"couplings": flow.alternating(config, coupling, size)}
    return bj.chain(**layers, **({"scale": bj.scale()} if own.diagonal else {}))


def make(config, data_shape):
    """Model of vectors or images, from the sections data, model and sampler of `config`."""
    return flow.make(bijector(config, data_shape), config, data_shape)


def inpaint(log_prob, x, known, key, *, num_steps=200, low=-jnp.inf, high=jnp.inf, noise=1.0, rate=10.0):
    """x [B, ...] whose entries where `known` is False climb log_prob(x) -> nats [B] (section 5.2).

    Steps are rate / (100 + i), the paper's with 10, times the gradient and normal noise of the scale `noise`; x is
    then brought back to [low, high]. known: booleans that broadcast against x. x has the unit of log_prob: a trained
    scale makes gradients large where it is [-1, 1], so take the data's own, 0 .. 255, or a smaller rate.
    """
    slope = jax.grad(lambda x: jnp.sum(log_prob(x)))

    def step(x, i):
        moved = x + rate / (100 + i) * (slope(x) + noise * jax.random.normal(jax.random.fold_in(key, i), x.shape))
        return jnp.where(known, x, jnp.clip(moved, low, high)), None

    return jax.lax.scan(step, x.astype(jnp.float32), jnp.arange(num_steps))[0]
