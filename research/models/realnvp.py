"""RealNVP (Dinh et al. 2017, "Density estimation using Real NVP"): affine couplings, batch norm, several scales."""

import jax
import jax.numpy as jnp

from research import bijectors as bj
from research import flow
from research.errors import UserError
from research.nets import build

LAST = 4  # checkerboard couplings of the last level; the others have three, and three of channels


def bijector(config, data_shape):
    """The Bijector of a config: a stack of couplings for vectors, the multi-scale architecture for images."""
    if len(data_shape) == 1 and data_shape[0] > 1:
        return flow.alternating(config, lambda: _half(config, "mlp", data_shape[0]), data_shape[0])
    if len(data_shape) != 3:
        raise UserError(f"realnvp takes vectors of two and more columns or images, not examples of shape {data_shape}.")
    return _images(config, data_shape)


def _normed(config, coupling):
    """RealNVP's batch norm behind a coupling (section 3.7)."""
    return bj.chain(coupling=coupling, norm=bj.batch_norm()) if config.model.batch_norm else coupling


def _half(config, kind, channels):
    """A coupling of the second half of the channels."""
    told = flow.half(config, kind, channels, 2, num_classes=flow.classes(config))
    return _normed(config, bj.affine_coupling(*told, config.model.scale, compact=True))


def _board(config, height, width, flip):
    """A coupling of the pixels of one colour of a checkerboard."""
    told = build.conditioner("resnet", config.model.conditioner, 2, flow.classes(config))
    return _normed(config, bj.affine_coupling(told, bj.masks.checkerboard(height, width, flip), config.model.scale))


def _images(config, data_shape):
    (h, w, c), own = data_shape, config.model
    divisor = 2 ** (own.levels - 1)
    if h % divisor or w % divisor:
        raise UserError(
            f"model.levels of {own.levels} needs a height and width that divide by {divisor}, not {h} x {w}."
        )
    levels, shapes = [], []
    for i in range(own.levels):
        last = i == own.levels - 1
        layers = {f"board{k}": _board(config, h, w, flip=bool(k % 2)) for k in range(LAST if last else 3)}
        if not last:
            h, w, c = h // 2, w // 2, 4 * c
            halves = {f"channel{k}": bj.chain(half=_half(config, "resnet", c), turn=bj.swap(c)) for k in range(3)}
            layers |= {"squeeze": bj.squeeze()} | halves
        levels.append(bj.chain(**layers))
        shapes.append((h, w, c))
        c //= 2
    if not 0 <= own.logit < 1:
        raise UserError(f"model.logit is {own.logit}; it is from 0, for none, to below 1.")
    into = {"logit": bj.logit(own.logit, -1.0, 1.0)} if own.logit and config.data.levels else {}
    return bj.chain(**into, scales=bj.multiscale(levels, shapes))


def make(config, data_shape):
    """Model of vectors or images, from the sections data, model and sampler of `config`.

    The loss has an L2 penalty on the lengths of weight-normed kernels (section 4.1); vectors have none.
    """

    def penalty(params):
        leaves = jax.tree_util.tree_leaves_with_path(params)
        lengths = [x for path, x in leaves if jax.tree_util.keystr(path, simple=True, separator="/").endswith("/scale")]
        return config.model.l2_scale * sum(jnp.sum(x**2) for x in lengths)

    return flow.make(bijector(config, data_shape), config, data_shape, penalty if config.model.l2_scale else None)
