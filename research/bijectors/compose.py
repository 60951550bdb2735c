"""Bijectors from bijectors: one after another, turned round; and the first part of one whose numbers are not finite."""

import jax
import jax.numpy as jnp

from research.bijectors.batched import same
from research.contracts import Bijector


def invert(bijector):
    """The bijector with its two directions exchanged; init sees data on the side that is now its input.

    What is measured on data at init (ActNorm) would be measured on the wrong side: invert those after init.
    """
    return Bijector(bijector.init, bijector.inverse, bijector.forward)


def own(params, name):
    """The params of one layer of a chain."""
    return {kind: layers[name] for kind, layers in params.items() if name in layers}


def collect(layers):
    """{"params": {name: ...}, "stats": {name: ...}} from {name: params}; kinds that no layer has are left out."""
    kinds = [kind for kind in ("params", "stats") if any(kind in found for found in layers.values())]
    return {kind: {name: found[kind] for name, found in layers.items() if kind in found} for kind in kinds}


def train(bijector, params, key, x, condition=None):
    """(z, log_det, new stats) in training: forward_train where a bijector has one, else forward."""
    if bijector.forward_train is None:
        return *bijector.forward(params, x, condition), params.get("stats", {})
    return bijector.forward_train(params, key, x, condition)


def chain(*bijectors, **named):
    """All of them, the first one first; params are kept by place, params["params"]["0"], ["1"] ..., or by name."""
    layers = {str(i): bijector for i, bijector in enumerate(bijectors)} | named

    def init(key, x, condition=None):
        found = {}
        for i, (name, bijector) in enumerate(layers.items()):
            found[name] = bijector.init(jax.random.fold_in(key, i), x, condition)
            x, _ = bijector.forward(found[name], x, condition)
        return collect(found)

    def forward(params, x, condition=None):
        total = same(x, 0.0)
        for name, bijector in layers.items():
            x, log_det = bijector.forward(own(params, name), x, condition)
            total = total + log_det
        return x, total

    def inverse(params, z, condition=None):
        total = same(z, 0.0)
        for name, bijector in reversed(layers.items()):
            z, log_det = bijector.inverse(own(params, name), z, condition)
            total = total + log_det
        return z, total

    def forward_train(params, key, x, condition=None):
        total, stats = same(x, 0.0), {}
        for i, (name, bijector) in enumerate(layers.items()):
            params_i = own(params, name)
            x, log_det, new = train(bijector, params_i, jax.random.fold_in(key, i), x, condition)
            total, stats = total + log_det, stats | ({name: new} if "stats" in params_i else {})
        return x, total, stats

    def parts(params, key, x, condition=None):
        for i, (name, bijector) in enumerate(layers.items()):
            layer = name, bijector, own(params, name), jax.random.fold_in(key, i), x
            yield layer
            x, _, _ = train(*layer[1:], condition)

    trained = any(bijector.forward_train for bijector in layers.values())
    return Bijector(init, forward, inverse, forward_train if trained else None, parts)


def first_bad(bijector, params, key, x, condition=None):
    """The name, "level0/steps/3/coupling", of the first part that training makes not finite; "" for a bijector without
    parts, None where all is finite."""
    z, log_det, _ = train(bijector, params, key, x, condition)
    if jnp.isfinite(z).all() and jnp.isfinite(log_det).all():
        return None
    for name, part, params_i, key_i, x_i in bijector.parts(params, key, x, condition) if bijector.parts else ():
        found = first_bad(part, params_i, key_i, x_i, condition)
        if found is not None:
            return f"{name}/{found}".rstrip("/")
    return ""
