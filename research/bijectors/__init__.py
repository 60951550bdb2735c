"""Invertible maps with log-determinants, each a `Bijector` of pure functions; a conditioner is passed in."""

from research.bijectors import masks
from research.bijectors.compose import chain, first_bad, invert, train
from research.bijectors.coupling import additive_coupling, affine_coupling
from research.bijectors.linear import invertible_conv, logit, permutation, reverse, scale, shift, shuffle, swap
from research.bijectors.multiscale import multiscale
from research.bijectors.norm import actnorm, batch_norm
from research.bijectors.shape import flatten, squeeze
from research.bijectors.spline import rq_spline_coupling
from research.bijectors.stack import scan_chain

__all__ = [
    "actnorm",
    "additive_coupling",
    "affine_coupling",
    "batch_norm",
    "chain",
    "first_bad",
    "flatten",
    "invert",
    "invertible_conv",
    "logit",
    "masks",
    "multiscale",
    "permutation",
    "reverse",
    "rq_spline_coupling",
    "scale",
    "scan_chain",
    "shift",
    "shuffle",
    "squeeze",
    "swap",
    "train",
]
