"""Random data of any shape, in place of files that may be absent."""

import numpy as np

from research.data.source import Dataset, from_arrays
from research.errors import UserError


def load(config):
    """The Dataset of `config.size` training and as many test points, x [*config.shape] around a mean of their class.

    Integers (uint8) where `config.levels` is set, else float32 with unit variance within a class.
    Raises UserError for a size below 1 or more than 256 levels.
    """
    shape, levels, classes = tuple(config.shape), config.levels or None, config.num_classes or None
    if config.size < 1:
        raise UserError(f"data.size is {config.size}; it must be at least 1.")
    if levels is not None and not 2 <= levels <= 256:
        raise UserError(f"data.levels is {levels}; synthetic data has 2 to 256 levels, or 0 for continuous data.")
    means = np.random.default_rng(config.seed).normal(size=(classes or 1, *shape)).astype(np.float32)

    def source(stream):
        rng = np.random.default_rng([config.seed, stream])
        labels = rng.integers(0, classes or 1, config.size).astype(np.int32)
        x = means[labels] + rng.standard_normal((config.size, *shape), np.float32)
        if levels is not None:
            x = np.clip(np.round((x + 4) / 8 * (levels - 1)), 0, levels - 1).astype(np.uint8)
        return from_arrays(x, None if classes is None else labels)

    return Dataset(source(0), source(1), shape, classes, levels)
