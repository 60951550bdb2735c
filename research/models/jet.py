"""Jet (Kolesnikov et al. 2024, "Jet: a modern transformer-based normalizing flow"): ViT couplings of patches."""

from research import bijectors as bj
from research import flow
from research.errors import UserError


def bijector(config, data_shape):
    """The Bijector of a config: patches to channels, then couplings of a fixed random half of them, on one scale."""
    own, classes = config.model, flow.classes(config)
    if len(data_shape) != 3 or data_shape[0] % own.patch or data_shape[1] % own.patch:
        raise UserError(
            f"jet takes images whose height and width divide by model.patch of {own.patch}, not examples of shape "
            f"{tuple(data_shape)}; change model.patch or choose another model."
        )

    def step():
        told = flow.half(config, "vit", data_shape[2] * own.patch**2, 2, num_classes=classes)
        return bj.chain(split=bj.shuffle(), coupling=bj.affine_coupling(*told, own.scale, compact=True))

    return bj.chain(patches=bj.squeeze(own.patch), couplings=flow.stack(config, step, own.couplings))


def make(config, data_shape):
    """Model of images, from the sections data, model and sampler of `config`."""
    return flow.make(bijector(config, data_shape), config, data_shape)
