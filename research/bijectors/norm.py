"""Normalisations that are bijectors: ActNorm, which is learned, and RealNVP's batch norm, which is measured."""

import math

import jax.numpy as jnp

from research.bijectors.batched import LIMIT, moments, same
from research.contracts import Bijector
from research.errors import UserError

EPSILON = 1e-5


def actnorm():
    """z = exp(s) (x + b), one s and b a channel; the batch given to init comes out with mean 0 and variance 1.

    Kingma & Dhariwal 2018, Glow, section 3.1. A batch of one example starts at the identity on what does not vary.
    """

    def init(key, x, condition=None):
        mean, log_std = moments(x, tuple(range(x.ndim - 1)))
        return {"params": {"bias": -mean, "log_scale": -log_std}}

    def run(params, x, backward):
        bias, s = params["params"]["bias"], jnp.clip(params["params"]["log_scale"], -LIMIT, LIMIT)
        log_det = same(x, 0.0) + math.prod(x.shape[1:-1]) * jnp.sum(s)
        x = x.astype(jnp.float32)
        return (x * jnp.exp(-s) - bias, -log_det) if backward else ((x + bias) * jnp.exp(s), log_det)

    return Bijector(
        init,
        lambda params, x, condition=None: run(params, x, False),
        lambda params, z, condition=None: run(params, z, True),
    )


def _statistics(x):
    """Mean and variance [C] of x [B, ..., C] over all axes but the last."""
    axes = tuple(range(x.ndim - 1))
    return jnp.mean(x, axes), jnp.var(x, axes)


def batch_norm(decay=0.99):
    """z = exp(g) (x - mean) / sqrt(var + 1e-5) + b (Dinh et al. 2017, section 3.7 and appendix E).

    forward and inverse use running statistics, `stats`; forward_train those of the batch, through which its log-det and
    gradients go, and returns the new running ones.
    """

    def init(key, x, condition=None):
        mean, var = _statistics(x.astype(jnp.float32))
        zero = jnp.zeros(x.shape[-1])
        return {"params": {"log_gain": zero, "bias": zero}, "stats": {"mean": mean, "var": var}}

    def coefficients(params, mean, var, x):
        s = jnp.clip(params["log_gain"], -LIMIT, LIMIT) - 0.5 * jnp.log(var + EPSILON)
        return jnp.exp(s), params["bias"] - mean * jnp.exp(s), same(x, 0.0) + math.prod(x.shape[1:-1]) * jnp.sum(s)

    def forward(params, x, condition=None):
        a, b, log_det = coefficients(params["params"], params["stats"]["mean"], params["stats"]["var"], x)
        return x * a + b, log_det

    def inverse(params, z, condition=None):
        a, b, log_det = coefficients(params["params"], params["stats"]["mean"], params["stats"]["var"], z)
        return (z - b) / a, -log_det

    def forward_train(params, key, x, condition=None):
        if x[..., 0].size < 2:
            raise UserError(
                "batch norm measures a batch: give it two examples and more, or set model.batch_norm=False."
            )
        x = x.astype(jnp.float32)
        now = dict(zip(("mean", "var"), _statistics(x)))
        a, b, log_det = coefficients(params["params"], now["mean"], now["var"], x)
        stats = {name: decay * params["stats"][name] + (1 - decay) * now[name] for name in now}
        return x * a + b, log_det, stats

    return Bijector(init, forward, inverse, forward_train)
