"""The best splits of nodes on binned columns, a level's at once; see binned.py.

A node with more than FEW rows has its sums over the rows of each code, a table, and running sums of it; in one with
fewer each row's code is compared with those of the others, which takes less time than a table that is mostly empty.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from research.trees.impurity import CRITERIA
from research.trees.nodes import NONE, cut, mixed, places, running, take, tiles

FEW = 32  # rows that are compared in pairs
CELLS = 2**14  # of a table of nodes and codes, so that it stays in the caches
WIDE = 2**9  # nodes of it, at most
CHUNK = 2**10  # rows that are added to it in one step


class Task(NamedTuple):
    """What stays as it is: T trees on N rows, P positions of rows and M places of nodes, the last for nothing."""

    columns: Any  # binned.Columns
    label: jax.Array
    split: Callable  # of impurity.pack
    unit: jax.Array | None  # of moments
    weight: jax.Array  # [T] f64, of all rows of a tree
    options: Any  # cart.Options
    words: int  # how many words are summed; those of rows after these are moments
    positions: int
    places: int
    capacity: int

    @property
    def classes(self):
        return CRITERIA[self.options.criterion].classes

    @property
    def purity(self):
        return CRITERIA[self.options.criterion].purity

    @property
    def bins(self):
        return self.columns.ends.shape[2]

    @property
    def bits(self):
        """What a code takes."""
        return (self.bins - 1).bit_length()

    @property
    def few(self):
        return FEW if self.bins > FEW else 0


class Nodes(NamedTuple):
    """Of nodes [M]: sums over rows; the split, 0 where there is none; then what a level needs to part rows."""

    tree: jax.Array
    seed: jax.Array  # u32, of what is drawn
    sums: tuple  # of words, int64
    moment: jax.Array
    rows: jax.Array  # their number
    least: jax.Array  # label, and greatest; not of classes
    most: jax.Array
    left: jax.Array
    number: jax.Array  # feature, whether missing values go left, and the last code that goes left, in bits
    high: jax.Array  # the first code that goes right
    seen: jax.Array  # whether rows miss this feature
    gain: jax.Array
    start: jax.Array  # the first position of a node that may be split
    side: jax.Array  # f32: 1 where such a one is a left child, SIDE where a right one, 0 for others
    shift: jax.Array  # from the place among all rows that go to that side, counted from 1, to the position
    slot: jax.Array  # in the queue


class State(NamedTuple):
    """Where growing stands; positions are used up to `count`."""

    nodes: Nodes
    at: tuple  # [P] each: the row at a position, its node, its words
    next: tuple  # where these are made anew
    queue: jax.Array  # [2, M] nodes of the level that may be split, large ones and small ones
    queued: tuple  # how many
    count: jax.Array
    first: jax.Array  # of the level's nodes
    last: jax.Array  # the one after
    depth: jax.Array


class Found(NamedTuple):
    """The best split of nodes [n]; see Nodes. left: sums of words over its rows that go left."""

    purity: jax.Array
    number: jax.Array
    high: jax.Array
    seen: jax.Array
    left: tuple


def asks(task, nodes, node, row):
    """Whether rows answer the questions of their nodes with 1."""
    number, bits, (_, features) = take(nodes.number, node), task.bits, task.columns.codes.shape
    code = take(task.columns.codes.reshape(-1), row * features + (number >> bits + 1)).astype(jnp.int32)
    right = code >= take(nodes.high, node)
    if task.columns.missing is not None:
        right &= (code < task.bins - 1) | (number >> bits & 1 == 0)
    return right


def divide(task, state):
    """(Nodes with the splits of all that are queued, and their children; the place after these)."""
    carry, wide = (state.nodes, state.last), 1 << min(max(CELLS // task.bins, 64), WIDE).bit_length() - 1
    for kind, size, measure in ((0, wide, by_table), (1, CELLS // FEW // 4, by_pairs))[: 1 + (task.few > 0)]:
        count = state.queued[kind]

        def tile(at, carry, kind=kind, size=size, measure=measure, count=count):
            used = places(at, size) < count
            ids = jnp.where(used, cut(state.queue[kind], at, size), task.places - 1)
            found = search(task, carry[0], ids, used, measure(task, state, ids, at, count))
            return children(task, *carry, ids, found)

        carry = tiles(0, count, size, tile, carry)
    return carry


def by_table(task, state, ids, at, count):
    """A function of a feature for each of large nodes `ids`, queued from `at`: the tuple that `search` says."""
    size, (row, node, *words) = len(ids), state.at
    last = take(state.queue[0], jnp.minimum(at + size, count) - 1)
    begin, end = take(state.nodes.start, ids[0]), take(state.nodes.start, last) + take(state.nodes.rows, last)
    words, features = words[: task.words], task.columns.codes.shape[1]

    def measure(feature):
        def add(position, tables):
            i = jnp.clip(take(state.nodes.slot, cut(node, position, CHUNK)) - at, 0, size - 1)
            place = cut(row, position, CHUNK) * features + take(feature, i)
            key = take(task.columns.codes.reshape(-1), place).astype(jnp.int32) * size + i
            here = places(position, CHUNK) < end
            new = [jnp.where(here, cut(word, position, CHUNK), 0) for word in words]
            new += [here.astype(jnp.int64)] * (len(tables) - len(new))
            return [t.at[key].add(n, mode="promise_in_bounds") for t, n in zip(tables, new)]

        empty = [jnp.zeros(task.bins * size, jnp.int64)] * (len(words) + counted(task))
        tables = [t.reshape(task.bins, size) for t in tiles(begin, end, CHUNK, add, empty)]
        left = lax.scan(lambda last, x: ([a + b for a, b in zip(last, x)],) * 2, [t[0] * 0 for t in tables], tables)[1]
        return jnp.arange(task.bins, dtype=jnp.int32)[:, None], left, [t[-1] for t in tables]

    return measure


def by_pairs(task, state, ids, at, count):
    """The same for small nodes."""
    row, _, *words = state.at
    rows, s = take(state.nodes.rows, ids), jnp.arange(FEW, dtype=jnp.int32)[:, None]
    position = jnp.where(s < rows, take(state.nodes.start, ids) + s, 0)
    row, here = take(row, position), s < rows
    words = [jnp.where(here, take(word, position), 0) for word in words[: task.words]]
    words += [here.astype(jnp.int64)] * counted(task)

    def measure(feature):
        code = take(task.columns.codes.reshape(-1), row * task.columns.codes.shape[1] + feature).astype(jnp.int32)
        code = jnp.where(here, code, task.bins - 1)  # to add nothing
        left = [sum(jnp.where(code[i] <= code, w[i], 0) for i in range(FEW)) for w in words]
        return code, left, [jnp.where(code == task.bins - 1, w, 0).sum(axis=0) for w in words]

    return measure


def counted(task):
    """Whether the rows of children are to be counted, as a last word."""
    return task.options.min_samples_leaf > 1


def search(task, nodes, ids, used, measure):
    """Found of nodes `ids` [n]. Of equal splits the lowest feature wins, then missing values right, the lowest code.

    measure(feature [n]) -> (code [c, 1 or n], words [c, n] that sum over rows up to this code, words [n] that sum over
    rows of the last code). A node asks the first max_features features in an order by chance, and if its rows do not
    differ in any of these, the first in which they do.
    """
    options, size, features, least = task.options, len(ids), task.columns.codes.shape[1], task.options.min_samples_leaf
    own, missing = [take(s, ids) for s in nodes.sums], task.columns.missing is not None
    own += [take(nodes.rows, ids).astype(jnp.int64)] * counted(task)
    share = options.min_weight_fraction_leaf * take(task.weight, take(nodes.tree, ids))
    names = jnp.arange(features, dtype=jnp.uint32)[:, None]
    mask = jnp.uint32((1 << (features - 1).bit_length()) - 1)
    order = mixed(take(nodes.seed, ids) ^ mixed(names + 1)) & ~mask | names

    def split(words):
        return task.split([word.astype(jnp.float64) for word in words[: task.words]])

    def ask(carry):
        j, order, same, best = carry
        feature, may = jnp.full(size, j), used
        if options.max_features is not None:
            top = order.max(axis=0)
            feature, order = (top & mask).astype(jnp.int32), jnp.where(order == top, 0, order)
            may &= (j < options.max_features) | same
        code, left, absent = measure(feature)
        each, code = len(left[0]), jnp.broadcast_to(code, left[0].shape)
        if missing:
            left = [jnp.concatenate([w, w + a]) for w, a in zip(left, absent)]
            code = jnp.concatenate([code, code | 1 << task.bits])
        left = lax.optimization_barrier(left)
        right = [o - w for o, w in zip(own, left)]
        (left_weight, left_sums), (right_weight, right_sums) = split(left), split(right)
        lighter = jnp.minimum(left_weight, right_weight)
        if CRITERIA[options.criterion].positive:
            lighter = jnp.where(sum((s <= 0).astype(jnp.int32) for s in left_sums + right_sums) > 0, 0, lighter)
        valid = (lighter > 0) & (lighter >= share)
        if missing:
            valid &= (code & (1 << task.bits) - 1) != task.bins - 1
        if counted(task):
            valid &= (left[-1] >= least) & (right[-1] >= least)
        purity = task.purity(left_weight, left_sums) + task.purity(right_weight, right_sums)
        purity = jnp.where(valid, purity, -jnp.inf)
        top = purity.max(axis=0)
        place = jnp.arange(len(code), dtype=jnp.int32)[:, None]
        low = jnp.where(purity == top, code * len(code) + place if len(code) <= 2 * FEW else place, NONE).min(axis=0)
        spot = low % len(code), jnp.arange(size, dtype=jnp.int32)
        at_spot = left_weight[spot[0] % each, spot[1]]
        high = jnp.where(left_weight[:each] > at_spot, code[:each], NONE).min(axis=0)
        new = Found(
            top,
            feature << task.bits + 1 | code[spot],
            high,
            split(absent)[0] > 0 if missing else jnp.zeros(size, bool),
            tuple(w[spot] for w in left[: task.words]),
        )
        better = may & ((top > best.purity) | (top == best.purity) & (top > -jnp.inf) & (new.number < best.number))
        best = jax.tree.map(lambda n, b: jnp.where(better, n, b), new, best)
        same &= ~((left_weight > 0) & (right_weight > 0))[:each].any(axis=0)
        return j + 1, order, same, best

    def going(carry):
        j, _, same, _ = carry
        asked = features if options.max_features is None else options.max_features
        return (j < asked) | (j < features) & same.any()

    none = jnp.full(size, NONE, jnp.int32)
    best = Found(jnp.full(size, -jnp.inf), none, none, none < 0, tuple(none.astype(jnp.int64) for _ in nodes.sums))
    return lax.while_loop(going, ask, (jnp.int32(0), order, used, best))[-1]


def children(task, nodes, last, ids, found):
    """(Nodes, the place after the last one) when those of `ids` whose splits gain enough have children."""
    own, tree, seed = [take(s, ids) for s in nodes.sums], take(nodes.tree, ids), take(nodes.seed, ids)
    gain = found.purity - task.purity(*task.split([s.astype(jnp.float64) for s in own]))
    least = (task.options.min_impurity_decrease - jnp.finfo(jnp.float64).eps) * take(task.weight, tree)
    splits = (found.purity > -jnp.inf) & (gain >= least)
    child = last + 2 * running(splits.astype(jnp.float64)).astype(jnp.int32) - 2
    splits &= child + 1 < task.capacity
    at, both = jnp.where(splits, ids, task.places), jnp.where(splits, jnp.stack([child, child + 1]), task.places)
    new = {"left": child, "number": found.number, "high": found.high, "seen": found.seen, "gain": gain}
    new = {k: getattr(nodes, k).at[at].set(v, mode="drop") for k, v in new.items()}
    new["tree"] = nodes.tree.at[both].set(tree, mode="drop")
    new["seed"] = nodes.seed.at[both].set(mixed(seed + jnp.array([[1], [2]], jnp.uint32)), mode="drop")
    sums = zip(nodes.sums, found.left, own)
    new["sums"] = tuple(s.at[both].set(jnp.stack([l, o - l]), mode="drop") for s, l, o in sums)
    return nodes._replace(**new), last + 2 * splits.sum(dtype=jnp.int32)
