"""Growing one binary tree level by level, each node with a question of its own, as XGBoost's hist, depthwise.

A split gains S(G_l)^2 / (H_l + l2) + S(G_r)^2 / (H_r + l2) - S(G)^2 / (H + l2), summed over outputs: G sums gradients,
H weights or Hessians, S takes l1 off |G| (Chen & Guestrin 2016, equation 7, without its half).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from research.errors import is_known
from research.trees import histogram
from research.trees.oblivious import drawn, off


class Options(NamedTuple):
    """How trees grow, with XGBoost's names. Numbers but depth may be traced."""

    depth: int = 6
    l2: float = 1.0  # lambda
    l1: float = 0.0  # alpha
    least_gain: float = 1e-6  # gamma; XGBoost takes 0 for this
    least_weight: float = 1.0  # min_child_weight, of a child's weights or Hessians; see `gains` for several outputs
    least_rows: int = 1  # of a child
    most_step: float = 0.0  # max_delta_step, of a node's value before the rate; 0: any
    tree_features: float = 1.0  # share of the features that are drawn for a tree
    level_features: float = 1.0  # share of those that are drawn for a level
    node_features: float = 1.0  # share of those that are drawn for a node
    learn_missing: bool = False  # the last code is a missing value; each split learns its side
    exact: bool = True  # sums in integers: the same bits on any number of devices
    cuts: str = "given"  # by the codes; or "exact", "global", "local", of sorted columns (exact.py, approx.py)
    bins: int = 256  # of the last two


class Tree(NamedTuple):
    """feature, threshold [2^D - 1] int32, missing_right bool, gain f32 of the inner places of a heap: of place i the
    answer 0 leads to place 2 i + 1 and 1 to 2 i + 2. feature is -1, and gain 0, where there is no question."""

    feature: jax.Array
    threshold: jax.Array
    missing_right: jax.Array
    gain: jax.Array


def places(depth):
    """How many nodes the heap of a tree has."""
    return 2 ** (depth + 1) - 1


