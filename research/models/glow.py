"""Glow (Kingma & Dhariwal 2018, "Generative flow with invertible 1x1 convolutions"): levels of equal steps."""

import numpy as np

from research import bijectors as bj
from research import flow
from research.errors import UserError, nearest
from research.nets import build

PERMUTATIONS = {  # model.permutation: what mixes channels between two couplings (figure 3)
    "plu": lambda: bj.invertible_conv("plu"),
    "direct": lambda: bj.invertible_conv("direct"),
    "householder": lambda: bj.invertible_conv("householder"),
    "shuffle": bj.shuffle,
    "reverse": bj.reverse,
}


def bijector(config, data_shape):
    """The Bijector of a config: `levels` times a squeeze and `steps` of ActNorm, permutation and coupling.

    The half that leaves after a level is normalised by what the half that stays says, the top by its class or by
    itself: the paper's learned priors, as affine couplings.
    """
    own = config.model
    _check(own, data_shape)
    (h, w, c), levels, shapes = data_shape, [], []
    for i in range(own.levels):
        h, w, c = h // 2, w // 2, 4 * c
        steps = flow.stack(config, lambda c=c: _step(config, c), own.steps, own.unroll)
        prior = _top(flow.classes(config)) if i == own.levels - 1 else _split(own, c)
        levels.append(bj.chain(squeeze=bj.squeeze(), steps=steps, prior=prior))
        shapes.append((h, w, c))
        c //= 2
    return bj.multiscale(levels, shapes)


def _step(config, channels):
    own = config.model
    if own.coupling == "additive":
        coupling = bj.additive_coupling(*flow.half(config, "cnn", channels, 1, told=False), compact=True)
    else:
        coupling = bj.affine_coupling(*flow.half(config, "cnn", channels, 2, told=False), own.scale, compact=True)
    return bj.chain(norm=bj.actnorm(), permute=PERMUTATIONS[own.permutation](), coupling=coupling)


def _split(own, channels):
    """The prior of the second half of the channels, given the first: one convolution."""
    fields = {**own.conditioner, "depth": 0, "dropout": 0.0}
    told = build.conditioner("cnn", fields, 2, told=False, moved=channels // 2)
    return bj.affine_coupling(told, bj.masks.half(channels), compact=True)


def _top(classes):
    """The prior of the last level: a mean and a scale a channel, of each class."""
    return bj.affine_coupling(flow.table(classes, 2), np.zeros(1, bool))


def _check(own, data_shape):
    if own.permutation not in PERMUTATIONS:
        raise UserError(f"model.permutation is '{own.permutation}'; {nearest(own.permutation, PERMUTATIONS)}")
    if own.coupling not in ("affine", "additive"):
        raise UserError(f"model.coupling is '{own.coupling}'; choose affine or additive.")
    divisor = 2**own.levels
    if len(data_shape) != 3 or data_shape[0] % divisor or data_shape[1] % divisor:
        raise UserError(
            f"glow with model.levels of {own.levels} takes images whose height and width divide by {divisor}, "
            f"not examples of shape {tuple(data_shape)}; lower model.levels or choose another model."
        )


def make(config, data_shape):
    """Model of images, from the sections data, model and sampler of `config`."""
    return flow.make(bijector(config, data_shape), config, data_shape)
