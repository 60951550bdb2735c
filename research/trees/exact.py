"""Growing one binary tree level by level on sorted columns, as XGBoost's exact greedy. Entry points: columns, grow.

Columns are sorted once (Chen & Guestrin 2016, section 4.1). A level parts their rows among its nodes, in order, and
goes through them once: of all splits between two values that a node's rows have, what is missing on either side, the
node takes the best (algorithms 1 and 3), its border midway. At the end splits that gain too little are taken back.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.trees import blocks, histogram, levelwise
from research.trees.levelwise import Tree
from research.trees.oblivious import drawn

LEAST_GAIN = 1e-6  # of a split that may be taken back later, XGBoost's


class Columns(NamedTuple):
    """A table made ready for any number of trees."""

    x: jax.Array  # [F, N] f32, NaN where a value is missing
    order: jax.Array  # [F, N] int32, rows in ascending order, missing values last


class Nodes(NamedTuple):
    """A level's L nodes, and a last one of rows that were not drawn. In each column a node has the same positions."""

    first: jax.Array  # [L + 1] int32, position
    size: jax.Array  # [L + 1] int32
    open: jax.Array  # [L + 1] bool: it may split


def columns(x):
    """(Columns of a table x, of any form that `blocks.read` takes; int32 [F], how many splits each column has)."""
    x = np.concatenate([block.x for block in blocks.read(x)]).T
    x = np.where(np.abs(x) < np.finfo(np.float32).tiny, np.float32(0), x)  # XLA takes them for 0, too
    order = np.argsort(x, axis=1, kind="stable").astype(np.int32)
    ranked, absent = np.take_along_axis(x, order, 1), np.isnan(x)
    splits = (ranked[:, 1:] > ranked[:, :-1]).sum(axis=1) + (absent.any(axis=1) & ~absent.all(axis=1))
    return Columns(jnp.asarray(x), jnp.asarray(order)), splits.astype(np.int32)


def grow(columns, counts, g, w, options, key, *, sample=None, pick=None):
    """(Tree whose thresholds are borders f32, node [N]) as levelwise.grow's; right is where x >= border.

    pick: which splits a node may choose from, see approx.picked; None: all. Of equal ones the lowest feature wins, and
    then, as XGBoost's, missing values on the right with the lowest border, or else on the left with the highest.
    """
    num_rows = len(g)
    packed, counted = levelwise.pack(g, w, options, sample, num_rows=num_rows, axis=None)
    tree_key, *level_keys = jax.random.split(key, 1 + options.depth)
    features = drawn(tree_key, counts > 0, options.tree_features)
    order, used = columns.order, jnp.int32(num_rows)
    if sample is not None:
        used = sample.sum(dtype=jnp.int32)
        order = lax.map(lambda rows: parted(rows, ~sample[rows], 0, used), order)
    nodes = Nodes(jnp.stack([0, used]), jnp.stack([used, num_rows - used]), jnp.array([True, False]))
    place, levels = jnp.zeros(num_rows, jnp.int32), []
    for depth, level_key in enumerate(level_keys):
        node = jnp.zeros(num_rows, jnp.int32).at[nodes.first[1:]].add(1, mode="drop").cumsum()  # of each position

        def score(column, nodes=nodes, node=node):
            return best(*column, packed, counted, options, nodes, node, pick)

        gain, split = lax.map(score, (columns.x, order))
        mask = levelwise.drawn_of_nodes(level_key, features, options, 2**depth)
        tree = chosen(columns.x, order, jnp.where(mask, gain[:, :-1], -jnp.inf), split[:, :-1], options)
        here, asked = jnp.maximum(place - (2**depth - 1), 0), place >= 2**depth - 1
        value = columns.x.at[tree.feature[here], jnp.arange(num_rows)].get(mode="clip")
        right = jnp.where(jnp.isnan(value), tree.missing_right[here], value >= tree.threshold[here])
        splits = jnp.append(tree.feature >= 0, False)
        place = jnp.where(asked & splits[here], 2 * place + 1 + right, place)
        order, nodes = divided(order, nodes, node, splits, right)
        levels.append(tree)
    return pruned(jax.tree.map(lambda *x: jnp.concatenate(x), *levels), place, options)


