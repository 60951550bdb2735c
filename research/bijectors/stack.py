"""A stack of equal layers as one scanned program, whose memory need not grow with depth."""

import jax
import jax.numpy as jnp
import numpy as np

from research.bijectors.batched import same
from research.bijectors.compose import train
from research.contracts import Bijector


def scan_chain(make, num_layers, reversible=True, unroll=False, remat=False):
    """`num_layers` bijectors of one kind, traced once: make() -> Bijector, params stacked on a first axis.

    A layer that is to differ from the one before (its mask) is a chain that holds both. reversible: the backward pass
    computes each layer's input again from its output by `inverse`, so that memory does not grow with depth (Gomez et
    al. 2017); gradients are then as exact as the inverse. Layers that draw random numbers or batch statistics keep
    their inputs instead, and compute the rest again, as all layers do by remat: that is exact in bfloat16 too. Without
    either everything is kept. unroll writes the layers out: the params are the same, compile time grows with depth, and
    convolutions have a fast gradient on a CPU.
    """
    layer, turns = make(), num_layers if unroll else 1

    def init(key, x, condition=None):
        def one(x, i):
            params = layer.init(jax.random.fold_in(key, i), x, condition)
            return layer.forward(params, x, condition)[0], params

        return jax.lax.scan(one, x.astype(jnp.float32), jnp.arange(num_layers), unroll=turns)[1]

    def stacked(direction, backward):
        def run(params, x, condition=None):
            def one(carry, own):
                x, total = carry
                x, log_det = direction(own, x, condition)
                return (x, total + log_det), None

            start = x.astype(jnp.float32), same(x, 0.0)
            step = jax.checkpoint(one, prevent_cse=unroll) if remat else one
            return jax.lax.scan(step, start, params, reverse=backward, unroll=turns)[0]

        return run

    def forward_train(params, key, x, condition=None):
        def one(carry, own):
            (x, total), (i, own) = carry, own
            x, log_det, stats = layer.forward_train(own, jax.random.fold_in(key, i), x, condition)
            return (x, total + log_det), stats

        start = x.astype(jnp.float32), same(x, 0.0)
        step = jax.checkpoint(one, prevent_cse=unroll) if reversible or remat else one
        (x, total), stats = jax.lax.scan(step, start, (jnp.arange(num_layers), params), unroll=turns)
        return x, total, stats

    def parts(params, key, x, condition=None):
        for i in range(num_layers):
            own = jax.tree.map(lambda p, i=i: p[i], params)
            this = str(i), layer, own, jax.random.fold_in(key, i), x
            yield this
            x, _, _ = train(*this[1:], condition)

    forward, inverse = stacked(layer.forward, False), stacked(layer.inverse, True)
    if reversible:
        forward = _reversible(layer, forward, turns)
    return Bijector(init, forward, inverse, forward_train if layer.forward_train else None, parts)


def _reversible(layer, plain, turns):
    """`plain`, a scanned forward, whose backward pass keeps nothing but its output."""

    @jax.custom_vjp
    def forward(params, x, condition):
        return plain(params, x, condition)

    def keep(params, x, condition):
        out = plain(params, x, condition)
        return out, (params, out[0], condition, jnp.zeros((0,), x.dtype))

    def backward(kept, cotangents):
        params, z, condition, like = kept
        d_z, d_log_det = cotangents
        told = condition is not None and jnp.issubdtype(condition.dtype, jnp.inexact)  # labels have no gradient

        def one(carry, own):
            z, d_z, d_condition = carry
            x, _ = layer.inverse(own, z, condition)
            if told:
                _, pull = jax.vjp(layer.forward, own, x, condition)
                d_own, d_x, d_c = pull((d_z, d_log_det))
                return (x, d_x, d_condition + d_c), d_own
            _, pull = jax.vjp(lambda own, x: layer.forward(own, x, condition), own, x)
            d_own, d_x = pull((d_z, d_log_det))
            return (x, d_x, None), d_own

        start = z, d_z, jnp.zeros_like(condition) if told else None
        (_, d_x, d_condition), d_params = jax.lax.scan(one, start, params, reverse=True, unroll=turns)
        if condition is not None and not told:
            d_condition = np.zeros(condition.shape, jax.dtypes.float0)
        return d_params, d_x.astype(like.dtype), d_condition

    forward.defvjp(keep, backward)
    return lambda params, x, condition=None: forward(params, x, condition)
