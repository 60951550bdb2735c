"""The net that a config names, and the pair of functions that a coupling layer calls."""

import jax.numpy as jnp

from research.errors import UserError
from research.nets import activations
from research.nets.coupling_cnn import CouplingCNN
from research.nets.coupling_mlp import CouplingMLP
from research.nets.coupling_resnet import CouplingResNet
from research.nets.coupling_vit import CouplingViT
from research.nets.dit import DiT
from research.nets.mlp import MLP
from research.nets.unet import UNet

NETS = {"mlp": MLP, "unet": UNet, "dit": DiT}  # net.name -> linen module; its fields are the section of that name
CONDITIONERS = {"mlp": CouplingMLP, "resnet": CouplingResNet, "cnn": CouplingCNN, "vit": CouplingViT}
DTYPES = ("float32", "bfloat16")


def make(config_net, num_classes=None):
    """Linen module with __call__(x [B, ...], t [B], label [B], train). Raises UserError for an unknown name."""
    dtype = _dtype(config_net.dtype, "net.dtype")
    if config_net.name not in NETS:
        raise UserError(f"there is no net '{config_net.name}': config.net.name is one of {', '.join(NETS)}.")
    fields = dict(config_net[config_net.name])
    activations.get(fields["activation"])  # an unknown name is said now
    fields |= {"num_classes": num_classes, "dtype": dtype, "remat": config_net.remat}
    return NETS[config_net.name](**fields)


def conditioner(kind, fields, outputs, num_classes=None, told=True, moved=None):
    """(init, apply[, True]) of a coupling layer, as research.bijectors.coupling says, with `outputs` numbers an entry.

    kind: a key of CONDITIONERS; fields: the section model.conditioner of a config; told: whether the net hears of the
    condition; moved: how many channels a compact coupling transforms. Raises UserError for an unknown activation or
    dtype.
    """
    fields = dict(fields)
    activations.get(fields["activation"])
    if not 0 <= fields["dropout"] < 1:
        raise UserError(f"model.conditioner.dropout is {fields['dropout']}; it is a share from 0 to below 1.")
    fields |= {
        "outputs": outputs,
        "num_classes": num_classes,
        "dtype": _dtype(fields["dtype"], "model.conditioner.dtype"),
    }
    net = CONDITIONERS[kind](**fields, channels=moved and outputs * moved)

    def init(key, x, condition=None):
        return net.init(key, x, condition if told else None).get("params", {})

    def apply(params, x, condition=None, key=None):
        noise = {} if key is None else {"rngs": {"dropout": key}}
        return net.apply({"params": params}, x, condition if told else None, key is not None, **noise)

    return (init, apply, True) if fields["dropout"] else (init, apply)


def _dtype(name, field):
    if name not in DTYPES:
        raise UserError(f"{field} is '{name}'; choose {' or '.join(DTYPES)}.")
    return jnp.dtype(name)
