"""The net that a config names."""

import jax.numpy as jnp

from research.errors import UserError
from research.nets.mlp import MLP
from research.nets.unet import UNet


def make(config_net, num_classes=None):
    """Linen module with __call__(x [B, ...], t [B], label [B], train). Raises UserError for an unknown net.name."""
    if config_net.dtype not in ("float32", "bfloat16"):
        raise UserError(f"net.dtype is '{config_net.dtype}'; choose float32 or bfloat16.")
    shared = {"num_classes": num_classes, "dtype": jnp.dtype(config_net.dtype)}
    if config_net.name == "mlp":
        own = config_net.mlp
        return MLP(width=own.width, depth=own.depth, dropout=own.dropout, **shared)
    if config_net.name == "unet":
        own = config_net.unet
        return UNet(channels=tuple(own.channels), blocks=own.blocks, dropout=own.dropout, **shared)
    raise UserError(f"there is no net {config_net.name!r}: config.net.name is 'mlp' or 'unet'")
