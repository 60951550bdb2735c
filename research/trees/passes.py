"""Passes over a table's blocks: what a level and the leaves of a tree sum of rows, and what they make of the sums.

`level`, `power`, `leaf_sums` and `tops` take the rows of one block, (valid [n], y, w, score, drawn), and give whole
numbers or greatest sizes, which blocks and processes add up; `questions` and `values` are then those of
`boosting.grow`. All of it is traced and called under `jax.enable_x64`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from research.trees import boosting, histogram, leaves, levelwise, oblivious, rounds


class Task(NamedTuple):
    """What stays as it is, and is known when a pass is compiled. num_rows counts those of all processes."""

    objective: object
    options: boosting.Options
    num_bins: int
    num_rows: int

    @property
    def by_level(self):
        """Whether each node asks a question of its own."""
        return isinstance(self.options.tree, levelwise.Options)


class Tops(NamedTuple):
    """The greatest sizes over all rows, which set the unit of sums: of what splits see, of leaves, and of covers."""

    g: jax.Array
    w: jax.Array | None
    leaf: jax.Array
    cover: jax.Array


@functools.partial(jax.jit, static_argnums=0)
def l2_of(task, w):
    """The l2 of trees on rows of weights w [N] or None, which CatBoost scales by their mean."""
    if task.by_level:
        return jnp.float32(task.options.tree.l2)
    weight = jnp.float64(task.num_rows) if w is None else histogram.total(w[:, None], task.num_rows)[0]
    return (task.options.tree.l2 * weight / task.num_rows).astype(jnp.float32)


@functools.partial(jax.jit, static_argnums=0)
def draw(task, key):
    """Of all rows which a tree's splits see, bool [N], or what they weigh there, f32 [N]; None: all of them, alike."""
    options = task.options
    if not oblivious.off(options.row_share, 1):
        return jax.random.uniform(key, (task.num_rows,), jnp.float32) < options.row_share
    if not oblivious.off(options.temperature, 0):
        return jax.random.exponential(key, (task.num_rows,), jnp.float32) ** options.temperature
    return None


def _seen(task, valid, y, w, score, drawn):
    """(g [n, K], weights or Hessians or None, [g, scale] of leaves, cover [n, 1], which rows count) of rows."""
    options = task.options
    g, h = jax.tree.map(lambda x: jnp.where(valid[:, None], x, 0), task.objective.gradients(score, y, w))
    real = jnp.where(valid, 1 if w is None else w, 0).astype(jnp.float32)[:, None]
    leaf = jnp.concatenate([g, h if options.leaf_method == "newton" else real], 1)
    weights = h if options.hessian_score else None if w is None else real
    cover, inside = (h if options.hessian_score else real).sum(1)[:, None], valid
    if drawn is not None and drawn.dtype == bool:
        inside = valid & drawn
        leaf = jnp.where(inside[:, None], leaf, 0) if task.by_level else leaf
    elif drawn is not None:
        drawn = jnp.where(valid, drawn, 0)[:, None]
        g, weights = g * drawn, drawn if weights is None else weights * drawn
    return g, weights, leaf, cover, inside


@functools.partial(jax.jit, static_argnums=0)
def tops(task, rows):
    """Tops of these rows; infinite where a number is not finite."""
    found = Tops(*(None if x is None else jnp.max(jnp.abs(x), axis=0) for x in _seen(task, *rows)[:4]))
    return jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, jnp.inf), found)


def _packed(task, g, w, inside, tops):
    """(histogram.Packed of rows in the unit of all, whether they are counted): behind them is a row of the greatest
    sizes, which adds nothing."""
    g, w = (None if x is None else jnp.concatenate([x, top[None]]) for x, top in ((g, tops.g), (w, tops.w)))
    inside, counted = jnp.append(inside, False), False
    if task.by_level:
        packed, counted = levelwise.pack(g, w, task.options.tree, inside, num_rows=task.num_rows, axis=None)
    else:
        packed = histogram.pack(g, w, inside, num_rows=task.num_rows, exact=task.options.tree.exact)
    return packed._replace(words=packed.words[:-1]), counted


@functools.partial(jax.jit, static_argnums=(0, 1))
def level(task, depth, codes, rows, node, tops, asked):
    """(sums [F, B, 2^depth, C] of the words of these rows, the nodes [n] that the level above leads them to)."""
    g, w, _, _, inside = _seen(task, *rows)
    packed, _ = _packed(task, g, w, inside, tops)
    node = here = moved(task, depth - 1, asked, codes, node)
    if task.by_level:
        first = 2**depth - 1
        here = jnp.maximum(node - first, 0)
        packed = packed._replace(words=jnp.where((node >= first)[:, None], packed.words, 0))
    return histogram.each(codes, here, packed, task.num_bins, 2**depth), node


def moved(task, depth, asked, codes, node):
    """The nodes [n] that the questions of level `depth`, a Tree, lead rows to; of oblivious trees bits of leaves."""
    if asked is None:
        return node
    first, here = 2**depth - 1, node
    if task.by_level:
        here = jnp.maximum(node - first, 0)
        asked = jax.tree.map(lambda x: x[here], asked)
        code = codes[asked.feature, jnp.arange(len(node))]
    else:
        code = codes[asked.feature]
    right = code > asked.threshold
    if task.options.tree.learn_missing:
        right = jnp.where(code == task.num_bins - 1, asked.missing_right, right)
    if not task.by_level:
        return node | right.astype(jnp.int32) << depth
    return jnp.where((node >= first) & (asked.feature >= 0), 2 * node + 1 + right, node)


