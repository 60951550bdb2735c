"""Exact CART: trees on the values themselves, grown until their leaves are pure or a limit is met. Entry point: `fit`.

Of all splits between two values that rows of a node have, each node takes the one that lowers the impurity most
(Breiman et al. 1984); the limits are scikit-learn's, and so is the border, midway between the two. Of equal splits the
lowest feature wins, then the lowest border. A split that gains nothing is taken too: an exclusive or needs it.
`columns`, `targets`, `grow` and `to_forest` are its parts, for those who grow many trees on one table; pruning.py cuts
trees back between the last two.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError, nearest
from research.trees import blocks, presorted
from research.trees.forest import Forest
from research.trees.impurity import BITS, CRITERIA

LEAST = {"max_depth": 1, "min_samples_split": 2, "min_samples_leaf": 1, "max_features": 1}  # whole numbers
SPLITTERS = ("best", "random")
# On a CPU XLA shares each small operation out to threads, which here costs half as much again, and gives nothing.
ONE_THREAD = {"xla_disable_hlo_passes": "cpu-parallel-task-assigner"}


class Options(NamedTuple):
    """How a tree grows; all static. Names and meanings are scikit-learn's, but numbers of rows are no shares."""

    criterion: str = "gini"  # one of impurity.CRITERIA
    splitter: str = "best"  # or "random": a border by chance between the least and greatest value of a node's rows
    max_depth: int | None = None
    min_samples_split: int = 2
    min_samples_leaf: int = 1
    min_weight_fraction_leaf: float = 0.0
    min_impurity_decrease: float = 0.0
    max_features: int | None = None  # how many features, drawn for each node, it may ask; None: all


class Columns(NamedTuple):
    """A table made ready for any number of trees: C columns, one for each feature and two where values are missing.

    A missing value is +inf in the first column of its feature and -inf in the second, so that both sides are tried.
    """

    x: jax.Array  # [C, N] f32
    order: jax.Array  # [C, N] int32, rows in ascending order
    feature: jax.Array  # [C] int32
    ends: jax.Array  # [2, F] int32, the first and the last column of a feature


class Targets(NamedTuple):
    """y [N, K] f32: numbers, or 1 for the class of a row and else 0; label [N] int32, equal for rows of equal y."""

    y: jax.Array
    label: jax.Array


class Trees(NamedTuple):
    """Nodes [M] of several trees, level by level: the first T are the roots. Beyond `size` they mean nothing.

    The fields of forest.Forest, but `left` is a place in this list and value [M, K] is that of inner nodes too; tree:
    whose node it is; gain: what the split lowers the impurity by, times the weight; depth: most questions to a leaf.
    """

    tree: jax.Array
    feature: jax.Array
    border: jax.Array
    missing_right: jax.Array
    left: jax.Array
    value: jax.Array
    gain: jax.Array
    cover: jax.Array
    impurity: jax.Array
    size: jax.Array
    depth: jax.Array


def fit(x, y, options, weight=None, key=None, names=None):
    """The Forest of one tree on a table x, of any form that `blocks.read` takes, and y as `targets` takes it.

    weight [N]: a row of weight 0 is not there. key: for what is drawn. A leaf's value is the mean of its rows, their
    median, or the share of each class. Raises UserError for what cannot be a table, a target, a weight or an option.
    """
    names = blocks.names_of(x, names)
    ready = columns(x)
    return to_forest(grown(ready, y, options, weight, key), 1, ready.ends.shape[1], names)


def grown(ready, y, options, weight=None, key=None):
    """The Trees, one, of Columns; the rest as `fit`, with its errors."""
    aims, rows = targets(y, options.criterion), ready.x.shape[1]
    if len(aims.y) != rows:
        raise UserError(f"y has {len(aims.y)} rows; the table has {rows}.")
    check(options, ready)
    if key is None and (options.max_features or options.splitter == "random"):
        raise UserError("the options draw by chance; give a key.")
    total = whole(np.ones(rows) if weight is None else weight, rows)
    total = total if CRITERIA[options.criterion].classes else None
    weight = None if weight is None else jnp.asarray(weight, jnp.float32)[None]
    with jax.enable_x64(True):
        return compiled(options, total)(ready, aims, weight, None if key is None else key[None])


