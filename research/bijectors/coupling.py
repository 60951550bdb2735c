"""Couplings: some entries pass through and tell a conditioner how the others are shifted and scaled.

A conditioner is (init(key, x, condition=None) -> params, apply(params, x, condition=None, key=None) -> [..., n C]). It
gets the whole x [B, ..., C] with the transformed entries at zero, and returns n numbers for each entry, side by side. A
third item, True, says that it draws random numbers (dropout) where it gets a key.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from research.bijectors.batched import LIMIT, per_example
from research.contracts import Bijector
from research.errors import UserError

RAW_LIMIT = 2.0  # a tanh-bounded log-scale stays within (-2, 2)


def log_scale(raw, kind):
    """Log of the scale from what a conditioner returns.

    "exp": raw itself, clipped to +-12 so that a bad batch cannot overflow; "sigmoid": log sigmoid(raw + 2), at most 0
    (Kingma & Dhariwal 2018, Glow's code); "2sigmoid": log 2 sigmoid(raw) (Kolesnikov et al. 2024, Jet); "tanh":
    2 tanh(raw / 2), between -2 and 2 (after Dinh et al. 2017).
    """
    if kind == "exp":
        return jnp.clip(raw, -LIMIT, LIMIT)
    if kind == "sigmoid":
        return jax.nn.log_sigmoid(jnp.clip(raw, -LIMIT, None) + 2)
    if kind == "2sigmoid":
        return jax.nn.log_sigmoid(jnp.clip(raw, -LIMIT, None)) + math.log(2)
    if kind == "tanh":
        return RAW_LIMIT * jnp.tanh(raw / RAW_LIMIT)
    raise UserError(f"the scale of an affine coupling is '{kind}'; choose exp, sigmoid, 2sigmoid or tanh.")


def coupling(conditioner, mask, numbers, forward, inverse, compact=False):
    """A Bijector whose transformed entries go through forward(x, p) -> (z, log_det each), p [*x.shape, numbers].

    mask broadcasts against an example; `forward` and `inverse` act entry by entry, in float32. compact, for a mask
    [C] whose passing channels are side by side at one end: the conditioner sees these alone and returns the numbers of
    the others, [..., numbers * others], all first numbers before all second ones. It spares half of its first and last
    layers. Raises UserError for another mask.
    """
    init, apply, *stochastic = conditioner
    split, join = _ends(mask) if compact else (lambda x: (jnp.where(mask, x, 0), x), lambda x, y: jnp.where(mask, x, y))

    def run(transform, params, x, condition, key=None):
        told = {"key": key} if key is not None else {}
        seen, x = split(x)
        p = apply(params["params"], seen, condition, **told)
        if p.shape != (*x.shape[:-1], numbers * x.shape[-1]):
            raise UserError(
                f"a conditioner of this coupling returns {numbers} numbers for each entry of {x.shape}, on the last "
                f"axis, and not {p.shape}."
            )
        p = p.astype(jnp.float32)
        p = jnp.moveaxis(p.reshape(*x.shape[:-1], numbers, -1), -2, -1) if compact else p.reshape(*x.shape, numbers)
        y, each = transform(x.astype(jnp.float32), p)
        return join(seen if compact else x, y), per_example(each if compact else jnp.where(mask, 0.0, each))

    def forward_train(params, key, x, condition=None):
        return *run(forward, params, x, condition, key), params.get("stats", {})

    return Bijector(
        lambda key, x, condition=None: {"params": init(key, split(x)[0], condition)},
        lambda params, x, condition=None: run(forward, params, x, condition),
        lambda params, z, condition=None: run(inverse, params, z, condition),
        forward_train if any(stochastic) else None,
    )


def _ends(mask):
    """(split(x) -> what passes and what does not, join of the two) for passing channels at one end of the last axis."""
    mask, passing = np.asarray(mask), int(np.sum(mask))
    first = bool(mask[0]) if mask.ndim == 1 else None
    if first is None or not 0 < passing < len(mask) or mask[:passing].all() != first or mask[-passing:].all() == first:
        raise UserError("a compact coupling needs a mask of channels [C] that pass side by side, at one end.")
    edge = passing if first else len(mask) - passing

    def split(x):
        low, high = x[..., :edge], x[..., edge:]
        return (low, high) if first else (high, low)

    return split, lambda x, y: jnp.concatenate([x, y] if first else [y, x], axis=-1)


def additive_coupling(conditioner, mask, compact=False):
    """z = x + shift where mask is False (Dinh et al. 2015, NICE, eq. 3); it preserves volume. One number an entry."""

    def forward(x, p):
        return x + p[..., 0], jnp.zeros_like(x)

    def inverse(z, p):
        return z - p[..., 0], jnp.zeros_like(z)

    return coupling(conditioner, mask, 1, forward, inverse, compact)


def affine_coupling(conditioner, mask, scale="exp", compact=False):
    """z = scale x + shift where mask is False (Dinh et al. 2017, RealNVP, eq. 7). Two numbers: shift, raw scale.

    scale: "exp", "sigmoid", "2sigmoid" or "tanh", see `log_scale`; UserError for others. compact: see `coupling`.
    """
    log_scale(jnp.zeros(()), scale)  # an unknown kind is said now

    def forward(x, p):
        s = log_scale(p[..., 1], scale)
        return x * jnp.exp(s) + p[..., 0], s

    def inverse(z, p):
        s = log_scale(p[..., 1], scale)
        return (z - p[..., 0]) * jnp.exp(-s), -s

    return coupling(conditioner, mask, 2, forward, inverse, compact)
