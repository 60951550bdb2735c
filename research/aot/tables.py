"""Data sets by their shapes alone, so that nothing is read, drawn or downloaded to compile for them."""

import math

import numpy as np
from ml_collections import config_dict

from research import data
from research.data import tables, uci
from research.data.source import Dataset, Source

SAMPLE = 4096  # rows of a table whose place more take
IMAGES = {  # data.name: shape, classes, levels, training and test examples
    "mnist": ((28, 28, 1), 10, 256, 60000, 10000),
    "fashion_mnist": ((28, 28, 1), 10, 256, 60000, 10000),
    "cifar10": ((32, 32, 3), 10, 256, 50000, 10000),
    "imagenet32": ((32, 32, 3), 1000, 256, 1281167, 50000),
    "imagenet64": ((64, 64, 3), 1000, 256, 1281167, 50000),
}
TABLES = {  # data.name: columns, whether y is a class, training and test rows, columns of categories
    "california_housing": (13, False, 18576, 2064, ()),
    "adult": (14, True, 32561, 16281, tuple(tables.ADULT.index(name) for name in tables.WORDS)),
    "agaricus": (126, True, 6513, 1611, ()),
}
GENERATED = ("friedman", "friedman_classes", "synthetic")


def load(config):
    """A Dataset of the shapes, classes and sizes that the data section of a config describes; its numbers mean nothing.

    What comes with the libraries or is generated is loaded, a table of more than SAMPLE generated rows by so many. What
    is only described by its files (npz, image_folder, libsvm, pairs) has to be there. Raises UserError as data.load.
    """
    if config.get("source") or config.get("pairs"):
        return data.load(config)
    if config.name in IMAGES:
        shape, classes, levels, *sizes = IMAGES[config.name]
        return Dataset(*(_blank(size, shape) for size in sizes), shape, classes, levels)
    if config.name in TABLES:
        return _table(*TABLES[config.name])
    if config.name == "uci_regression" and config.table in uci.TABLES:
        rows, columns, _ = uci.TABLES[config.table]
        test = uci.held_out(rows)
        if config.target:
            return _table(columns - 1, False, rows - test, test, ())
        return Dataset(_blank(rows - test, (columns,), float), _blank(test, (columns,), float), (columns,))
    size = min(config.size, SAMPLE) if config.name in GENERATED else config.size
    return data.load(config_dict.ConfigDict(config.to_dict() | {"size": size}))


def rows(config, dataset):
    """How many rows the training set has, those included that `load` left out."""
    return config.size if config.name in GENERATED else dataset.train.size


def _blank(size, shape, kind=np.uint8):
    """A Source of zeros, integers with labels or floats without, that takes no memory."""

    def gather(indices):
        batch = {"x": np.broadcast_to(np.zeros((), np.float32 if kind is float else kind), (len(indices), *shape))}
        return batch | ({} if kind is float else {"condition": np.zeros(len(indices), np.int32)})

    return Source(size, gather)


def _table(columns, is_class, train, test, categorical):
    """The Dataset of a table of numbers drawn at random, all of a column different, and of ten for a category."""

    def source(size, stream):
        rng = np.random.default_rng(stream)
        x = rng.random((size, columns), np.float32)
        x[:, list(categorical)] = np.floor(10 * x[:, list(categorical)])
        y = rng.random(size, np.float32)
        return data.from_arrays(x, y=y > 0.5 if is_class else y)

    names = tuple(f"column {i}" for i in range(columns))
    return Dataset(source(train, 0), source(test, 1), (columns,), feature_names=names, categorical=categorical)


def divisible(batch_size, devices, parts):
    """The least batch size from `batch_size` on that divides over the devices and into `parts` slices."""
    step = math.lcm(devices, parts)
    return -(-batch_size // step) * step
