"""Growing trees of CART level by level on columns that are sorted once; see cart.py, where its types are.

A level: nodes draw features, running sums over columns score all splits, nodes choose theirs, rows go to a child, and
the columns are parted among the children that may split further, in order; all other rows are dropped. Everything goes
in tiles of positions or of nodes, as many as there are, so that the work follows the rows that are left. Several trees,
with weights and draws of their own, are one list of nodes.
"""

import jax
import jax.numpy as jnp
from jax import lax

from research.trees import medians
from research.trees.impurity import CRITERIA, pack
from research.trees.nodes import (
    NEVER,
    NODES,
    NONE,
    ROWS,
    SIDE,
    Task,
    begin,
    cut,
    cut_columns,
    mixed,
    nodes_at,
    paste,
    paste_columns,
    places,
    put,
    running,
    take,
    tiles,
)


def level(task, state):
    """State after one more level."""
    state = part(task, open_nodes(task, state))
    if task.options.max_features is not None:
        state = draw(task, state)
    return send(task, decide(task, score(task, state)))


def open_nodes(task, state):
    """(State, count): the nodes of the level that may be split have positions up to `count`, the others have none."""
    options = task.options
    least_rows = max(options.min_samples_split, 2 * options.min_samples_leaf)

    def tile(at, carry):
        nodes, before = carry
        ids = places(at, NODES)
        rows, least, most, tree = (cut(x, at, NODES) for x in (nodes.rows, nodes.least, nodes.most, nodes.tree))
        own, sums = task.split([cut(x, at, NODES) for x in nodes.sums])
        split = (ids < state.last) & (rows >= least_rows)
        split &= sum((s > 0).astype(jnp.int32) for s in sums) > 1 if task.criterion.classes else least < most
        split &= own >= 2 * options.min_weight_fraction_leaf * take(task.weight, tree)
        if options.max_depth is not None:
            split &= state.depth < options.max_depth
        is_left = (ids - state.first) % 2 == 0
        sizes = jnp.where(jnp.stack([split & is_left, split & ~is_left]), rows, 0).astype(jnp.float64)
        total = running(sizes) + before
        left, right = (total - sizes).astype(jnp.int32)
        new = {
            "start": jnp.where(split, left + right, NEVER),
            "side": jnp.where(split, jnp.where(is_left, 1.0, SIDE), 0),
            "shift": jnp.where(is_left, right, left) - 1,
            "best": jnp.full(NODES, -jnp.inf),
            "where": jnp.full(NODES, NONE),
        }
        return nodes._replace(**{k: paste(getattr(nodes, k), at, v) for k, v in new.items()}), total[:, -1:]

    nodes, total = tiles(state.first, state.last, NODES, tile, (state.nodes, jnp.zeros((2, 1))))
    rows = task.rows(1)

    def mark(at, going):
        _, _, base = nodes_at(task, state, at, rows)
        row = base + cut(state.order[0], at, rows)
        return put(going, row, take(nodes.side, take(state.row_node, row)))

    going = tiles(0, state.count, rows, mark, state.going)
    return state._replace(nodes=nodes, going=going), total.sum().astype(jnp.int32)


def part(task, opened):
    """State with the rows of each column in the order of nodes, then of values; those that are dropped are gone."""
    state, count = opened
    num_columns = len(state.order)
    size, c = task.rows(num_columns), jnp.arange(num_columns, dtype=jnp.int32)[:, None]

    def tile(at, carry):
        order, new_node, lefts, rights = carry
        _, node, base = nodes_at(task, state, at, size)
        rows = cut_columns(state.order, at, size)
        going = take(state.going, base + rows)
        total = running(going).astype(jnp.int32)
        left, right = lefts + (total & SIDE - 1), rights + (total >> SIDE.bit_length() - 1)
        child = take(state.nodes.left, node)
        to_left, to_right = take(state.nodes.shift, child), take(state.nodes.shift, child + 1)
        place = jnp.where(going == 1, left + to_left, jnp.where(going > 1, right + to_right, task.positions - 1))
        order = put(order, c * task.positions + place, rows)
        new_node = put(new_node, place[0], take(state.row_node, base + rows[0]))
        return order, new_node, left[:, -1:], right[:, -1:]

    none = jnp.zeros((num_columns, 1), jnp.int32)
    order, node, *_ = tiles(0, state.count, size, tile, (state.next_order, state.next_node, none, none))

    def back(at, carry):
        new = cut_columns(order.reshape(num_columns, -1), at, size)
        return paste_columns(carry[0], at, new), paste(carry[1], at, cut(node, at, size))

    old, old_node = tiles(0, count, size, back, (state.order, state.node))
    return state._replace(order=old, node=old_node, next_order=order, next_node=node, count=count)


