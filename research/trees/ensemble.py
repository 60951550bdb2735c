"""Boosted oblivious trees and their predictions, whole and by stages; explain.py says more of them.

A leaf is found by bit index: bit d is the answer to question d. Entry points: `collect` and `predict_raw`.
"""

import concurrent.futures
import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.errors import UserError, is_known
from research.trees import binning, blocks

# On a CPU 1024 rows stay in the innermost caches, and are too few for XLA to share each small operation out to threads,
# which costs more than it gives. Threads take a batch each.
ROWS, BATCH = 1 << 10, 1 << 13
ROWS_ACCELERATOR = 1 << 18  # both
TREES = 16  # summed apart from the rest: rounding errors grow with the length of a sum
COMPARED = 32  # borders that one pass compares a column with
ABOVE = 2**31 - 1  # the place of no number
OF_TREES = ("feature", "threshold", "missing_right", "gain", "leaves", "cover")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ensemble:
    """T oblivious trees of depth D over F features with K outputs, and the borders their thresholds count."""

    feature: jax.Array  # [T, D] int32
    threshold: jax.Array  # [T, D] int32: a row answers 1 where its code is above it
    missing_right: jax.Array  # [T, D] bool, read where missing is "learn"
    gain: jax.Array | None  # [T, D] f32; None where not known, as of an imported model
    leaves: jax.Array  # [T, 2^D, K] f32
    cover: jax.Array | None  # [T, 2^D] f32, weight of the rows in a leaf; None where not known
    start: jax.Array  # [K] f32, added to the sum of the trees
    borders: jax.Array  # [F, B] f32, those of a feature filled up with +inf
    counts: jax.Array  # [F] int32, how many of them are a feature's own
    side: str = dataclasses.field(metadata={"static": True})  # this and the next as in binning.Borders
    missing: str = dataclasses.field(metadata={"static": True})
    objective: str = dataclasses.field(metadata={"static": True})
    names: tuple | None = dataclasses.field(metadata={"static": True})  # of the features

    @property
    def loss_name(self):
        """The objective's name without its options."""
        return self.objective.partition(":")[0]


def collect(trees, borders, start, objective):
    """The Ensemble of trees (as boosting.Trees), the binning.Borders they count, start [K] and the objective's name."""
    values = np.full((len(borders.values), max(borders.bins - 1, 1)), np.inf, np.float32)
    for row, value in zip(values, borders.values):
        row[: len(value)] = value
    of_trees = (getattr(trees, name) for name in OF_TREES)
    rest = (jnp.asarray(start, jnp.float32), jnp.asarray(values), jnp.asarray(borders.counts))
    return Ensemble(*of_trees, *rest, borders.side, borders.missing, objective, borders.names)


def objective_of(loss_name, outputs):
    """The objective of an imported model, with the number of its outputs where the loss takes one."""
    counted = {"softmax": "classes", "multi_squared": "outputs"}
    return f"{loss_name}:{counted[loss_name]}={outputs}" if loss_name in counted else loss_name


def borders_of(ensemble):
    """The binning.Borders of an ensemble."""
    values = tuple(np.asarray(v)[:n] for v, n in zip(ensemble.borders, np.asarray(ensemble.counts)))
    has = tuple(bool(np.isinf(v).any()) for v in values)
    return binning.Borders(values, ensemble.side, ensemble.missing, has, ensemble.names)


def first(ensemble, num_trees):
    """The Ensemble of the first num_trees trees; all where that is None. Raises UserError where there are fewer."""
    size = len(ensemble.feature)
    if num_trees is None or num_trees == size:
        return ensemble
    if not 0 <= num_trees <= size:
        raise UserError(f"{num_trees} trees are asked for; the ensemble has {size}.")
    return dataclasses.replace(ensemble, **some(ensemble, slice(num_trees)))


def some(ensemble, trees):
    """A dict of what an ensemble has for each tree, for the trees of a slice."""
    return jax.tree.map(lambda x: x[trees], {name: getattr(ensemble, name) for name in OF_TREES})


def predict_raw(ensemble, x, num_trees=None):
    """[N, K] f32: start and trees of the rows of x, of any form that `blocks.read` takes, or an array under jit.

    Outside of jit it is a numpy array, made in batches by as many threads as there are cores. Raises UserError for what
    cannot be a table, columns of another number, name or order than the ensemble's, and missing values where it has
    "forbid".
    """
    ensemble = first(ensemble, num_trees)
    if not is_known((ensemble, x)):
        if x.ndim != 2 or x.shape[1] != len(ensemble.counts):
            raise UserError(f"x has shape {list(x.shape)}; it should be [rows, {len(ensemble.counts)}].")
        return _of_x(ensemble, x)
    parts = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for block in blocks.read(x, ensemble.names, columns=len(ensemble.counts)):
            if ensemble.missing == "forbid" and np.isnan(block.x).any():
                binning.apply(borders_of(ensemble), block.x)  # which says where
            size = min(_on_device()[1], 1 << (len(block.x) - 1).bit_length())  # few sizes, as each is compiled

            def batch(i, x=block.x, size=size):
                rows = x[i : i + size]
                whole = rows if len(rows) == size else np.pad(rows, ((0, size - len(rows)), (0, 0)))
                return np.asarray(_of_x(ensemble, whole))[: len(rows)]

            parts.append(batch(0))  # alone, so that it is compiled once
            parts += pool.map(batch, range(size, len(block.x), size))
    return np.concatenate(parts)


