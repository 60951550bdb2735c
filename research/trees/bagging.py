"""Many independent trees of CART whose mean predicts: bagging (Breiman 1996), random forests (Breiman 2001) and their
kin, with what each row's left-out trees say of it. Entry point: `fit`; `draw`, `rest` and `by_tree` are its pure parts.

Tree t draws from fold_in(key, t) whatever grows beside it: a forest is the same in any division into chunks, threads or
devices. A tree sees a row as often as it was drawn, as a weight.
"""

import concurrent.futures
import functools
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.errors import UserError
from research.trees import binned, blocks, cart
from research.trees.impurity import CRITERIA

CELLS, TREES = 2**25, 32  # of a table's entries times trees, and trees, that grow at once: at most
ROOM = 2**16  # nodes that those have memory for, at least; more than is used takes time


class Options(NamedTuple):
    """All static. tree: cart.Options of each tree; per_tree: the features it draws are a tree's (Ho 1998), not a node's
    (Breiman 2001); size: how many rows a tree draws, None: as many as there are; balanced: in each draw all classes
    weigh the same; hard: a tree's leaf votes for one class, where otherwise it tells the share of each.
    """

    tree: cart.Options
    bootstrap: bool = True
    size: int | None = None
    per_tree: bool = False
    balanced: bool = False
    hard: bool = False


class Left(NamedTuple):
    """What trees that a row was left out of say of it: mean [N, K] float64, nan without one; count [N] of such trees;
    curve [T]: the share of wrong rows, or the mean squared error, after each tree, over the rows that have one by then.
    """

    mean: np.ndarray
    count: np.ndarray
    curve: np.ndarray


def resolve(max_features, features):
    """How many of `features` a node or a tree draws: "log2", "sqrt", "all" or None, a share below 1, a whole number.

    It is 1 or more. Numbers may be text. Raises UserError for what is none of these.
    """
    if max_features in ("log2", "sqrt"):
        return max(int(getattr(np, max_features)(features)), 1)
    if max_features in ("all", None):
        return features
    try:
        number = float(max_features)
    except ValueError:
        number = np.nan
    if 0 < number < 1:
        return max(int(number * features), 1)
    if 1 <= number <= features and number == int(number):
        return int(number)
    raise UserError(
        f"max_features is {max_features}; it must be 'log2', 'sqrt', 'all', a share below 1, or one of 1 to {features}."
    )


