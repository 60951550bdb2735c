"""Growing one oblivious tree: each level asks one question, the same in all its leaves.

Scores are CatBoost's: L2 is the sum over leaves of G^2 / (W + l2), Cosine that of G mean over sqrt(sum mean^2 W) with
mean = G / (W + l2); G sums gradients, W weights (Prokhorenkova et al. 2018, section 3, and their documentation).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from research.errors import is_known
from research.trees import histogram

SCORES = ("cosine", "l2")


class Options(NamedTuple):
    """How trees grow. Numbers but depth may be traced."""

    depth: int = 6
    l2: float = 3.0
    score: str = "cosine"  # one of SCORES
    random_strength: float = 0.0  # noise on scores, in units of the gradients' root mean square
    tree_features: float = 1.0  # share of the features that are drawn for a tree
    level_features: float = 1.0  # share of those that are drawn for a level
    learn_missing: bool = False  # the last code is a missing value; each split learns its side
    exact: bool = True  # sums in integers: the same bits on any number of devices


class Tree(NamedTuple):
    """feature, threshold [D] int32; missing_right [D] bool; gain [D] f32, what the level added to the score."""

    feature: jax.Array
    threshold: jax.Array
    missing_right: jax.Array
    gain: jax.Array


class Shards(NamedTuple):
    """A mesh axis of `count` devices, each with its rows of all features or with all rows of its features."""

    axis: str
    count: int
    kind: str  # "rows" or "features"


def scores(packed, sums, options):
    """Scores [B, 1 or 2] of one feature's thresholds from its running sums [B, L, C]; last but one axis: none split.

    Second column: with missing values, the last code, on the left.
    """

    def side(sums):
        g, w = histogram.unpack(packed, sums)
        some = w > 0
        mean = jnp.where(some, g / jnp.where(some, w + options.l2, 1), 0)
        # The products pass a `where` so that no compiler fuses them with the sum of the two sides, which would make
        # a split and its mirror image differ in the last bit.
        return jnp.where(some, mean * g, 0), jnp.where(some, mean * mean * w, 0)

    def score(left):
        (gain, norm), (more, more_norm) = side(left), side(sums[-1:] - left)
        gain = (gain + more).reshape(len(sums), -1).sum(-1)
        if options.score == "l2":
            return gain
        norm = (norm + more_norm).reshape(len(sums), -1).sum(-1)
        return jnp.where(norm > 0, gain / jnp.sqrt(jnp.where(norm > 0, norm, 1)), 0)

    both = [sums, sums + sums[-1:] - sums[-2:-1]] if options.learn_missing else [sums]
    return jnp.stack([score(left) for left in both], -1)


def off(value, at):
    """Whether an option is known to be the one that changes nothing; a traced one is not."""
    return is_known(value) and value == at


def drawn(key, among, share):
    """Mask [F] of a share of the features of the mask `among`, at least one of them."""
    if off(share, 1):
        return among
    order = jnp.argsort(jax.random.uniform(key, among.shape, jnp.float32) + ~among)
    rank = jnp.zeros(among.shape, jnp.int32).at[order].set(jnp.arange(among.size, dtype=jnp.int32))
    return among & (rank < jnp.maximum(1, jnp.round(share * among.sum())))


def told(best, right, axis):
    """The (best [3], right [N]) of the device whose best[0] is greatest; the first of them where several are.

    All in one collective, of bytes: on a CPU each costs as much as the work of a level on some thousand rows.
    """
    size = best.size * best.dtype.itemsize
    said = jnp.concatenate([lax.bitcast_convert_type(best, jnp.uint8).reshape(-1), right.astype(jnp.uint8)])
    said = lax.all_gather(said, axis)
    every = lax.bitcast_convert_type(said[:, :size].reshape(len(said), best.size, -1), best.dtype)
    first = jnp.argmax(every[:, 0])
    return every[first], said[first, size:] > 0


def grow(codes, counts, g, w, options, key, *, num_bins, num_rows, sample=None, noise=1.0, shards=None, pairs=None):
    """(Tree, leaf [N] int32) that gradients g [N, K] grow on codes [F, N]; bit d of a leaf is code > threshold d.

    counts [F]: thresholds of a feature. w [N, 1 or K]: weights, or Hessians for Newton's score; None for 1. sample [N]:
    rows that count. noise: the share of options.random_strength that is left. Of equal scores the lowest feature wins,
    then the lowest threshold; a level splits at no gain too. num_rows, counts, key and options concern all shards; with
    shards of features codes holds the device's own, with shards of rows all others hold the device's own. counts are
    filled up with 0 to a multiple of the devices, and so are codes with shards of features.
    """
    rows = shards.axis if shards and shards.kind == "rows" else None  # the axis that sums over rows go along
    packed = histogram.pack(g, w, sample, num_rows=num_rows, axis=rows, exact=options.exact)
    size = len(counts) // (shards.count if shards else 1)  # features that this device scores, from `start` on
    start = lax.axis_index(shards.axis) * size if shards else 0
    valid = jnp.arange(num_bins) < counts[:, None]
    tree_key, *level_keys = jax.random.split(key, 1 + options.depth)
    features = drawn(tree_key, counts > 0, options.tree_features)
    if not off(options.random_strength, 0):
        power = histogram.total(g * g, num_rows, rows).sum() / num_rows
        deviation = (options.random_strength * noise * jnp.sqrt(power)).astype(jnp.float32)

    def score(sums):
        return scores(packed, sums, options)

    def level(depth, leaf, key):
        """(Tree of this one level, the leaves it leads to)."""
        mask_key, noise_key = jax.random.split(key)
        if rows:  # one collective for the whole level, after which each device scores some of the features
            sums = histogram.each(codes, leaf, packed, num_bins, 2**depth, pairs=pairs)
            found = histogram.over_features(score, histogram.shared(sums, rows, len(counts)))
        else:
            found = histogram.each(codes, leaf, packed, num_bins, 2**depth, score, pairs)
        mask, shift = valid & drawn(mask_key, features, options.level_features)[:, None], None
        if not off(options.random_strength, 0):
            shift = deviation * jax.random.normal(noise_key, mask.shape, jnp.float32)
        mask, shift = (x if x is None else lax.dynamic_slice_in_dim(x, start, size)[..., None] for x in (mask, shift))
        shaken = jnp.where(mask, found if shift is None else found + shift, -jnp.inf).reshape(-1)
        at, width = jnp.argmax(shaken), num_bins * found.shape[-1]
        best = jnp.stack([shaken[at], found.reshape(-1)[at] - found[0, -1, 0], at + start * width])

        def answers(feature, place):
            threshold, side = jnp.divmod(place, found.shape[-1])
            right = codes[feature] > threshold
            return jnp.where(codes[feature] == num_bins - 1, side == 0, right) if options.learn_missing else right

        if shards and not rows:
            best, right = told(best, answers(*jnp.divmod(at, width)), shards.axis)
        elif rows:
            best = lax.all_gather(best, rows)
            best = best[jnp.argmax(best[:, 0])]
        feature, place = jnp.divmod(best[2].astype(jnp.int32), width)
        threshold, side = jnp.divmod(place, found.shape[-1])
        if rows or not shards:
            right = answers(feature, place)
        gain = jnp.where(jnp.isfinite(best[0]), best[1], 0).astype(jnp.float32)
        return Tree(feature, threshold, side == 0, gain), leaf | right.astype(jnp.int32) << depth

    leaf, levels = jnp.zeros(g.shape[0], jnp.int32), []
    for depth, level_key in enumerate(level_keys):
        tree, leaf = level(depth, leaf, level_key)
        levels.append(tree)
    return jax.tree.map(lambda *x: jnp.stack(x), *levels), leaf