def columns(x):
    """Columns of a table x, of any form that `blocks.read` takes. Raises UserError for what cannot be one."""
    x = np.concatenate([block.x for block in blocks.read(x)]).T
    x = np.where(np.abs(x) < np.finfo(np.float32).tiny, np.float32(0), x)  # XLA takes them for 0, too
    absent = np.isnan(x)
    has = absent.any(axis=1)
    feature = np.repeat(np.arange(len(x), dtype=np.int32), 1 + has)
    last = np.cumsum(1 + has, dtype=np.int32) - 1
    stand = np.full(len(feature), np.inf, np.float32)
    stand[last[has]] = -np.inf
    x = np.where(absent[feature], stand[:, None], x[feature])
    order = np.argsort(x, axis=1, kind="stable").astype(np.int32)
    return Columns(*map(jnp.asarray, (x, order, feature, np.stack([last - has, last]))))


def targets(y, criterion):
    """Targets of y: classes 0 .. K - 1 [N], or one-hot [N, K], for criteria of classes; else numbers [N] or [N, K].

    Raises UserError for an unknown criterion, and for other y.
    """
    if criterion not in CRITERIA:
        raise UserError(f"the criterion is '{criterion}'; {nearest(criterion, CRITERIA)}")
    y = np.asarray(y)
    if y.ndim not in (1, 2) or not y.size or y.dtype.kind not in "biuf" or not np.isfinite(y).all():
        raise UserError("y must be finite numbers, [rows] or [rows, outputs]: encode labels, drop what is missing.")
    if CRITERIA[criterion].classes:
        return _classes(y, criterion)
    with np.errstate(over="ignore"):
        y = y.reshape(len(y), -1).astype(np.float32)
    if not np.isfinite(y).all():
        raise UserError(f"y of row {np.argwhere(~np.isfinite(y))[0][0]} is infinite in float32; rescale y.")
    if CRITERIA[criterion].medians and y.shape[1] > 1:
        raise UserError(f"y has {y.shape[1]} outputs; '{criterion}' takes one.")
    if CRITERIA[criterion].positive and ((y < 0).any() or not y.any(axis=0).all()):
        raise UserError(f"y must be 0 or more, and above 0 in some row, for '{criterion}'.")
    label = np.unique(y[:, 0] if y.shape[1] == 1 else y, axis=0, return_inverse=True)[1]
    return Targets(jnp.asarray(y), jnp.asarray(label.reshape(-1), jnp.int32))


def _classes(y, criterion):
    rows, classes = len(y), y.shape[1] if y.ndim == 2 else int(max(y.max(), 0)) + 1
    if y.ndim == 2:
        fits = np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()
    else:  # more classes than rows, none of which most have
        fits = (y >= 0).all() and (y == np.floor(y)).all() and classes <= 2**10 + rows and rows * classes < 2**31
    if not fits:
        raise UserError(f"y must be classes 0, 1, 2 ..., or have one 1 in a row, for '{criterion}'; encode them.")
    label = (y.argmax(axis=1) if y.ndim == 2 else y).astype(np.int32)
    return Targets(jnp.asarray(label[:, None] == np.arange(classes), jnp.float32), jnp.asarray(label))


def check(options, ready):
    """Raises UserError unless the options fit Columns."""
    for name, least in (LEAST | {"min_weight_fraction_leaf": 0, "min_impurity_decrease": 0}).items():
        value = getattr(options, name)
        if value is None and name.startswith("max"):
            continue
        if value is None or not (value >= least and (name not in LEAST or value == int(value))):
            raise UserError(f"{name} is {value}; it must be a {'whole ' * (name in LEAST)}number, {least} or more.")
    features = ready.ends.shape[1]
    if (options.max_features or 1) > features:
        raise UserError(f"max_features is {options.max_features}; the table has {features} features.")
    if options.splitter not in SPLITTERS:
        raise UserError(f"the splitter is '{options.splitter}'; {nearest(options.splitter, SPLITTERS)}")
    if options.splitter == "random" and len(ready.x) > features:
        raise UserError("the splitter 'random' takes no missing values; fill them, or choose 'best'.")


