"""Predictions of ensembles of both kinds, whole and by stages. Entry points: `predict_raw`, `staged`, `first`.

ensemble.py and forest.py know their trees: OF_TREES, the fields with an entry for each; `encode`, what the trees ask of
rows; `prepared`, arrays [T, ...] that a walk reads; `walk`, what one of those trees adds.
"""

import concurrent.futures
import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.errors import UserError, is_known
from research.trees import binning, blocks, ensemble, forest

# On a CPU 1024 rows stay in the innermost caches, and are too few for XLA to share each small operation out to threads,
# which costs more than it gives. Threads take a batch each.
ROWS, BATCH = 1 << 10, 1 << 13
ROWS_ACCELERATOR = 1 << 18  # both
TREES = 16  # summed apart from the rest: rounding errors grow with the length of a sum


def kind(of):
    """The module of an Ensemble or a Forest."""
    return forest if isinstance(of, forest.Forest) else ensemble


def first(of, num_trees):
    """The ensemble of the first num_trees trees (or rounds); all where None. Raises UserError where it has fewer."""
    size = len(of.feature)
    if num_trees is None or num_trees == size:
        return of
    if not 0 <= num_trees <= size:
        raise UserError(f"{num_trees} trees are asked for; the ensemble has {size}.")
    return dataclasses.replace(of, **some(of, slice(num_trees)))


def some(of, trees):
    """A dict of what an ensemble has for each tree, for the trees of a slice."""
    return jax.tree.map(lambda x: x[trees], {name: getattr(of, name) for name in kind(of).OF_TREES})


def predict_raw(of, x, num_trees=None):
    """[N, K] f32: start and trees of the rows of x, of any form that `blocks.read` takes, or an array under jit.

    Outside of jit it is a numpy array, made in batches by as many threads as there are cores. Raises UserError for what
    cannot be a table, columns of another number, name or order than the ensemble's, and missing values where it has
    "forbid".
    """
    of = first(of, num_trees)
    if not is_known((of, x)):
        if x.ndim != 2 or x.shape[1] != of.columns:
            raise UserError(f"x has shape {list(x.shape)}; it should be [rows, {of.columns}].")
        return _of_x(of, x)
    found = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for block in _read(of, x):
            size = min(_on_device()[1], 1 << (len(block) - 1).bit_length())  # few sizes, as each is compiled

            def batch(i, x=block, size=size):
                rows = x[i : i + size]
                whole = rows if len(rows) == size else np.pad(rows, ((0, size - len(rows)), (0, 0)))
                return np.asarray(_of_x(of, whole))[: len(rows)]

            found.append(batch(0))  # alone, so that it is compiled once
            found += pool.map(batch, range(size, len(block), size))
    return np.concatenate(found)


def staged(of, x, every=1):
    """Yields [N, K], the raw predictions of the first `every` trees, of twice as many, and so on to all."""
    rows = encode(of, x)
    total = jnp.broadcast_to(of.start, (rows.shape[1], len(of.start)))
    for part in parts(of, every):
        total = total + predict_encoded(part, rows)
        yield total


def parts(of, every=1):
    """Yields ensembles that start from 0: the first `every` trees, the next ones, and so on to all."""
    trees = jax.device_get(some(of, slice(None)))  # XLA would compile each slice
    for i in range(0, len(of.feature), every):
        part = jax.tree.map(lambda x, i=i: x[i : i + every], trees)
        yield dataclasses.replace(of, start=jnp.zeros_like(of.start), **part)


def encode(of, x):
    """What the trees ask of the rows of x, of any form that `predict_raw` takes: [..., N] of `predict_encoded`."""
    return jnp.concatenate([_encode(of, x) for x in _read(of, x)], axis=1)


@jax.jit
def predict_encoded(of, rows):
    """[N, K] f32 of rows [..., N] that `encode` made."""
    trees = _in_blocks(of)
    return _by_rows(lambda i, n: _sum(of, trees, lax.dynamic_slice_in_dim(rows, i, n, 1)), rows.shape[1])


@jax.jit
def _of_x(of, x):
    trees, encode = _in_blocks(of), kind(of).encode
    return _by_rows(lambda i, n: _sum(of, trees, encode(of, lax.dynamic_slice_in_dim(x, i, n))), len(x))


@jax.jit
def _encode(of, x):
    return kind(of).encode(of, x)


def _read(of, x):
    """Yields the rows of x in blocks [n, F], checked."""
    for block in blocks.read(x, of.names, columns=of.columns):
        binning.missing_of(block, of.missing, of.names)
        yield block.x


def _in_blocks(of):
    """What walks read of the trees, [blocks, TREES, ...]; trees of zeros fill up the last."""
    size = len(of.feature)
    shape = (-(-size // TREES), TREES) if size > TREES else (1, size)
    more = shape[0] * shape[1] - size
    longer = jax.tree.map(lambda x: jnp.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1)), some(of, slice(None)))
    trees = kind(of).prepared(dataclasses.replace(of, **longer))
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), trees)


def _sum(of, trees, rows):
    """[R, K]: start and all trees."""
    zeros, walk = jnp.zeros((rows.shape[1], len(of.start)), jnp.float32), kind(of).walk

    def several(total, trees):
        return total + lax.scan(lambda part, tree: (part + walk(of, tree, rows), None), zeros, trees)[0], None

    return lax.scan(several, zeros + of.start, trees)[0]


def _by_rows(function, size):
    """[size, K] of function(first row, number of rows) -> [rows, K], some rows at a time."""
    rows = min(size, _on_device()[0])
    starts = np.minimum(np.arange(0, size, rows), size - rows)  # the last rows overlap with those before
    found = lax.map(lambda i: function(i, rows), jnp.asarray(starts))
    last = found[-1, len(starts) * rows - size :]
    return jnp.concatenate([found[:-1].reshape(-1, found.shape[-1]), last])


def _on_device():
    return (ROWS, BATCH) if jax.default_backend() == "cpu" else (ROWS_ACCELERATOR,) * 2
