"""Data sets by name, and batches from them. Entry points: `load` and `iterate`."""

from ml_collections import config_dict

from research.data import (
    cifar10,
    digits,
    friedman,
    image_folder,
    imagenet,
    libsvm,
    mnist,
    npz,
    pairs,
    shards,
    small,
    synthetic,
    tables,
    toy2d,
    uci,
)
from research.data.pipeline import epochs, iterate
from research.data.source import Dataset, Source, chain, from_arrays
from research.errors import UserError, nearest

__all__ = ["LOADERS", "Dataset", "Source", "chain", "epochs", "from_arrays", "iterate", "load"]

LOADERS = {  # data.name -> a function of the data section
    "digits": digits.load,
    "8gaussians": toy2d.load,
    "two_moons": toy2d.load,
    "checkerboard": toy2d.load,
    "pinwheel": toy2d.load,
    "spirals": toy2d.load,
    "rings": toy2d.load,
    "swiss_roll": toy2d.load,
    "mnist": mnist.load,
    "fashion_mnist": mnist.load,
    "cifar10": cifar10.load,
    "imagenet32": imagenet.load,
    "imagenet64": imagenet.load,
    "uci_regression": uci.load,
    "friedman": friedman.load,
    "friedman_classes": friedman.load,
    "california_housing": tables.load,
    "adult": tables.load,
    "agaricus": tables.load,
    "small_tabular": small.load,
    "libsvm": libsvm.load,
    "npz": npz.load,
    "image_folder": image_folder.load,
    "shards": shards.load,
    "synthetic": synthetic.load,
}


def load(config):
    """The Dataset that the data section of a config names; files are looked for in, or downloaded to, `config.dir`.

    With data.source its examples bring one of that set each, any one; with data.pairs it has those too.
    Raises UserError for an unknown name, and for files that are missing or damaged.
    """
    dataset = _find(config, config.name, config.seed)
    if config.get("source"):
        dataset = pairs.with_source(dataset, _find(config, config.source, config.seed + 1), config)
    return dataset._replace(pairs=pairs.load(config.pairs, dataset.shape)) if config.get("pairs") else dataset


def _find(config, name, seed):
    if name not in LOADERS:
        raise UserError(f"data.name is '{name}'; {nearest(name, LOADERS)}")
    if seed < 0:
        raise UserError(f"data.seed is {seed}; it must be 0 or more.")
    config = config_dict.ConfigDict(config.to_dict() | {"name": name, "seed": seed})
    return LOADERS[name](config)
