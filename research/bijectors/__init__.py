"""Invertible maps with log-determinants, each a `Bijector` of pure functions; a conditioner is passed in."""

from research.bijectors import masks
from research.bijectors.compose import chain, invert, scan_chain, train
from research.bijectors.coupling import additive_coupling, affine_coupling
from research.bijectors.linear import invertible_conv, logit, permutation, reverse, scale, shuffle, swap
from research.bijectors.norm import actnorm, batch_norm
from research.bijectors.shape import squeeze
from research.bijectors.spline import rq_spline_coupling

__all__ = [
    "actnorm",
    "additive_coupling",
    "affine_coupling",
    "batch_norm",
    "chain",
    "invert",
    "invertible_conv",
    "logit",
    "masks",
    "permutation",
    "reverse",
    "rq_spline_coupling",
    "scale",
    "scan_chain",
    "shuffle",
    "squeeze",
    "swap",
    "train",
]
