"""From a config to what it describes: the data set, the model and the program that trains it."""

import importlib
import itertools
import pkgutil
from typing import NamedTuple

from ml_collections import config_dict

from research import data, models, samplers
from research.contracts import Model, Program
from research.errors import UserError, nearest
from research.programs import boosting, ensembles, gradient
from research.workdir import flatten

AT_LEAST = {  # a run would end in an obscure error, or never
    "train.num_steps": 1,
    "train.log_every": 1,
    "train.eval_every": 0,
    "train.checkpoint_every": 0,
    "train.keep_last": 1,
    "data.batch_size": 1,
    "sampler.num_samples": 2,
    "sampler.num_steps": 1,
    "net.mlp.width": 2,
    "net.mlp.depth": 1,
    "net.unet.blocks": 1,
    "net.unet.head_dim": 1,
    "net.dit.width": 4,
    "net.dit.depth": 1,
    "net.dit.heads": 1,
    "net.dit.patch": 1,
    "net.dit.unroll": 1,
    "model.num_trees": 1,
    "model.block": 1,
    "model.max_nodes": 0,
    "model.one_hot_max_size": 0,
    "model.max_ctr_complexity": 1,
    "model.width": 1,
    "model.depth": 1,
    "model.couplings": 1,
    "model.levels": 1,
    "model.steps": 1,
    "model.bins": 2,
    "model.patch": 1,
    "model.conditioner.width": 2,
    "model.conditioner.depth": 1,
    "model.conditioner.heads": 1,
}


class Experiment(NamedTuple):
    """A config with `data.shape`, `.levels` and `.num_classes` filled in from the data set, and what it describes."""

    config: config_dict.FrozenConfigDict
    dataset: data.Dataset
    model: Model
    program: Program


def build(config):
    """The Experiment of a config. Raises UserError for an unknown model or data that are not there."""
    check(config)
    return assemble(config, data.load(config.data))


def check(config):
    """Raises UserError for numbers that no run can have, and for a sampler that there is not."""
    fields = flatten(config.to_dict())
    for name, least in AT_LEAST.items():
        if fields.get(name, least) < least:
            raise UserError(f"{name} is {fields[name]}; it must be at least {least}.")
    if not all(width >= 4 for width in fields.get("net.unet.channels", ())):
        raise UserError(f"net.unet.channels is {fields['net.unet.channels']}; each level needs at least 4 channels.")
    if "name" in config.get("sampler", {}):
        samplers.find(config.sampler.name)  # now, and not after the training


def assemble(config, dataset, devices=None):
    """The Experiment of a config whose data set is loaded; its numbers are not checked and may be traced.

    devices: the mesh that tables are spread over, of the config's by default.
    """
    config = described(config, dataset)
    model, module = model_of(config)
    kind = getattr(module, "PROGRAM", None)
    if kind == "boosting":
        return Experiment(config, dataset, model, boosting.make(config, dataset, devices))
    if kind == "ensembles":
        return Experiment(config, dataset, model, ensembles.make(model, module.method, config, dataset, devices))
    example = next(data.epochs(dataset.fitted[0], config.data.batch_size))
    return Experiment(config, dataset, model, gradient.make(model, config, example, heldout_batches(config, dataset)))


def model_of(config):
    """(Model, the module that made it) of a config that is `described`; PROGRAM there names what trains it, if it is
    not the gradient. Raises UserError."""
    names = [module.name for module in pkgutil.iter_modules(models.__path__)]
    if config.model.name not in names:
        raise UserError(f"model.name is '{config.model.name}'; {nearest(config.model.name, names)}")
    module = importlib.import_module(f"research.models.{config.model.name}")
    return module.make(config, tuple(config.data.shape)), module


def described(config, dataset):
    """A config, frozen, that says what the data set is like."""
    config = config_dict.ConfigDict(config.to_dict())
    config.data.update({"shape": dataset.shape, "levels": dataset.levels, "num_classes": dataset.num_classes})
    return config_dict.FrozenConfigDict(config)


def heldout_batches(config, dataset):
    """The first `train.eval_examples` of the test set, or of pairs held out, in batches of `data.batch_size`."""
    count = max(config.train.eval_examples // config.data.batch_size, 1)
    return list(itertools.islice(data.epochs(dataset.fitted[1], config.data.batch_size), count))
