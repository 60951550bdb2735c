"""Growing many trees of CART on binned columns: those of cart.py where no column has more values than bins, and faster.

A level: rows are parted among the nodes that may be split; the best splits of these are found (see splits.py); rows go
to a child. Everything goes in tiles of rows or of nodes, as many as there are, so that the work follows the rows that
are left; rows of one node lie side by side. Several trees, with weights and draws of their own, are one list of nodes.
Entry points: `columns` and `compiled`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.errors import UserError
from research.trees import binning, blocks, cart, splits
from research.trees.impurity import CRITERIA, pack
from research.trees.nodes import NODES, NONE, ROWS, SIDE, cut, paste, places, put, running, take, tiles
from research.trees.splits import Nodes, State, Task


class Columns(NamedTuple):
    """A table made ready for any number of trees: codes [N, F] uint8 or uint16, below B.

    missing [F]: which columns miss values, whose code is B - 1; None: none does. ends [2, F, B] f32: the least and the
    greatest value of each code, +inf where no row has it.
    """

    codes: jax.Array
    ends: jax.Array
    missing: jax.Array | None


def columns(x, border_count=254):
    """Columns of a table x, of any form that `blocks.read` takes, in bins of equal weight, or one for each value.

    border_count: how many borders a column may have. Raises UserError for what cannot be a table or a count.
    """
    x = np.concatenate([block.x for block in blocks.read(x)])
    x = np.where(np.abs(x) < np.finfo(np.float32).tiny, np.float32(0), x)  # XLA takes them for 0, too
    missing = np.isnan(x).any(axis=0)
    borders = binning.find(x, count=border_count, missing="learn" if missing.any() else "forbid")
    codes = binning.apply(borders, x)
    ends = np.full((2, *codes.shape[:1], borders.bins), np.inf, np.float32)
    for f, (code, column) in enumerate(zip(codes, x.T)):
        number = ~np.isnan(column)
        np.minimum.at(ends[0, f], code[number], column[number])
        ends[1, f, code[number]] = -np.inf
        np.maximum.at(ends[1, f], code[number], column[number])
    codes = jnp.asarray(np.ascontiguousarray(codes.T))
    return Columns(codes, jnp.asarray(ends), jnp.asarray(missing) if missing.any() else None)


@functools.lru_cache(maxsize=64)
def compiled(options, total, capacity=None):
    """`grow` under jit, kept for the next call; to be called under `jax.enable_x64`."""
    run = functools.partial(grow, options=options, total=total, capacity=capacity)
    return jax.jit(run, compiler_options=cart.ONE_THREAD)


def grow(ready, aims, weight=None, key=None, *, options, total=None, capacity=None):
    """cart.Trees that grow on Columns, by the arguments of `cart.grow`; total speeds up numbers as well as classes.

    Raises UserError for more cells than an int32 counts, for the splitter "random", and for medians.
    """
    (rows, features), bins = ready.codes.shape, ready.ends.shape[2]
    trees = 1 if weight is None else len(weight)
    if max(rows * features, trees * rows, 2 * features * bins) >= 2**30:
        raise UserError(f"{trees} trees on {rows} rows and {features} columns are too many at once; take fewer.")
    if options.splitter != "best":
        raise UserError(f"the splitter is '{options.splitter}'; on binned columns it must be 'best'.")
    if CRITERIA[options.criterion].medians:
        raise UserError(f"the criterion is '{options.criterion}', whose medians bins do not have; take cart.columns.")
    capacity = capacity or cart.room(options, trees, rows)
    if options.max_features == features:
        options = options._replace(max_features=None)
    task, state = begin(ready, aims, weight, key, options, total, capacity)
    state = lax.while_loop(lambda s: s.first < s.last, lambda s: level(task, s), state)
    return finish(task, state)


def begin(ready, aims, weight, key, options, total, capacity):
    """(Task, State in which the rows of positive weight are about to enter the roots)."""
    rows, trees = len(ready.codes), 1 if weight is None else len(weight)
    criterion = CRITERIA[options.criterion]
    if total and (criterion.classes or total <= 2 * rows):  # so a row's words do not depend on what grows beside
        words, split, moment = pack(criterion, aims.y, None, total)
        weight = jnp.ones((trees, rows)) if weight is None else weight.astype(jnp.float64)
        words, moments = [w * weight for w in words], None if moment is None else moment[0] * weight
    else:
        weight = jnp.ones((trees, rows), jnp.float32) if weight is None else weight
        words, split, moment = pack(criterion, jnp.tile(aims.y, (trees, 1)), weight.reshape(-1), None)
        words, moments = [w.reshape(trees, rows) for w in words], moment and moment[0].reshape(trees, rows)
    here, size, positions = weight > 0, capacity + 2 * (NODES + trees), trees * rows + ROWS
    carried = [word.astype(jnp.int64) for word in words + ([] if moments is None else [moments])]
    seed = jnp.zeros(trees, jnp.uint32) if key is None else jax.vmap(lambda k: jax.random.bits(k, (), jnp.uint32))(key)

    def of_nodes(dtype, roots=(), fill=0):
        return paste(jnp.full(size, fill, dtype), 0, jnp.asarray(roots, dtype))

    def of_positions(x):
        return jnp.pad(x.reshape(-1), (0, ROWS))

    nodes = Nodes(
        tree=of_nodes(jnp.int32, jnp.arange(trees)),
        seed=of_nodes(jnp.uint32, seed),
        sums=tuple(of_nodes(jnp.int64, word.sum(axis=1)) for word in carried[: len(words)]),
        moment=of_nodes(jnp.int64, () if moments is None else carried[-1].sum(axis=1)),
        rows=of_nodes(jnp.int32, here.sum(axis=1)),
        least=of_nodes(jnp.int32, jnp.where(here, aims.label, NONE).min(axis=1), NONE),
        most=of_nodes(jnp.int32, jnp.where(here, aims.label, -1).max(axis=1), -1),
        left=of_nodes(jnp.int32),
        number=of_nodes(jnp.int32),
        high=of_nodes(jnp.int32),
        seen=of_nodes(bool),
        gain=of_nodes(jnp.float64),
        start=of_nodes(jnp.int32),
        side=of_nodes(jnp.float32),
        shift=of_nodes(jnp.int32),
        slot=of_nodes(jnp.int32),
    )
    weights = split([w[:trees].astype(jnp.float64) for w in nodes.sums])[0]
    node = of_positions(jnp.where(here, jnp.arange(trees, dtype=jnp.int32)[:, None], size - 1))
    row = of_positions(jnp.broadcast_to(jnp.arange(rows, dtype=jnp.int32), here.shape))
    at = row, node, *map(of_positions, carried)
    zero = jnp.int32(0)
    task = Task(ready, aims.label, split, moment and moment[1], weights, options, len(words), positions, size, capacity)
    queue = jnp.zeros((2, size + splits.WIDE), jnp.int32)
    return task, State(nodes, at, at, queue, (zero, zero), zero + trees * rows, zero, zero + trees, zero)


def level(task, state):
    """State after one more level."""
    state = part(task, *open_nodes(task, state))
    nodes, last = splits.divide(task, state)
    state = state._replace(nodes=nodes, first=state.last, last=last, depth=state.depth + (last > state.last))
    return send(task, state)


def open_nodes(task, state):
    """(State in which the nodes of the level that may be split are queued, large and small, and where theirs begin;
    how many positions these take)."""
    options, few = task.options, task.few
    least_rows = max(options.min_samples_split, 2 * options.min_samples_leaf)

    def able(at):
        """([NODES] ids, their rows, whether they may be split, the last one in two lines, of large and small)."""
        ids = places(at, NODES)
        rows, least, most, tree = (cut(getattr(state.nodes, k), at, NODES) for k in ("rows", "least", "most", "tree"))
        weight, sums = task.split([cut(x, at, NODES).astype(jnp.float64) for x in state.nodes.sums])
        may = (ids < state.last) & (rows >= least_rows)
        may &= sum((s > 0).astype(jnp.int32) for s in sums) > 1 if task.classes else least < most
        may &= weight >= 2 * options.min_weight_fraction_leaf * take(task.weight, tree)
        if options.max_depth is not None:
            may &= state.depth < options.max_depth
        return ids, rows, may, jnp.stack([may & (rows > few), may & (rows <= few)])

    def large(at, total):
        _, rows, _, kinds = able(at)
        return total + jnp.where(kinds[0], rows, 0).sum(dtype=jnp.int32)

    def tile(at, carry):
        nodes, queue, *before = carry
        ids, rows, may, kinds = able(at)
        is_left = (ids - state.first) % 2 == 0
        one = jnp.concatenate(
            [kinds, jnp.where(kinds, rows, 0), jnp.where(may, jnp.stack([is_left, ~is_left]), 0) * rows]
        )
        total = running(one.astype(jnp.float64)).astype(jnp.int32) + before[0]
        slots, starts, sides = total[:2] - 1, total[2:4] - rows, total[4:] - rows
        start = jnp.where(kinds[0], *starts)
        new = {
            "start": start,
            "slot": jnp.where(kinds[0], *slots),
            "side": jnp.where(may, jnp.where(is_left, 1.0, SIDE), 0),
            "shift": start - jnp.where(is_left, *sides) - 1,
        }
        line, spot = jnp.array([[0], [1]]), jnp.where(kinds, slots, queue.shape[1])
        queue = queue.at[line, spot].set(ids, mode="drop")
        return nodes._replace(**{k: paste(getattr(nodes, k), at, v) for k, v in new.items()}), queue, total[:, -1:]

    base = tiles(state.first, state.last, NODES, large, jnp.int32(0))
    start = jnp.zeros((6, 1), jnp.int32).at[3].set(base)
    nodes, queue, total = tiles(state.first, state.last, NODES, tile, (state.nodes, state.queue, start))
    return state._replace(nodes=nodes, queue=queue, queued=(total[0, 0], total[1, 0])), total[3, 0]


def part(task, state, count):
    """State with the rows of nodes that may be split in the order of the queue; others are gone."""
    nodes = state.nodes

    def tile(at, carry):
        new, before = carry
        row, node, *words = (cut(x, at, ROWS) for x in state.at)
        node = jnp.where(places(at, ROWS) < state.count, node, task.places - 1)
        side = take(nodes.side, node)
        total = running(side).astype(jnp.int32)
        left, right = before[0] + (total & SIDE - 1), before[1] + (total >> SIDE.bit_length() - 1)
        place = jnp.where(side == 1, left, right) + take(nodes.shift, node)
        place = jnp.where(side > 0, place, task.positions - 1)
        return tuple(put(n, place, x) for n, x in zip(new, (row, node, *words))), (left[-1], right[-1])

    new, _ = tiles(0, state.count, ROWS, tile, (state.next, (jnp.int32(0), jnp.int32(0))))

    def back(at, old):
        return tuple(paste(o, at, cut(n, at, ROWS)) for o, n in zip(old, new))

    return state._replace(at=tiles(0, count, ROWS, back, state.at), next=new, count=count)


def send(task, state):
    """State in which rows are in the children, which are known in full."""
    nodes = state.nodes

    def tile(at, carry):
        to, rows, moment, least, most = carry
        row, node, *words = (cut(x, at, ROWS) for x in (state.at[0], to, *state.at[2:]))
        node = jnp.where(places(at, ROWS) < state.count, node, task.places - 1)
        left = take(nodes.left, node)
        child = jnp.where(left > 0, left + splits.asks(task, nodes, node, row), task.places - 1)
        rows = rows.at[child].add(1, mode="drop")
        if not task.classes:
            label = take(task.label, row)
            moment = moment.at[child].add(words[-1], mode="drop")
            least, most = least.at[child].min(label, mode="drop"), most.at[child].max(label, mode="drop")
        return paste(to, at, child), rows, moment, least, most

    start = state.at[1], nodes.rows, nodes.moment, nodes.least, nodes.most
    to, rows, moment, least, most = tiles(0, state.count, ROWS, tile, start)
    nodes = nodes._replace(rows=rows, moment=moment, least=least, most=most)
    return state._replace(nodes=nodes, at=(state.at[0], to, *state.at[2:]))


def finish(task, state):
    """cart.Trees of all nodes."""
    nodes, (least, most), bits = state.nodes, task.columns.ends, task.bits
    criterion = CRITERIA[task.options.criterion]
    code, outputs = (1 << bits) - 1, len(task.split([jnp.zeros(1)] * task.words)[1])
    size = min(NODES, task.capacity)

    def tile(at, trees):
        at = jnp.minimum(at, task.capacity - size)
        node = jax.tree.map(lambda x: cut(x, at, size), nodes)
        inner, feature = node.left > 0, node.number >> bits + 1
        low, high = (
            take(x.reshape(-1), feature * task.bins + jnp.where(inner, c, 0))
            for x, c in ((most, node.number & code), (least, node.high))
        )
        middle = (low.astype(jnp.float64) / 2 + high.astype(jnp.float64) / 2).astype(jnp.float32)
        border = jnp.where((low <= middle) & (middle < high) | (high == jnp.inf), middle, low)
        fewer = 2 * take(nodes.rows, node.left) <= node.rows
        right = jnp.where(node.seen, node.number >> bits & 1 == 0, fewer)
        cover, sums = task.split([s.astype(jnp.float64) for s in node.sums])
        some = jnp.where(cover > 0, cover, 1)
        moments = cover * criterion.moment if task.classes else node.moment * task.unit
        impurity = jnp.maximum(moments - task.purity(some, sums), 0) / some
        border, right = jnp.where(inner, border, 0), inner & right
        value = jnp.stack(sums, axis=-1) / some[:, None]
        new = node.tree, feature, border, right, node.left, value, node.gain, cover, impurity
        return [lax.dynamic_update_slice_in_dim(t, n.astype(t.dtype), at, 0) for t, n in zip(trees, new)]

    kinds = jnp.int32, jnp.int32, jnp.float32, bool, jnp.int32, *(jnp.float32,) * 4
    empty = [jnp.zeros((task.capacity, outputs) if i == 5 else task.capacity, kind) for i, kind in enumerate(kinds)]
    trees = tiles(0, state.last, size, tile, empty)
    return cart.Trees(*trees, state.last, state.depth)