def draw(task, state):
    """State in which each node has drawn its columns.

    They are of the first max_features features in an order by chance; if a node's rows do not differ in any of these,
    of the first in which they do, which takes the first place.
    """
    first, last = task.columns.ends
    num_features = len(first)
    mask = jnp.uint32((1 << (num_features - 1).bit_length()) - 1)
    names = jnp.arange(num_features, dtype=jnp.uint32)[:, None]
    size = max(8, min(NODES, task.rows(num_features) // 4))

    def tile(at, drawn):
        start, rows, seed = (cut(x, at, size) for x in (state.nodes.start, state.nodes.rows, state.nodes.seed))
        low, high = (value(task, state, first[:, None], place) for place in (start, start + rows - 1))
        bits = mixed(seed ^ mixed(names + 1)) & ~mask | names
        differing = jnp.where(low != high, bits, 0).max(axis=0)

        def next_of(bits, _):
            top = bits.max(axis=0)
            return jnp.where(bits == top, 0, bits), top

        found = lax.scan(next_of, bits, None, task.options.max_features)[1]
        found = (found.at[0].set(jnp.where(differing > 0, differing, found[0])) & mask).astype(jnp.int32)
        ends = [take(first, found), take(last, found)]
        return paste_columns(drawn, at, jnp.concatenate(ends[: len(drawn) // len(found)]))

    drawn = tiles(state.first, state.last, size, tile, state.nodes.drawn)
    return state._replace(nodes=state.nodes._replace(drawn=drawn))


def score(task, state):
    """State with the best split of each node. Of equal ones the lowest column wins, then the lowest value."""
    nodes, least, nothing = state.nodes, task.options.min_samples_leaf, task.places
    m, num_rows, share = len(nodes.drawn) or len(state.order), len(task.label), task.options.min_weight_fraction_leaf
    size, criterion = task.rows(m), task.criterion
    gains = medians.gains(task, state) if criterion.medians else None

    def tile(at, carry):
        base, best, where, before, previous = carry
        position, node, own = nodes_at(task, state, at, size)
        if len(nodes.drawn):
            column = take(nodes.drawn.reshape(-1), jnp.arange(m, dtype=jnp.int32)[:, None] * task.places + node)
            rows = take(state.order.reshape(-1), column * task.positions + position)
        else:
            column = jnp.arange(m, dtype=jnp.int32)[:, None]
            rows = cut_columns(state.order, at, size)
        x = take(task.columns.x.reshape(-1), column * num_rows + rows)
        words = [take(word, own + rows) for word in task.words]
        totals = [running(word) + b for word, b in zip(words, before)]
        start = take(nodes.start, node)
        entered = jnp.where(position == start, node, nothing)
        base = tuple(b.at[entered].set((t - w)[0], mode="drop") for b, t, w in zip(base, totals, words))
        left = [t - w - take(b, node) for t, w, b in zip(totals, words, base)]
        right = [take(s, node) - l for s, l in zip(nodes.sums, left)]
        (left_weight, left), (right_weight, right) = task.split(left), task.split(right)
        count = position - start
        valid = (count >= least) & (take(nodes.rows, node) - count >= least)
        lower = jnp.concatenate([previous, x[:, :-1]], axis=1)
        if task.options.splitter == "random":
            border = by_chance(task, state, column, node)
            valid = valid & (lower <= border) & (border < x)
        valid = valid & (lower < x)
        lighter = jnp.minimum(left_weight, right_weight)
        if criterion.positive:
            lighter = jnp.where(sum((s <= 0).astype(jnp.int32) for s in left + right) > 0, 0, lighter)
        valid &= (lighter > 0) & (lighter >= share * take(task.weight, take(nodes.tree, node)))
        if gains is None:
            found = criterion.purity(left_weight, left) + criterion.purity(right_weight, right)
        else:
            found = take(gains, column * task.positions + position)
        found = jnp.where(valid, found, -jnp.inf)
        top = found.max(axis=0)
        place = jnp.where(found == top, column * task.positions + position, NONE).min(axis=0)
        # What is read must be read before it is written to, for XLA not to copy it: the index of writing says so.
        better = jnp.where(top > take(best, node), node, nothing)
        best = best.at[better].max(top, mode="drop")
        where = where.at[better].set(NONE, mode="drop")
        equal = jnp.where((top == take(best, node)) & (top > -jnp.inf), node, nothing)
        return base, best, where.at[equal].min(place, mode="drop"), tuple(t[:, -1:] for t in totals), x[:, -1:]

    before = tuple(jnp.zeros((m, 1)) for _ in task.words)
    start = nodes.base, nodes.best, nodes.where, before, jnp.zeros((m, 1), jnp.float32)
    base, best, where, *_ = tiles(0, state.count, size, tile, start)
    return state._replace(nodes=nodes._replace(base=base, best=best, where=where))


def value(task, state, column, position):
    """What the row at a position of a column, within bounds or not, has there."""
    row = take(state.order.reshape(-1), column * task.positions + jnp.clip(position, 0, task.positions - 1))
    return take(task.columns.x.reshape(-1), column * len(task.label) + row)


def by_chance(task, state, column, node):
    """f32, a number between the least and the greatest value that a node's rows have in a column, or the least."""
    start, rows, seed = (take(x, node) for x in (state.nodes.start, state.nodes.rows, state.nodes.seed))
    low, high = (value(task, state, column, place) for place in (start, start + rows - 1))
    share = (mixed(seed ^ mixed(~column.astype(jnp.uint32))) >> 8).astype(jnp.float32) / 2**24
    border = low + share * (high - low)
    return jnp.where(border < high, border, low)


def decide(task, state):
    """State in which the nodes of the level that split have children, which are the next level."""
    columns = task.columns

    def tile(at, carry):
        nodes, last = carry
        start, rows, best, where, seed, tree = (
            cut(x, at, NODES) for x in (nodes.start, nodes.rows, nodes.best, nodes.where, nodes.seed, nodes.tree)
        )
        splits = (best > -jnp.inf) & (places(at, NODES) < state.last)
        column, position = jnp.divmod(jnp.where(splits, where, 1), task.positions)
        low, high = value(task, state, column, position - 1), value(task, state, column, position)
        if task.options.splitter == "random":
            middle = by_chance(task, state, column, places(at, NODES))
        else:
            middle = (low.astype(jnp.float64) / 2 + high.astype(jnp.float64) / 2).astype(jnp.float32)
        own = task.split([cut(x, at, NODES) for x in nodes.sums])
        gain = best if task.criterion.medians else best - task.criterion.purity(*own)
        least_gain = (task.options.min_impurity_decrease - jnp.finfo(jnp.float64).eps) * take(task.weight, tree)
        splits &= gain >= least_gain
        child = last + 2 * running(splits.astype(jnp.float64)).astype(jnp.int32) - 2
        splits &= child + 1 < task.capacity
        first = take(columns.ends[0], take(columns.feature, column))
        absent = value(task, state, first, start + rows - 1) == jnp.inf
        new = {
            "column": column,
            "border": jnp.where((low <= middle) & (middle < high) | (high == jnp.inf), middle, low),
            "high": high,
            "missing_right": jnp.where(absent, column == first, 2 * (position - start) <= rows),
            "left": child,
            "gain": gain,
        }
        new = {k: paste(getattr(nodes, k), at, jnp.where(splits, v, 0)) for k, v in new.items()}
        both = jnp.where(splits, jnp.stack([child, child + 1]), task.places)
        new["tree"] = nodes.tree.at[both].set(tree, mode="drop")
        new["seed"] = nodes.seed.at[both].set(mixed(seed + jnp.array([[1], [2]], jnp.uint32)), mode="drop")
        return nodes._replace(**new), last + 2 * splits.sum(dtype=jnp.int32)

    nodes, last = tiles(state.first, state.last, NODES, tile, (state.nodes, state.last))
    return state._replace(nodes=nodes, first=state.last, last=last, depth=state.depth + (last > state.last))


def send(task, state):
    """State in which rows are in the children, whose sums are known."""
    nodes, size = state.nodes, task.rows(1)

    def tile(at, carry):
        row_node, sums, moment, count, least, most = carry
        _, node, base = nodes_at(task, state, at, size)
        row = cut(state.order[0], at, size)
        value = take(task.columns.x.reshape(-1), take(nodes.column, node) * len(task.label) + row)
        left = take(nodes.left, node)
        child = jnp.where(left > 0, left + (value >= take(nodes.high, node)), task.places)

        def add(x, values):
            return x.at[child].add(values, mode="drop")

        sums = tuple(add(s, take(word, base + row)) for s, word in zip(sums, task.words))
        moment = moment if task.moment is None else add(moment, take(task.moment, base + row))
        if not task.criterion.classes:
            label = take(task.label, row)
            least, most = least.at[child].min(label, mode="drop"), most.at[child].max(label, mode="drop")
        return put(row_node, base + row, jnp.minimum(child, task.places - 1)), sums, moment, add(count, 1), least, most

    start = state.row_node, nodes.sums, nodes.moment, nodes.rows, nodes.least, nodes.most
    row_node, sums, moment, rows, least, most = tiles(0, state.count, size, tile, start)
    nodes = nodes._replace(sums=sums, moment=moment, rows=rows, least=least, most=most)
    return state._replace(nodes=nodes, row_node=row_node)


def grow(columns, targets, weight, key, options, total, capacity):
    """(Nodes, value [M, K], cover [M], impurity [M], number of nodes, depth): what cart.grow says, in float64."""
    num_rows = columns.x.shape[1]
    trees = 1 if weight is None else len(weight)
    here = jnp.ones((trees, num_rows), bool) if weight is None else weight > 0
    criterion, weight = CRITERIA[options.criterion], weight if weight is None else weight.reshape(-1)
    words, split, moment = pack(criterion, jnp.tile(targets.y, (trees, 1)), weight, total and total * trees)
    weight = split([word.reshape(trees, num_rows).sum(axis=1) for word in words])[0]
    words = tuple(jnp.pad(word, (0, num_rows)) for word in words)
    moments, unit = (None, 0) if moment is None else (jnp.pad(moment[0], (0, num_rows)), moment[1])
    positions, size = -(-trees * num_rows // ROWS) * ROWS + ROWS, capacity + 2 * (NODES + trees)
    ranked = jnp.zeros(num_rows).at[targets.label].set(targets.y[:, 0].astype(jnp.float64))
    task = Task(
        columns, targets.label, words, split, moments, weight, options, trees, positions, size, capacity, ranked
    )
    seed = jnp.zeros(trees, jnp.uint32) if key is None else jax.vmap(lambda k: jax.random.bits(k, (), jnp.uint32))(key)
    state = lax.while_loop(lambda s: s.first < s.last, lambda s: level(task, s), begin(task, here, seed))
    nodes, sizes = state.nodes._replace(drawn=()), (state.last, state.depth)
    cover, sums = split(nodes.sums)
    some = jnp.where(cover > 0, cover, 1)
    if criterion.medians:
        value, impurity = medians.of_nodes(task, nodes, here, state.depth)
    else:
        moments = cover * criterion.moment if criterion.classes else nodes.moment * unit
        impurity = jnp.maximum(moments - criterion.purity(some, sums), 0) / some
        value = jnp.stack(sums, axis=-1) / some[:, None]
    return *jax.tree.map(lambda x: x[:capacity], (nodes, value, cover, impurity)), *sizes
