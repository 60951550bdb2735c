"""What a data set is: where examples are gathered from, and what is known about them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from research.errors import UserError


class Source(NamedTuple):
    """Examples that are gathered by index; nothing is read before it is asked for."""

    size: int
    # (indices [B] int64) -> {"x": [B, ...]} and "condition" [B] int32 where there are classes, "y" [B] of a table
    gather: Callable
    # (rng, rows, batch_size, place in a batch where the epoch begins) -> an epoch's indices [rows]; None: any order
    permutation: Callable | None = None
    grown: Callable | None = None  # () -> how many rows there are now, of which the first `size` are those of before


class Dataset(NamedTuple):
    """Two Sources, and what a model may know of one x."""

    train: Source
    test: Source
    shape: tuple  # of one x
    num_classes: int | None = None
    levels: int | None = None  # x are integers 0..levels-1; None: continuous
    source: tuple | None = None  # Sources (train, test) of what stands in the place of noise
    pairs: tuple | None = None  # Sources (train, test) of (noise, x) pairs that a model is trained on
    log_prob: Callable | None = None  # (x [B, 2]) -> [B], exact log-density in nats, a jax function; toy data only
    entropy: float | None = None  # nats
    feature_names: tuple | None = None  # of the columns of a table with a target; its batches have "y"
    categorical: tuple = ()  # the columns of such a table whose numbers stand for categories
    borders: tuple | None = None  # a trees.binning.Borders, where x are numbers that stand for its bins

    @property
    def fitted(self):
        """Sources (train, test) of what a model is trained on: the pairs, where there are."""
        return self.pairs or (self.train, self.test)


def from_arrays(x, condition=None, y=None):
    """A Source of x [N, ...] and labels [N] or targets y [N]; memory maps stay on disk until rows are gathered."""

    def gather(indices):
        batch = {"x": np.asarray(x[indices])}
        if condition is not None:
            batch["condition"] = np.asarray(condition[indices], np.int32)
        if y is not None:
            batch["y"] = np.asarray(y[indices], np.float32)
        return batch

    return Source(len(x), gather)


def chain(first, then):
    """A Source of the "x" of `first`, and, behind them, of those of `then`."""

    def gather(indices):
        early = indices < first.size
        a = first.gather(np.minimum(indices, first.size - 1))["x"]
        b = then.gather(np.maximum(indices - first.size, 0))["x"]
        return {"x": np.where(early.reshape(-1, *[1] * (a.ndim - 1)), a, b)}

    return Source(first.size + then.size, gather)


def shuffled(source, seed):
    """A Source of the same examples in a random order: of rows sorted by class, the first would be of few classes."""
    order = np.random.default_rng(seed).permutation(source.size)
    return source._replace(gather=lambda indices: source.gather(order[indices]))


def holdout(n, seed, where):
    """(train indices, test indices) of n examples: a tenth, at least one, is held out at random.

    Raises UserError for fewer than two examples; `where` names them.
    """
    if n < 2:
        raise UserError(f"{where} has {n} examples; at least two are needed, to hold one out.")
    order = np.random.default_rng(seed).permutation(n)
    count = max(n // 10, 1)
    return np.sort(order[count:]), np.sort(order[:count])