def grow(codes, counts, g, w, options, key, *, num_bins, num_rows, sample=None, shards=None, pairs=None):
    """(Tree, node [N] int32) that gradients g [N, K] grow on codes [F, N]; node is the place where a row rests.

    The arguments are those of `oblivious.grow`. A node splits where its best split gains options.least_gain, and
    anything at all. Of equal ones the lowest feature wins, then missing values on the right with the lowest threshold,
    then on the left with the highest one, as XGBoost's.
    """
    rows = shards.axis if shards and shards.kind == "rows" else None  # the axis that sums over rows go along
    packed, counted = pack(g, w, options, sample, num_rows=num_rows, axis=rows)
    size = len(counts) // (shards.count if shards else 1)  # features that this device scores, from `start` on
    start = lax.axis_index(shards.axis) * size if shards else 0
    tree_key, *level_keys = jax.random.split(key, 1 + options.depth)
    features = drawn(tree_key, counts > 0, options.tree_features)

    def finish(sums):
        return best(packed, sums, options, counted)

    def level(depth, node, key):
        """(Tree of the questions of this level [2^depth], the nodes they lead to)."""
        first, nodes = 2**depth - 1, 2**depth
        here, asked = jnp.maximum(node - first, 0), node >= first
        # Rows that rest above this level add nothing.
        now = packed._replace(words=jnp.where(asked[:, None], packed.words, 0)) if depth else packed
        if rows:  # one collective for the whole level, after which each device scores some of the features
            sums = histogram.each(codes, here, now, num_bins, nodes, pairs=pairs)
            found = histogram.over_features(finish, histogram.shared(sums, rows, len(counts)))
        else:
            found = histogram.each(codes, here, now, num_bins, nodes, finish, pairs)
        mask = lax.dynamic_slice_in_dim(drawn_of_nodes(key, features, options, nodes), start, size)
        gain, number, feature = choose(jnp.where(mask, found[..., 0], -jnp.inf), found[..., 1], start, shards)
        splits = gain >= options.least_gain
        column = feature if rows or not shards else jnp.clip(feature - start, 0, size - 1)
        # One number for all that a row asks: to look up one is faster than four.
        column, number_of_row = jnp.divmod((column * 2 * num_bins + number)[here], 2 * num_bins)
        threshold, side = question(number_of_row, num_bins)
        code = codes.at[column, jnp.arange(len(node), dtype=jnp.int32)].get(mode="promise_in_bounds")
        right = code > threshold
        if options.learn_missing:
            right = jnp.where(code == num_bins - 1, side, right)
        if shards and not rows:  # the device that has the feature tells the others
            own = (feature // size == lax.axis_index(shards.axis))[here]
            right = lax.psum((right & own).astype(jnp.uint8), shards.axis)
        node = jnp.where(asked & splits[here], 2 * node + 1 + right, node)
        tree = Tree(feature, *question(number, num_bins), gain.astype(jnp.float32))
        return jax.tree.map(lambda x, none: jnp.where(splits, x, none), tree, Tree(-1, 0, False, 0)), node

    node, levels = jnp.zeros(g.shape[0], jnp.int32), []
    for depth, level_key in enumerate(level_keys):
        tree, node = level(depth, node, level_key)
        levels.append(tree)
    return jax.tree.map(lambda *x: jnp.concatenate(x), *levels), node


def pack(g, w, options, sample, *, num_rows, axis):
    """(histogram.pack of these, whether the words have ones as a last column, as weights do not count the rows)."""
    packed = histogram.pack(g, w, sample, num_rows=num_rows, axis=axis, exact=options.exact)
    if w is None or any_number(options):
        return packed, False
    ones = jnp.ones(len(g), packed.words.dtype) if sample is None else sample.astype(packed.words.dtype)
    return packed._replace(words=jnp.concatenate([packed.words, ones[:, None]], 1)), True


def any_number(options):
    """Whether it is known that a child may have any number of rows."""
    return is_known(options.least_rows) and options.least_rows <= 1


def best(packed, sums, options, counted):
    """[L, 2] of one feature's running sums [B, L, C]: each node's greatest gain, and the number of that split.

    That is its threshold k, or 2 B - 2 - k with missing values, the last code, on the left.
    """

    left = sums
    if options.learn_missing:
        left = jnp.concatenate([sums, (sums[:-1] + sums[-1:] - sums[-2:-1])[::-1]])
    gain = gains(packed, left, sums[-1:], options, counted)
    top = gain.max(axis=0)  # and where it is: thrice as fast on a CPU as argmax
    at = jnp.where(gain == top, jnp.arange(len(gain), dtype=gain.dtype)[:, None], len(gain) - 1).min(axis=0)
    return jnp.stack([top, at], -1)


def gains(packed, left, whole, options, counted):
    """What a split gains, -inf where there may be none, of the sums [..., C] of words over the left child and both.

    Where each output has Hessians of its own, one that has less than the least weight in a child is left out there, as
    it is of XGBoost's vectors: the child is there all the same.
    """

    def side(sums):
        """(score [...], whether these rows may be a child)."""
        g, w = histogram.unpack(packed, sums[..., :-1] if counted else sums)
        heavy = (w > 0) & (w >= options.least_weight)
        several, scale = w.shape[-1] > 1, jnp.where(w > 0, w + options.l2, 1)
        pull = jnp.maximum(jnp.abs(g) - options.l1, 0)
        if off(options.most_step, 0):
            score = pull**2 / scale
        else:
            step = jnp.minimum(pull / scale, options.most_step)
            score = pull * step if several else 2 * jnp.abs(g) * step - scale * step**2
        score = jnp.where(heavy if several else w > 0, score, 0).sum(-1)
        may = (w > 0).any(-1) if several else heavy[..., 0]
        if not any_number(options):
            may &= (sums[..., -1] if counted else w.mean(-1)) >= options.least_rows
        return score, may

    (score, may), (more, may_too), (whole, _) = side(left), side(whole - left), side(whole)
    both = score + more
    some = may & may_too & (both - whole > 8 * jnp.finfo(both.dtype).eps * both)  # less is rounding
    return jnp.where(some, both - whole, -jnp.inf)


def question(number, num_bins):
    """(threshold, whether missing values go right) of a split's number."""
    right = number < num_bins
    return jnp.where(right, number, 2 * num_bins - 2 - number), right


def choose(gain, number, start, shards):
    """(gain, number int32, feature int32) [L] of each node's best feature, of gain and number [F, L] of all devices."""
    at = jnp.argmax(gain, axis=0)
    best = jnp.stack([*(jnp.take_along_axis(x, at[None], 0)[0] for x in (gain, number)), at + start])
    if shards:
        best = lax.all_gather(best, shards.axis)  # [devices, 3, L]
        best = jnp.take_along_axis(best, jnp.argmax(best[:, :1], axis=0, keepdims=True), 0)[0]
    return best[0], *best[1:].astype(jnp.int32)


def drawn_of_nodes(key, features, options, nodes):
    """Mask [F, L] of the features that each node of a level may ask."""
    level_key, node_key = jax.random.split(key)
    mask = drawn(level_key, features, options.level_features)
    if off(options.node_features, 1):
        return jnp.broadcast_to(mask[:, None], (len(mask), nodes))
    keys = jax.random.split(node_key, nodes)
    return jax.vmap(lambda key: drawn(key, mask, options.node_features), out_axes=1)(keys)