def whole(weight, rows, draws=None):
    """What the sum of weights [N] is not above if they are whole numbers, else None; one of few, for few compilations.

    draws: the sum is that of so many rows drawn with replacement. Raises UserError for what cannot be weights.
    """
    weight = blocks.weights(weight, rows)
    if not weight.any():
        raise UserError("all weights are 0; give at least one row a positive weight.")
    total = int(weight.sum() if draws is None else weight.max() * draws)
    return 2 ** total.bit_length() - 1 if (weight == np.floor(weight)).all() and total < 2**BITS else None


def room(options, trees, rows):
    """How many nodes so many trees on so many rows have at most."""
    each = 2 * (rows // max(options.min_samples_leaf, 1)) + 1
    return trees * min(each, 2 ** (min(options.max_depth or 30, 30) + 1) - 1)


@functools.lru_cache(maxsize=64)
def compiled(options, total, capacity=None):
    """`grow` under jit, kept for the next call; to be called under `jax.enable_x64`."""
    run = functools.partial(grow, options=options, total=total, capacity=capacity)
    return jax.jit(run, compiler_options=ONE_THREAD)


def grow(ready, aims, weight=None, key=None, *, options, total=None, capacity=None):
    """Trees that grow on Columns and Targets, one for each row of weight [T, N] or, where that is None, one.

    key [T]: of what each draws; a tree is the same whatever grows beside it. total: if all weights are whole numbers,
    what no tree's sum is above: classes are then counted, which is faster. capacity: how many nodes all trees may have;
    what would be more stays a leaf. Pure; traced and called under `jax.enable_x64`. Raises UserError for more cells
    than an int32 counts.
    """
    rows, trees = ready.x.shape[1], 1 if weight is None else len(weight)
    if 2 * len(ready.x) * (trees + 1) * (rows + 2**12) >= 2**31:
        raise UserError(f"{trees} trees on {rows} rows and {len(ready.x)} columns are too many at once; take fewer.")
    capacity = capacity or room(options, trees, rows)
    if options.max_features == ready.ends.shape[1]:
        options = options._replace(max_features=None)
    nodes, value, cover, impurity, size, depth = presorted.grow(ready, aims, weight, key, options, total, capacity)
    feature = jnp.where(nodes.left > 0, ready.feature[nodes.column], 0)
    floats = (x.astype(jnp.float32) for x in (value, nodes.gain, cover, impurity))
    return Trees(nodes.tree, feature, nodes.border, nodes.missing_right, nodes.left, *floats, size, depth)


def to_forest(trees, count, features, names=None):
    """The Forest of `count` trees on that many features: a row's prediction is their mean."""
    trees = jax.tree.map(np.asarray, trees)
    used = np.argsort(trees.tree[: trees.size], kind="stable")
    tree = trees.tree[used]
    place = np.arange(len(used)) - np.searchsorted(tree, tree)
    places = np.empty_like(used)
    places[used] = place
    shape = count, 1, place.max() + 1

    def of_nodes(x):
        found = np.zeros((*shape, *x.shape[1:]), x.dtype)
        found[tree, 0, place] = x[used]
        return jnp.asarray(found)

    left = trees.left[: trees.size]
    inner, outputs = left > 0, trees.value.shape[1]
    left = np.where(inner, places[left], 0).astype(np.int32)
    value = np.where(inner[:, None], 0, trees.value[: trees.size]) / np.float32(count)
    arrays = (trees.feature, trees.border, trees.missing_right, left, value, trees.gain, trees.cover)
    return Forest(
        *map(of_nodes, arrays),
        start=jnp.zeros(outputs, jnp.float32),
        side="left",
        depth=int(trees.depth),
        columns=features,
        objective="squared" if outputs == 1 else f"multi_squared:outputs={outputs}",
        names=names,
    )


def gain_ratio(forest):
    """[T, J, M] float64: what a split gains over the entropy of its two shares of the rows (Quinlan 1993); 0 at a leaf.

    It is Quinlan's for trees of criterion "entropy", whose gain is information in bits.
    """
    left, gain, cover = (np.asarray(x, np.float64) for x in (forest.left, forest.gain, forest.cover))
    inner = left > 0
    share = np.take_along_axis(cover, left.astype(int), axis=2) / np.where(inner, cover, 1)
    share = np.where(inner, share, 0.5)
    bits = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    return np.where(inner, gain / np.where(inner, cover, 1) / bits, 0)
