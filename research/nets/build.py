"""The net that a config names."""

import jax.numpy as jnp

from research.errors import UserError
from research.nets import activations
from research.nets.dit import DiT
from research.nets.mlp import MLP
from research.nets.unet import UNet

NETS = {"mlp": MLP, "unet": UNet, "dit": DiT}  # net.name -> linen module; its fields are the section of that name


def make(config_net, num_classes=None):
    """Linen module with __call__(x [B, ...], t [B], label [B], train). Raises UserError for an unknown name."""
    if config_net.dtype not in ("float32", "bfloat16"):
        raise UserError(f"net.dtype is '{config_net.dtype}'; choose float32 or bfloat16.")
    if config_net.name not in NETS:
        raise UserError(f"there is no net '{config_net.name}': config.net.name is one of {', '.join(NETS)}.")
    fields = dict(config_net[config_net.name])
    activations.get(fields["activation"])  # an unknown name is said now
    fields |= {"num_classes": num_classes, "dtype": jnp.dtype(config_net.dtype), "remat": config_net.remat}
    return NETS[config_net.name](**fields)
