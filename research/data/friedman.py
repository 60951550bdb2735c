"""Friedman's (1991) first test table: ten uniform columns of which five matter, with noise of deviation 1."""

import types

import numpy as np

from research.data.source import Dataset, from_arrays
from research.errors import UserError

MIDDLE = 14.4  # about the median of y, where "friedman_classes" parts 0 from 1


def load(config):
    """The Dataset of `config.size` training and as many test rows, x [10] and y [], a number or, of _classes, 0 or 1.

    y = `truth` + N(0, 1). Raises UserError for a size below 1.
    """
    if config.size < 1:
        raise UserError(f"data.size is {config.size}; it must be at least 1.")

    def source(stream):
        rng = np.random.default_rng([config.seed, stream])
        x = rng.random((config.size, 10), np.float32)
        y = truth(x) + rng.standard_normal(config.size)
        return from_arrays(x, y=y > MIDDLE if config.name == "friedman_classes" else y)

    return Dataset(source(0), source(1), (10,), feature_names=tuple(f"x{i}" for i in range(10)))


def truth(x):
    """y [N] without its noise, 10 sin(pi x0 x1) + 20 (x2 - 1/2)^2 + 10 x3 + 5 x4, of x [N, 10]."""
    return 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]


def tables(seed, rows, name="friedman"):
    """((x, y) to fit to, (x, y) held out), as `load` gives them, of so many rows each."""
    data = load(types.SimpleNamespace(name=name, size=rows, seed=seed))
    return [(of["x"], of["y"]) for of in (part.gather(np.arange(rows)) for part in (data.train, data.test))]