def fit(x, ready, aims, options, num_trees, key, *, weight=None, counts=None, left=False, threads=None, devices=None):
    """(cart.Trees, Left or None) of num_trees trees on a table, for cart.to_forest; Left where it is asked for.

    x [N, F] f32; ready: cart.columns(x) or binned.columns(x); aims: cart.targets; weight [N], a row of weight 0 is not
    there; counts [T, N]: how often each tree sees a row, in the place of drawing. threads: how many grow trees, a core
    or an accelerator each by default; devices: those that share the trees. That is the CPU by default, where there is
    one: a forest of 200 trees on Adult took 2.6 s on two cores and 16 s on an H200, whose steps are too small for it.
    Raises UserError for bad options and weights.
    """
    rows, weight = len(aims.y), blocks.weights(np.ones(len(aims.y)) if weight is None else weight, len(aims.y))
    here = np.flatnonzero(weight)
    total = total_of(options, ready, weight, counts)
    devices = devices or _processor()
    workers = threads or (os.cpu_count() if devices[0].platform == "cpu" else len(devices))
    size = min(TREES, max(CELLS // sum(leaf.size for leaf in jax.tree.leaves(ready)), 1), -(-num_trees // workers))
    size = 1 if options.per_tree else -(-num_trees // -(-num_trees // size))  # all chunks are of one size
    copies = [jax.device_put((ready, aims, jnp.asarray(weight, jnp.float32), jnp.asarray(x)), to) for to in devices]
    most, classes = cart.room(options.tree, size, rows), CRITERIA[options.tree.criterion].classes
    room = [min(most, max(size * rows // 2, ROOM)) if classes else most]  # seldom too little; then they grow anew

    def chunk(i, device=0, several=0):
        numbers = np.arange(i * size, (i + 1) * size)
        given = None if counts is None else np.asarray(counts, np.float32)[numbers % num_trees]
        with jax.enable_x64(True), jax.default_device(devices[device]):
            args = *copies[device], key, numbers, several, here, given
            trees, votes = _compiled(options, total, rows, left, room[0])(*args)
            if trees.size + 1 >= len(trees.tree) < most:
                room[0] = most
                trees, votes = _compiled(options, total, rows, left, most)(*args)
        value, (out, leaf) = np.asarray(trees.value), map(np.asarray, votes or ([], []))
        said = [(rest := np.flatnonzero(out[t]), value[leaf[t][rest]]) for t in range(several if left else 0)]
        return _used(trees, several, i * size), said

    def nth(i):
        return chunk(i, i % len(devices), min(size, num_trees - i * size))

    count = -(-num_trees // size)
    for device in range(min(len(devices), count)):
        chunk(0, device)  # trees without rows, so that threads find it compiled
    found, (add, result) = [], _tally(aims, CRITERIA[options.tree.criterion].classes, weight)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for trees, votes in pool.map(nth, range(count)):
            found.append(trees)
            for vote in votes:
                add(*vote)
    return _joined(found), result() if left else None


def _processor():
    try:
        return jax.devices("cpu")[:1]
    except RuntimeError:  # where JAX was told of accelerators alone
        return jax.devices()


def total_of(options, ready, weight, counts=None):
    """The `total` of cart.grow, or None, for weight [N] and counts as `fit` takes them.

    Raises UserError for bad weights, and for options that do not fit Columns.
    """
    rows, size = len(weight), options.size
    if size is not None and not 1 <= size <= rows:
        raise UserError(f"a tree is to draw {size} rows; the table has {rows}: draw 1 to {rows}.")
    if isinstance(ready, binned.Columns) and options.tree.splitter != "best":
        raise UserError("borders by chance are drawn among all values: leave border_count out, or choose 'best'.")
    cart.check(options.tree, ready)
    quick = CRITERIA[options.tree.criterion].classes or isinstance(ready, binned.Columns)
    if counts is not None:
        total = cart.whole(weight * np.max(counts), rows)
    else:
        total = cart.whole(weight, rows, np.count_nonzero(weight) if options.bootstrap else None)
    return total if quick and not options.balanced else None


def draw(key, numbers, rows, options, here=None):
    """(counts [T, N] f32: how often trees of these numbers draw each row, their keys [T]). Pure.

    here: places of the rows that there are, None: all of them.
    """
    here = jnp.arange(rows) if here is None else here
    size = min(options.size or len(here), len(here))

    def one(number):
        key_rows, key_tree = jax.random.split(jax.random.fold_in(key, number))
        drawn = jax.random.randint(key_rows, (size,), 0, len(here), jnp.int32) if options.bootstrap else slice(None)
        return jnp.zeros(rows, jnp.float32).at[here[drawn]].add(1), key_tree

    return jax.vmap(one)(numbers)


def grow(ready, aims, counts, keys, options, total=None, capacity=None, weight=None):
    """cart.Trees that see rows so often, counts [T, N], times weight [N]; keys [T]; with per_tree T must be 1.

    Pure; under jax.enable_x64. total, capacity: as in cart.grow.
    """
    kind, features = binned if isinstance(ready, binned.Columns) else cart, ready.ends.shape[1]
    seen, how = counts if weight is None else counts * weight, {"total": total, "capacity": capacity}
    if options.balanced:  # so much the rows of a class that were drawn: all that were, by classes, by those of it
        of_class = counts @ aims.y
        kinds = jnp.maximum((of_class > 0).sum(1, keepdims=True), 1)
        share = counts.sum(1, keepdims=True) / jnp.maximum(of_class, 1) / kinds
        seen = seen * share.astype(jnp.float32)[:, aims.label]
    if options.per_tree and (options.tree.max_features or features) < features:
        key, own = jax.random.split(keys[0])
        chosen = jnp.sort(jax.random.permutation(key, features)[: options.tree.max_features])
        part, tree = _some(ready, chosen), options.tree._replace(max_features=None)
        trees = kind.grow(part, aims, seen, own[None], options=tree, **how)
        trees = trees._replace(feature=jnp.where(trees.left > 0, chosen[trees.feature], 0).astype(jnp.int32))
    else:
        trees = kind.grow(ready, aims, seen, keys, options=options.tree, **how)
    if options.hard:
        best = trees.value.argmax(axis=1)[:, None]
        trees = trees._replace(value=(best == jnp.arange(trees.value.shape[1])).astype(jnp.float32))
    return trees


def _some(ready, chosen):
    """Columns of some features alone."""
    if isinstance(ready, binned.Columns):
        missing = None if ready.missing is None else ready.missing[chosen]
        return binned.Columns(ready.codes[:, chosen], ready.ends[:, chosen], missing)
    both, own = len(ready.x) > ready.ends.shape[1], np.arange(len(chosen), dtype=np.int32)
    at = ready.ends[:, chosen].reshape(-1) if both else chosen  # a column comes twice where nothing is missing
    ends = np.stack([own, own + len(own) * both])
    return cart.Columns(ready.x[at], ready.order[at], jnp.asarray(np.tile(own, 1 + both)), jnp.asarray(ends))


def rest(trees, x, count):
    """[T, N] int32: the nodes in a list of `count` trees where the rows of x [N, F] come to rest. Pure."""
    row = jnp.arange(len(x), dtype=jnp.int32)

    def step(node):
        value, left = x[row, trees.feature[node]], trees.left[node]
        right = jnp.where(jnp.isnan(value), trees.missing_right[node], value > trees.border[node])
        return jnp.where(left > 0, left + right, node)

    start = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32)[:, None], (count, len(x)))
    return lax.while_loop(lambda node: (trees.left[node] > 0).any(), step, start)


@functools.lru_cache(maxsize=64)
def _compiled(options, total, rows, left, room):
    """A chunk of trees under jit, kept for the next call: (cart.Trees, (which rows each left out, where they rest))."""

    def run(ready, aims, weight, x, key, numbers, several, here, given):
        counts, keys = draw(key, numbers, rows, options, here)
        counts = counts if given is None else given
        counts = jnp.where((jnp.arange(len(numbers)) < several)[:, None], counts, 0)
        trees = grow(ready, aims, counts, keys, options, total, room, weight)
        return trees, (counts == 0, rest(trees, x, len(numbers))) if left else ()

    return jax.jit(run, compiler_options=cart.ONE_THREAD)


def _used(trees, several, first):
    """The nodes of the first `several` of a chunk's trees, numpy arrays; the chunk begins with tree number `first`."""
    trees = jax.tree.map(np.asarray, trees)
    used = np.flatnonzero(trees.tree[: trees.size] < several)
    place = np.zeros(len(trees.tree), np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    trees = jax.tree.map(lambda x: x[used] if x.ndim else x, trees)
    return trees._replace(tree=trees.tree + first, left=place[trees.left], size=len(used))


def _joined(chunks):
    starts = np.cumsum([0, *(trees.size for trees in chunks)])
    lefts = [np.where(trees.left > 0, trees.left + start, 0) for trees, start in zip(chunks, starts)]
    chunks = [trees._replace(left=left.astype(np.int32)) for trees, left in zip(chunks, lefts)]
    whole = [np.concatenate(x) if np.ndim(x[0]) else max(x) for x in zip(*chunks)]
    return cart.Trees(*whole)._replace(size=int(starts[-1]))


def _tally(aims, classes, weight):
    """(add(rows, what a tree that left them out says of them), result() -> Left)."""
    y, label, here = np.asarray(aims.y), np.asarray(aims.label), weight > 0
    total, count, wrong, curve = np.zeros(y.shape), np.zeros(len(y), int), np.zeros(len(y)), []

    def add(rows, said):
        total[rows] += said
        count[rows] += 1
        if classes:
            wrong[rows] = total[rows].argmax(axis=1) != label[rows]
        else:
            wrong[rows] = ((total[rows] / count[rows, None] - y[rows]) ** 2).mean(axis=1)
        known = (count > 0) & here
        curve.append(wrong[known].mean() if known.any() else np.nan)

    def result():
        some = count[:, None] > 0
        return Left(np.where(some, total / np.where(some, count[:, None], 1), np.nan), count, np.array(curve))

    return add, result
