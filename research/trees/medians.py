"""Splits of CART by absolute errors, from the medians of both sides of all splits. Entry points: `gains`, `of_nodes`.

The rows of a column go through the bits of their targets' ranks, the highest first, parted in order by each: a wavelet
matrix (Claude, Navarro & Ordonez 2015). A run of positions is two runs after each, and the median is in the lower one
if its rows and those below weigh half or more. So log2 N steps answer for all runs of a column.
"""

import jax.numpy as jnp
from jax import lax

from research.trees.nodes import NONE, nodes_at, put, take


def gains(task, state):
    """[C * P] f64: what the sum of errors falls by if the node at a position is split before it."""
    position, node, own = nodes_at(task, state, 0, task.positions)
    used = position < state.count
    start = jnp.where(used, take(state.nodes.start, node), position)
    end = jnp.where(used, start + take(state.nodes.rows, node), position)
    runs = jnp.concatenate([start, position]), jnp.concatenate([position, end])

    def of_column(order):
        words = [take(word, own + order) for word in task.words]
        left, right = _errors(task, take(task.label, order), words, *runs).reshape(2, -1)
        return take(right, start) - left - right  # the first right side is the whole node

    return lax.map(of_column, state.order).reshape(-1)


def _errors(task, label, words, first, last):
    """[Q] f64: the weighted sum of |y - median| of the positions first [Q] to last - 1; label and words are [P]."""
    bits = (len(task.label) - 1).bit_length()
    places = jnp.arange(len(label), dtype=jnp.int32)

    def before(x):
        return jnp.concatenate([jnp.zeros(1, x.dtype), jnp.cumsum(x)])

    def within(x):
        return take(x, last) - take(x, first)

    weight, (total,) = task.split([within(before(word)) for word in words])

    def step(i, carry):
        label, words, first, last, below, rank = carry
        bit = jnp.left_shift(jnp.int32(1), bits - 1 - i)
        low = label & bit == 0
        lower = before(low.astype(jnp.int32))
        sums = [before(jnp.where(low, word, 0)) for word in words]
        more = [b + take(s, last) - take(s, first) for b, s in zip(below, sums)]
        is_low = task.split(more)[0] >= weight / 2

        def to(low, place, lower_before):
            return jnp.where(low, lower_before, lower[-1] + place - lower_before)

        place = to(low, places, lower[:-1])
        first, last = (to(is_low, x, take(lower, x)) for x in (first, last))
        label, *words = (put(x, place, x) for x in (label, *words))
        return label, words, first, last, [jnp.where(is_low, b, m) for b, m in zip(below, more)], rank + ~is_low * bit

    start = label, words, first, last, [jnp.zeros(len(first))] * len(words), jnp.zeros(len(first), jnp.int32)
    *_, below, rank = lax.fori_loop(0, bits, step, start)
    weight_below, (total_below,) = task.split(below)
    return total - 2 * total_below - take(task.ranked, rank) * (weight - 2 * weight_below)


def of_nodes(task, nodes, here, depth):
    """(Median [M, 1] of each node's rows, the mean of two middle ones; their mean error from it [M]); here [T, N]."""
    by_label = jnp.argsort(task.label, stable=True).astype(jnp.int32)
    tree = jnp.repeat(jnp.arange(len(here), dtype=jnp.int32), len(by_label))
    row = jnp.tile(by_label, len(here))
    label = take(task.label, row)
    weight, _ = task.split([take(word, tree * len(by_label) + row) for word in task.words])

    def sums(node, x):
        return jnp.zeros(task.places).at[node].add(x)

    def level(_, carry):
        """Of the nodes that rows have come to, which then go on."""
        node, median, error = carry
        at = jnp.argsort(node, stable=True)
        w, of = weight[at], node[at]
        passed, total = jnp.cumsum(w), sums(node, weight)
        passed -= take(jnp.full(task.places, jnp.inf).at[of].min(passed - w), of)
        half = take(total, of) / 2

        def least(fits):
            found = jnp.full(task.places, len(by_label) - 1).at[of].min(jnp.where(fits, label[at], NONE))
            return take(task.ranked, found)

        median = jnp.where(total > 0, (least(passed >= half) + least(passed > half)) / 2, median)
        away = sums(node, weight * jnp.abs(take(task.ranked, label) - take(median, node)))
        error = jnp.where(total > 0, away / jnp.where(total > 0, total, 1), error)
        value = take(task.columns.x.reshape(-1), take(nodes.column, node) * len(by_label) + row)
        left = take(nodes.left, node)
        return jnp.where(left > 0, left + (value >= take(nodes.high, node)), node), median, error

    node = jnp.where(take(here.reshape(-1), tree * len(by_label) + row), tree, task.places - 1)
    _, median, error = lax.fori_loop(0, depth + 1, level, (node, jnp.zeros(task.places), jnp.zeros(task.places)))
    return median[:, None], error
