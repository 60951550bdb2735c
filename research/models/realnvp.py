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
    if len(data_shape) == 1:
        return _vectors(config, data_shape[0])
    if len(data_shape) != 3:
        raise UserError(f"realnvp takes vectors or images, not examples of shape {data_shape}; choose another model.")
    return _images(config, data_shape)


def _coupling(config, kind, mask):
    """An affine coupling, and RealNVP's batch norm behind it (section 3.7)."""
    own = config.model
    told = build.conditioner(kind, own.conditioner, 2, flow.classes(config))
    norm = {"norm": bj.batch_norm()} if own.batch_norm else {}
    return bj.chain(coupling=bj.affine_coupling(told, mask, own.scale), **norm)


def _vectors(config, size):
    def coupling(flip):
        return _coupling(config, "mlp", bj.masks.half(size, flip))

    return flow.alternating(coupling, config.model.couplings, config.model.reversible)


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
        boards = [bj.masks.checkerboard(h, w, flip=bool(k % 2)) for k in range(LAST if last else 3)]
        layers = {f"board{k}": _coupling(config, "resnet", mask) for k, mask in enumerate(boards)}
        if not last:
            h, w, c = h // 2, w // 2, 4 * c
            halves = [bj.masks.half(c, flip=bool(k % 2)) for k in range(3)]
            layers |= {"squeeze": bj.squeeze()}
            layers |= {f"channel{k}": _coupling(config, "resnet", mask) for k, mask in enumerate(halves)}
        levels.append(bj.chain(**layers))
        shapes.append((h, w, c))
        c //= 2
    into = {"logit": bj.logit(own.logit, -1.0, 1.0)} if own.logit else {}
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
