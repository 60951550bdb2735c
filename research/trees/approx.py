"""Growing one tree on cuts chosen by Hessians, XGBoost's approximate method. Entry points: by_global, by_local.

Cuts are weighted quantiles, at i / bins of the sum of Hessians (Chen & Guestrin 2016, equations 8 and 9). The paper
sketches them; columns that are sorted give them exactly. They are proposed anew for each tree (global), or for each
node of each level (local), which does with fewer of them (section 3.2).
"""

import functools

import jax.numpy as jnp
from jax import lax

from research.trees import exact, histogram, levelwise


def by_local(columns, counts, g, w, options, key, *, sample=None):
    """exact.grow among the cuts of each node."""
    pick = functools.partial(picked, bins=options.bins)
    return exact.grow(columns, counts, g, w, options, key, sample=sample, pick=pick)


def by_global(columns, counts, g, w, options, key, *, sample=None):
    """exact.grow's result of levelwise.grow on the tree's own cuts, each at a value."""
    codes, table = cut(columns, w, options.bins, sample)
    rest = {"num_bins": options.bins + 1, "num_rows": len(g), "sample": sample}
    tree, node = levelwise.grow(codes, counts, g, w, options, key, **rest)
    border = table[jnp.maximum(tree.feature, 0), tree.threshold]
    return tree._replace(threshold=jnp.where(tree.feature < 0, 0, border)), node


def cut(columns, w, bins, sample=None):
    """(codes [F, N] of at most `bins` bins, that of a missing value is `bins`; borders [F, bins], up to +inf).

    w [N, K]: Hessians, of which the mean over outputs weighs; None: 1. Bins begin at their border.
    """
    num_rows = columns.x.shape[1]
    w = jnp.ones(num_rows, jnp.float32) if w is None else w.mean(axis=1)
    w = histogram.fixed((w if sample is None else jnp.where(sample, w, 0))[:, None], num_rows, 52)[0][:, 0]
    start = jnp.zeros(num_rows, jnp.int32)

    def column(of):
        x, rows = of
        value, weight = x[rows], jnp.where(jnp.isnan(x), 0, w)[rows]
        total = jnp.cumsum(weight)
        may = jnp.append(False, value[:-1] < value[1:])
        found = picked(may, total - weight, total[-1], start, start, 1, bins)
        code = jnp.cumsum(found)
        border = jnp.full(bins, jnp.inf, jnp.float32)
        border = border.at[jnp.where(found, code - 1, bins)].set(value, mode="drop")
        code = jnp.where(jnp.isnan(value), bins, code).astype(jnp.uint16)
        return jnp.zeros_like(code).at[rows].set(code), border

    return lax.map(column, tuple(columns))


def picked(may, before, whole, first, node, num_nodes, bins):
    """Mask [N] of the splits, among those that `may` be, that are the first to leave i / bins of the weight below.

    Of positions in the order of values: may [N], the weight `before` each and of the `whole` node, that node, [N] or
    shared, and its `first` position. All of a node's splits are picked if they are fewer than `bins`.
    """
    position = jnp.arange(len(may), dtype=jnp.int32)
    quantile = jnp.clip(jnp.floor(bins * before / jnp.where(whole > 0, whole, 1)), 0, bins - 1)
    group = lax.cummax(jnp.where(may | (position == first), position, 0))  # where the rows of one value begin
    rises = quantile > quantile[jnp.append(0, group[:-1])]
    few = jnp.zeros(num_nodes, jnp.int32).at[node].add(may) < bins
    return may & (rises | few[node])