def best(x, rows, packed, counted, options, nodes, node, pick):
    """(greatest gain, its split) [L + 1] of each node in a column x [N] with `rows` in order.

    A split is the position p of its upper row of 2 N, or with missing values on the left 2 N - 1 - p.
    """
    position, num_nodes, words = jnp.arange(len(x), dtype=jnp.int32), len(nodes.first), packed.words[rows]
    value, first = x[rows], nodes.first[node]
    absent, lower = jnp.isnan(value), jnp.roll(value, 1)
    before = jnp.cumsum(words, axis=0) - words
    left = before - before[first]
    whole = jnp.zeros((num_nodes, words.shape[1]), words.dtype).at[node].add(words)
    missing = jnp.zeros_like(whole).at[node].add(jnp.where(absent[:, None], words, 0))
    inside = nodes.open[node] & (position > first)
    may = inside & (lower < value)
    if pick is not None:
        known = (s[:, : words.shape[1] - counted] for s in (left, whole - missing))
        weight, present = (histogram.unpack(packed, s)[1].mean(axis=1) for s in known)
        may = pick(may, weight, present[node], first, node, num_nodes)

    def gain(left, may):
        return jnp.where(may, levelwise.gains(packed, left, whole[node], options, counted), -jnp.inf)

    gains, numbers = gain(left + missing[node], may), 2 * len(x) - 1 - position
    if options.learn_missing:  # as XGBoost's, the right side is not looked at in a column that misses nothing
        to_right = may | inside & absent & ~jnp.isnan(lower)
        gains = jnp.stack([gain(left, to_right & jnp.isnan(x).any()), gains])
        numbers = jnp.stack([position, numbers])
    top = jnp.full(num_nodes, -jnp.inf).at[node].max(gains.reshape(-1, len(x)).max(axis=0))
    numbers = jnp.where(gains == top[node], numbers, 2 * len(x)).reshape(-1, len(x)).min(axis=0)
    return top, jnp.full(num_nodes, 2 * len(x), jnp.int32).at[node].min(numbers)


def chosen(x, order, gain, split, options):
    """The Tree of one level, of the gains and splits [F, L] of its nodes in each column."""
    feature = jnp.argmax(gain, axis=0).astype(jnp.int32)
    gain, split = (jnp.take_along_axis(a, feature[None], 0)[0] for a in (gain, split))
    splits, right = gain > jnp.minimum(options.least_gain, LEAST_GAIN), split < x.shape[1]
    at = jnp.where(right, split, 2 * x.shape[1] - 1 - split)
    low, high = (x.at[feature, order.at[feature, p].get(mode="clip")].get(mode="clip") for p in (at - 1, at))
    middle = low / 2 + high / 2
    border = jnp.where(middle > low, middle, high)
    border = jnp.where(jnp.isnan(high), low + (jnp.abs(low) + 1e-6), border)
    tree = Tree(feature, border.astype(jnp.float32), right, gain.astype(jnp.float32))
    return jax.tree.map(lambda x, none: jnp.where(splits, x, none), tree, Tree(-1, 0, False, 0))


def divided(order, nodes, node, splits, right):
    """(order, Nodes) of the next level; `right` [N] of rows, `splits` [L + 1] of nodes. One that rests goes left."""
    goes = splits[node] & right[order[0]]
    to_right = jnp.zeros_like(nodes.size).at[node].add(goes)
    middle = nodes.first + nodes.size - to_right
    order = lax.map(lambda rows: parted(rows, splits[node] & right[rows], nodes.first[node], middle[node]), order)

    def children(left, right, last):
        return jnp.append(jnp.stack([left, right], 1)[:-1].reshape(-1), last[-1])

    first = children(nodes.first, middle, nodes.first)
    size = children(nodes.size - to_right, to_right, nodes.size)
    return order, Nodes(first, size, children(splits, splits, splits))


def parted(rows, goes, first, middle):
    """rows [N], within each node those that go right, in order, from `middle` on behind the others, from `first` on."""
    before = jnp.cumsum(goes, dtype=jnp.int32) - goes
    rank = before - before[first]
    position = jnp.arange(len(rows), dtype=jnp.int32)
    return jnp.zeros_like(rows).at[jnp.where(goes, middle + rank, position - rank)].set(rows)


def pruned(tree, place, options):
    """(Tree, place) without the splits that gain less than the least gain and have no such below: XGBoost's pruning."""
    keep = (tree.feature >= 0) & (tree.gain >= options.least_gain)
    for d in reversed(range(1, options.depth)):
        children = keep[2**d - 1 : 2 ** (d + 1) - 1].reshape(-1, 2).any(axis=1)
        keep = keep.at[2 ** (d - 1) - 1 : 2**d - 1].max(children)
    for _ in range(options.depth):
        parent = jnp.maximum(place - 1, 0) // 2
        place = jnp.where((place > 0) & ~keep[parent], parent, place)
    return jax.tree.map(lambda x, none: jnp.where(keep, x, none), tree, Tree(-1, 0, False, 0)), place
