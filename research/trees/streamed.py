"""One tree on the blocks of a table: a pass over them for each level, and one for its leaves. Entry point: `grow`."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError
from research.trees import oblivious, passes, processes


class Table(NamedTuple):
    """The rows of this process: codes() gives their blocks [F, size], the last one filled up; y [n]; weights w or None;
    what all know: counts [F] of borders, l2."""

    codes: object
    y: np.ndarray
    w: np.ndarray | None
    size: int
    counts: np.ndarray
    l2: jax.Array


def over(table, *arrays, codes=True):
    """Yields (where [slice], codes [F, size] or None, valid [size], y, w, rows of each array) of the blocks."""
    starts = range(0, len(table.y), table.size)
    for read, start in zip(table.codes() if codes else [None] * len(starts), starts):
        where = slice(start, min(start + table.size, len(table.y)))
        more = table.size - where.stop + where.start
        rows = (
            None if x is None else np.concatenate([x[where], np.zeros_like(x, shape=(more, *x.shape[1:]))])
            for x in (table.y, table.w, *arrays)
        )
        yield where, read, np.arange(table.size) < table.size - more, *rows


def grow(task, table, score, own, key, number):
    """((PARTS of one tree), node [n] where each row rests); own: the slice of all rows that this process has."""
    options = task.options
    rows_key, tree_key = jax.random.split(jax.random.fold_in(key, number))
    drawn_key, *level_keys = jax.random.split(tree_key, 1 + options.tree.depth)
    features = oblivious.drawn(drawn_key, jnp.asarray(table.counts) > 0, options.tree.tree_features)
    drawn = passes.draw(task, rows_key)
    drawn = None if drawn is None else np.asarray(drawn)[own]
    tops = [passes.tops(task, rows) for _, _, *rows in over(table, score, drawn, codes=False)]
    tops = processes.most(jax.tree.map(lambda *parts: functools.reduce(jnp.maximum, parts), *tops))
    if not all(bool(jnp.isfinite(top).all()) for top in jax.tree.leaves(tops)):
        within = f"the loss is not finite in float32 within {number} trees"
        raise UserError(f"{within}; lower learning_rate, or scale y or the weights down.")
    node, levels, power = np.zeros(len(table.y), np.int32), [None], None
    if not oblivious.off(getattr(options.tree, "random_strength", 0), 0):
        power = sum(passes.power(task, rows, tops) for _, _, *rows in over(table, score, drawn, codes=False))
        power = processes.total(power)

    def over_rows(step):
        """Sums over all blocks; node becomes the place that the questions of the last level lead to."""
        sums = 0
        for where, codes, *rows, place in over(table, score, drawn, node):
            more, place = step(codes, rows, place, tops, levels[-1])
            node[where], sums = place[: where.stop - where.start], sums + more
        return processes.total(sums)

    for depth, level_key in enumerate(level_keys):
        sums = over_rows(functools.partial(passes.level, task, depth))
        levels.append(
            passes.questions(task, sums, power, table.counts, features, level_key, np.int32(number), table.l2, tops)
        )
    sums = over_rows(functools.partial(passes.leaf_sums, task))
    tree = jax.tree.map(lambda *parts: np.concatenate([np.atleast_1d(part) for part in parts]), *levels[1:])
    return (*tree, *map(np.asarray, passes.values(task, sums, table.l2, tops))), node
