"""Bijectors from bijectors: one after another, turned round, and a stack of equal layers as one scanned program."""

import jax
import jax.numpy as jnp
import numpy as np

from research.bijectors.batched import same
from research.contracts import Bijector


def invert(bijector):
    """The bijector with its two directions exchanged; init sees data on the side that is now its input.

    What is measured on data at init (ActNorm) would be measured on the wrong side: invert those after init.
    """
    return Bijector(bijector.init, bijector.inverse, bijector.forward)


def _layer(params, name):
    """The params of one layer of a chain."""
    return {kind: layers[name] for kind, layers in params.items() if name in layers}


def _collect(layers):
    """{"params": {name: ...}, "stats": {name: ...}} from {name: params}; kinds that no layer has are left out."""
    kinds = [kind for kind in ("params", "stats") if any(kind in own for own in layers.values())]
    return {kind: {name: own[kind] for name, own in layers.items() if kind in own} for kind in kinds}


def train(bijector, params, key, x, condition=None):
    """(z, log_det, new stats) in training: forward_train where a bijector has one, else forward."""
    if bijector.forward_train is None:
        return *bijector.forward(params, x, condition), params.get("stats", {})
    return bijector.forward_train(params, key, x, condition)


def chain(*bijectors):
    """All of them, the first one first; params are kept by place: params["params"]["0"], ["1"] ..."""
    named = [(str(i), bijector) for i, bijector in enumerate(bijectors)]

    def init(key, x, condition=None):
        layers = {}
        for i, (name, bijector) in enumerate(named):
            layers[name] = bijector.init(jax.random.fold_in(key, i), x, condition)
            x, _ = bijector.forward(layers[name], x, condition)
        return _collect(layers)

    def forward(params, x, condition=None):
        total = same(x, 0.0)
        for name, bijector in named:
            x, log_det = bijector.forward(_layer(params, name), x, condition)
            total = total + log_det
        return x, total

    def inverse(params, z, condition=None):
        total = same(z, 0.0)
        for name, bijector in reversed(named):
            z, log_det = bijector.inverse(_layer(params, name), z, condition)
            total = total + log_det
        return z, total

    def forward_train(params, key, x, condition=None):
        total, stats = same(x, 0.0), {}
        for i, (name, bijector) in enumerate(named):
            own = _layer(params, name)
            x, log_det, new = train(bijector, own, jax.random.fold_in(key, i), x, condition)
            total, stats = total + log_det, stats | ({name: new} if "stats" in own else {})
        return x, total, stats

    trained = any(bijector.forward_train for bijector in bijectors)
    return Bijector(init, forward, inverse, forward_train if trained else None)


def scan_chain(make, num_layers, reversible=True):
    """`num_layers` bijectors of one kind, traced once: make() -> Bijector, params stacked on a first axis.

    A layer that is to differ from the one before (its mask) is a chain that holds both. reversible: the backward pass
    computes each layer's input again from its output by `inverse`, so that memory does not grow with depth (Gomez et
    al. 2017); gradients are then as exact as the inverse. Layers that draw random numbers or batch statistics keep
    their inputs instead, and compute the rest again.
    """
    layer = make()

    def init(key, x, condition=None):
        def one(x, i):
            params = layer.init(jax.random.fold_in(key, i), x, condition)
            return layer.forward(params, x, condition)[0], params

        x = x.astype(jnp.float32)
        return jax.lax.scan(one, x, jnp.arange(num_layers))[1]

    def stacked(direction, backward):
        def run(params, x, condition=None):
            def one(carry, own):
                x, total = carry
                x, log_det = direction(own, x, condition)
                return (x, total + log_det), None

            start = x.astype(jnp.float32), same(x, 0.0)
            return jax.lax.scan(one, start, params, reverse=backward)[0]

        return run

    def forward_train(params, key, x, condition=None):
        @jax.checkpoint
        def one(carry, own):
            (x, total), (i, own) = carry, own
            x, log_det, stats = layer.forward_train(own, jax.random.fold_in(key, i), x, condition)
            return (x, total + log_det), stats

        start = x.astype(jnp.float32), same(x, 0.0)
        (x, total), stats = jax.lax.scan(one, start, (jnp.arange(num_layers), params))
        return x, total, stats

    forward, inverse = stacked(layer.forward, False), stacked(layer.inverse, True)
    if reversible:
        forward = _reversible(layer, forward)
    return Bijector(init, forward, inverse, forward_train if layer.forward_train else None)


def _reversible(layer, plain):
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
        (_, d_x, d_condition), d_params = jax.lax.scan(one, start, params, reverse=True)
        if condition is not None and not told:
            d_condition = np.zeros(condition.shape, jax.dtypes.float0)
        return d_params, d_x.astype(like.dtype), d_condition

    forward.defvjp(keep, backward)
    return lambda params, x, condition=None: forward(params, x, condition)