@jax.jit
def predict_codes(ensemble, codes):
    """[N, K] f32 of codes [F, N] that `binning.apply` made. Raises UserError for another number of features."""
    if codes.ndim != 2 or len(codes) != len(ensemble.counts):
        raise UserError(f"the codes have shape {list(codes.shape)}; they should be [{len(ensemble.counts)}, rows].")
    return _by_rows(lambda i, n: _sum(ensemble, lax.dynamic_slice_in_dim(codes, i, n, 1)), codes.shape[1])


@jax.jit
def _of_x(ensemble, x):
    return _by_rows(lambda i, n: _sum(ensemble, encode(ensemble, lax.dynamic_slice_in_dim(x, i, n))), len(x))


def staged(ensemble, x, every=1):
    """Yields [N, K], the raw predictions of the first `every` trees, of twice as many, and so on to all."""
    codes = binning.apply(borders_of(ensemble), x)
    total = jnp.broadcast_to(ensemble.start, (codes.shape[1], len(ensemble.start)))
    nothing = jnp.zeros_like(ensemble.start)
    for i in range(0, len(ensemble.feature), every):
        part = dataclasses.replace(ensemble, start=nothing, **some(ensemble, slice(i, i + every)))
        total = total + predict_codes(part, codes)
        yield total


def encode(ensemble, x):
    """Codes [F, N] of x [N, F], as `binning.apply` makes them; jits. A few borders at a time, by comparing with all."""
    num_borders = ensemble.borders.shape[1]
    own = jnp.arange(num_borders) < ensemble.counts[:, None]
    borders = jnp.where(own, _ordered(ensemble.borders), ABOVE)
    borders = jnp.pad(borders, ((0, 0), (0, -num_borders % COMPARED)), constant_values=ABOVE)
    dtype = jnp.uint8 if num_borders <= 255 else jnp.uint16

    def column(_, feature):
        x, borders, count = feature
        absent = jnp.isnan(x)
        place = jnp.where(absent, -ABOVE, _ordered(x))

        def compare(code, borders):
            for border in borders:
                code += (place > border if ensemble.side == "left" else place >= border).astype(dtype)
            return code, None

        code, _ = lax.scan(compare, jnp.zeros(x.shape, dtype), borders.reshape(-1, COMPARED))
        if ensemble.missing in ("max", "learn"):
            last = count if ensemble.missing == "max" else num_borders
            code = jnp.where(absent, jnp.asarray(last, dtype), code)
        return None, code

    return lax.scan(column, None, (x.astype(jnp.float32).T, borders, ensemble.counts))[1]


def _ordered(x):
    """int32 in the order of float32 x, since devices take its least numbers for 0. -0 is 0."""
    bits = lax.bitcast_convert_type(x, jnp.int32)
    bits = jnp.where(bits == jnp.iinfo(jnp.int32).min, 0, bits)
    return bits ^ (bits >> 31 & jnp.iinfo(jnp.int32).max)


def _sum(ensemble, codes):
    """[R, K]: start and all trees on codes [F, R]."""
    size = len(ensemble.feature)
    shape = (-(-size // TREES), TREES) if size > TREES else (1, size)

    def block(x):  # a tree more has leaves of zeros
        x = jnp.pad(x, [(0, shape[0] * shape[1] - size)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(*shape, *x.shape[1:])

    def tree(total, tree):
        *split, leaves = tree
        return total + leaves.at[_leaf(ensemble, codes, *split)].get(mode="promise_in_bounds"), None

    zeros = jnp.zeros((codes.shape[1], len(ensemble.start)), jnp.float32)
    trees = (ensemble.feature, ensemble.threshold.astype(codes.dtype), ensemble.missing_right, ensemble.leaves)

    def several(total, trees):
        return total + lax.scan(tree, zeros, trees)[0], None

    return lax.scan(several, zeros + ensemble.start, jax.tree.map(block, trees))[0]


def _leaf(ensemble, codes, feature, threshold, missing_right):
    """Leaves [R] of a tree with splits [D] on codes [F, R]."""
    depth = len(feature)
    leaf = jnp.zeros(codes.shape[1], jnp.uint8 if depth <= 8 else jnp.int32)
    for d in range(depth):
        code = lax.dynamic_index_in_dim(codes, feature[d], keepdims=False)
        right = code > threshold[d]
        if ensemble.missing == "learn":
            right &= (code < ensemble.borders.shape[1]) | missing_right[d]
        leaf += jnp.where(right, leaf.dtype.type(1 << d), leaf.dtype.type(0))
    return leaf.astype(jnp.int32)


def _by_rows(function, size):
    """[size, K] of function(first row, number of rows) -> [rows, K], some rows at a time."""
    rows = min(size, _on_device()[0])
    starts = np.minimum(np.arange(0, size, rows), size - rows)  # the last rows overlap with those before
    found = lax.map(lambda i: function(i, rows), jnp.asarray(starts))
    last = found[-1, len(starts) * rows - size :]
    return jnp.concatenate([found[:-1].reshape(-1, found.shape[-1]), last])


def _on_device():
    return (ROWS, BATCH) if jax.default_backend() == "cpu" else (ROWS_ACCELERATOR,) * 2