@functools.partial(jax.jit, static_argnums=0)
def power(task, rows, tops):
    """Whole numbers [K] of the squares of the gradients of these rows."""
    return _squares(task, _seen(task, *rows)[0], tops)[0].sum(0)


def _squares(task, g, tops):
    whole, unit = histogram.fixed(jnp.concatenate([g, tops.g[None]]) ** 2, task.num_rows, 61)
    return whole[:-1], unit


@functools.partial(jax.jit, static_argnums=0)
def questions(task, sums, power, counts, features, key, number, l2, tops):
    """The questions of a level of tree `number`, of the sums of all rows: levelwise.Tree or oblivious.Tree."""
    nothing = None if tops.w is None else tops.w[None]
    packed, counted = _packed(task, tops.g[None], nothing, jnp.zeros(1, bool), tops)
    if not task.by_level:
        return _one_question(task, packed, sums, power, counts, features, key, number, l2, tops)
    tree, nodes = task.options.tree, sums.shape[2]
    found = histogram.over_features(lambda s: levelwise.best(packed, s, tree, counted), sums)
    mask = levelwise.drawn_of_nodes(key, features, tree, nodes)
    gain, place, feature = levelwise.choose(jnp.where(mask, found[..., 0], -jnp.inf), found[..., 1], 0, None)
    made = levelwise.Tree(feature, *levelwise.question(place, task.num_bins), gain.astype(jnp.float32))
    splits = gain >= tree.least_gain
    return jax.tree.map(lambda x, none: jnp.where(splits, x, none), made, levelwise.Tree(-1, 0, False, 0))


def _one_question(task, packed, sums, power, counts, features, key, number, l2, tops):
    options = task.options
    tree = options.tree if options.hessian_score else options.tree._replace(l2=l2)
    found = histogram.over_features(lambda s: oblivious.scores(packed, s, tree), sums)
    mask_key, noise_key = jax.random.split(key)
    mask = (jnp.arange(task.num_bins) < counts[:, None]) & oblivious.drawn(mask_key, features, tree.level_features)[
        :, None
    ]
    shaken = found
    if power is not None:
        noise = jax.nn.sigmoid(jnp.log(task.num_rows) - number * options.rate)
        mean = (power * _squares(task, tops.g[None], tops)[1]).sum() / task.num_rows
        deviation = (tree.random_strength * noise * jnp.sqrt(mean)).astype(jnp.float32)
        shaken = found + (deviation * jax.random.normal(noise_key, mask.shape, jnp.float32))[..., None]
    shaken = jnp.where(mask[..., None], shaken, -jnp.inf).reshape(-1)
    at = jnp.argmax(shaken)
    gain = jnp.where(jnp.isfinite(shaken[at]), found.reshape(-1)[at] - found[0, -1, 0], 0)
    feature, place = jnp.divmod(at.astype(jnp.int32), task.num_bins * found.shape[-1])
    threshold, side = jnp.divmod(place, found.shape[-1])
    return oblivious.Tree(feature, threshold, side == 0, gain.astype(jnp.float32))


@functools.partial(jax.jit, static_argnums=0)
def leaf_sums(task, codes, rows, node, tops, asked):
    """(sums [M, C] of the whole numbers of leaves and covers, the nodes [n] where rows rest)."""
    *_, leaf, cover, _ = _seen(task, *rows)
    node = moved(task, task.options.tree.depth - 1, asked, codes, node)
    whole, _ = _fixed(task, jnp.concatenate([leaf, cover], 1), tops)
    return jax.ops.segment_sum(whole, node, places(task)), node


def places(task):
    """How many nodes a tree's values are of."""
    depth = task.options.tree.depth
    return levelwise.places(depth) if task.by_level else 2**depth


def _fixed(task, x, tops):
    top = jnp.concatenate([tops.leaf, tops.cover])
    whole, unit = histogram.fixed(jnp.concatenate([x, top[None]]), task.num_rows, 61)
    return whole[:-1], unit


@functools.partial(jax.jit, static_argnums=0)
def values(task, sums, l2, tops):
    """(values [M, K] of leaves, times the rate, cover [M])."""
    k, l1 = len(tops.g), task.options.tree.l1 if task.by_level else 0.0
    sums = (sums * _fixed(task, jnp.zeros((0, sums.shape[1]), jnp.float32), tops)[1]).astype(jnp.float32)
    rate = lax.optimization_barrier(jnp.float32(task.options.rate))
    found = leaves.newton(sums[:, :k], sums[:, k:-1], l2, l1)
    return rounds.rounded(rounds.bounded(found, sums[:, k:-1], task.options) * rate), sums[:, -1]


@functools.partial(jax.jit, static_argnums=0)
def walked(task, codes, trees, values, score):
    """The scores [n, K] of rows after more trees: a Tree of arrays [T, ...], and values [T, M, K], one by one."""

    def add(score, tree):
        asks, values = tree
        node = jnp.zeros(codes.shape[1], jnp.int32)
        for d in range(task.options.tree.depth):
            here = slice(2**d - 1, 2 ** (d + 1) - 1) if task.by_level else d
            node = moved(task, d, oblivious.Tree(*(x[here] for x in asks)), codes, node)
        return score + values[node], None

    return lax.scan(add, score, (trees, values))[0]
