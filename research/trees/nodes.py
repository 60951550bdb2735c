"""What growing trees on sorted columns works on (see presorted.py): tables of nodes and rows, and steps over them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from research.trees.impurity import CRITERIA

CELLS = 2**14  # entries of columns that one step works on, so that they stay in the caches
ROWS = 2**11  # at most, of them
NODES = 2**8  # that one step works on
SIDE = 2 * ROWS  # in a count of rows one that goes left is 1, and one that goes right is this: fits a float32
RUN = 16  # entries that one product adds up
NEVER, NONE = 2**30, 2**31 - 1  # the start of a node that is not split, and the place of no split


class Task(NamedTuple):
    """What stays as it is: T trees on N rows and C columns of P positions; M places of nodes, the last for nothing.

    Rows of all trees, [(T + 1) * N], are a tree's after another's; at the end is a place for each that is not used.
    """

    columns: Any  # cart.Columns
    label: jax.Array
    words: tuple  # [(T + 1) * N] each
    split: Callable  # of impurity.pack, as words
    moment: jax.Array | None  # [(T + 1) * N]
    weight: jax.Array  # [T] f64, of all rows of a tree
    options: Any  # cart.Options
    trees: int
    positions: int
    places: int
    capacity: int
    ranked: jax.Array  # [N] f64, the target of each label where there is one output

    @property
    def criterion(self):
        return CRITERIA[self.options.criterion]

    def rows(self, columns):
        """How many positions one step works on."""
        return max(64, min(ROWS, 1 << max(CELLS // columns, 1).bit_length() - 1))


class Nodes(NamedTuple):
    """Of nodes [M]: the split, 0 where there is none, and sums over rows; then what a level needs to part and score."""

    tree: jax.Array
    column: jax.Array
    border: jax.Array
    high: jax.Array  # rows of this value or above go right
    missing_right: jax.Array
    left: jax.Array
    gain: jax.Array
    sums: tuple  # of words
    moment: jax.Array
    rows: jax.Array  # their number
    least: jax.Array  # label, and greatest; not of classes
    most: jax.Array
    start: jax.Array  # the first position; NEVER where nothing is to be split
    side: jax.Array  # f32: 1 where its rows go left and are to be split further, SIDE where right, 0 to be dropped
    shift: jax.Array  # from the place among all rows that go to that side, counted from 1, to the position
    base: tuple  # sums of words over all positions before
    best: jax.Array  # the greatest purity of children, and its split as column * P + position
    where: jax.Array
    seed: jax.Array  # u32, of what is drawn
    drawn: jax.Array  # [m, M] columns; m = 0: all


class State(NamedTuple):
    """Where growing stands; positions are used up to `count`."""

    nodes: Nodes
    order: jax.Array  # [C, P] the row at each position of a column
    node: jax.Array  # [P] its node
    next_order: jax.Array  # [C * P] where these two are made anew
    next_node: jax.Array
    row_node: jax.Array  # of rows of all trees
    going: jax.Array  # the side of row_node
    count: jax.Array
    first: jax.Array  # of the level's nodes
    last: jax.Array  # the one after
    depth: jax.Array


def take(x, i):
    """x[i] of places i that are in it."""
    return x.at[i].get(mode="promise_in_bounds", wrap_negative_indices=False)


def put(x, i, values):
    """x with `values` in the places i that are in it."""
    return x.at[i].set(values, mode="promise_in_bounds", wrap_negative_indices=False)


def cut(x, at, size):
    """x [size] from the place `at` on."""
    return lax.dynamic_slice(x, (at,), (size,))


def cut_columns(x, at, size):
    """The same of each row of x."""
    return lax.dynamic_slice(x, (jnp.int32(0), at), (len(x), size))


def paste(x, at, values):
    """x with `values` from the place `at` on."""
    return lax.dynamic_update_slice(x, values.astype(x.dtype), (at,))


def paste_columns(x, at, values):
    """The same in each row of x."""
    return lax.dynamic_update_slice(x, values.astype(x.dtype), (jnp.int32(0), at))


def tiles(first, last, size, body, carry):
    """carry after body(start, carry) for each tile of `size` places from first to last, both traced."""
    return lax.fori_loop(0, (last - first + size - 1) // size, lambda i, c: body(first + i * size, c), carry)


def places(at, size):
    """[size] int32 from `at` on."""
    return at + jnp.arange(size, dtype=jnp.int32)


def running(x):
    """Running sums of whole numbers along the last axis of x, a power of two long."""
    run = min(RUN, x.shape[-1])
    parts = x.reshape(*x.shape[:-1], -1, run)
    sums = jnp.matmul(parts, jnp.tri(run, dtype=x.dtype).T, precision="highest")
    if parts.shape[-2] > 1:
        whole = sums[..., -1]
        sums += (running(whole) - whole)[..., None]
    return sums.reshape(x.shape)


def mixed(x):
    """u32 in whose bits those of u32 x are mixed: the end of MurmurHash3 (Appleby 2011)."""
    x = (x ^ x >> 16) * jnp.uint32(0x85EBCA6B)
    x = (x ^ x >> 13) * jnp.uint32(0xC2B2AE35)
    return x ^ x >> 16


def nodes_at(task, state, at, size):
    """(positions [R] from `at` on, their nodes, where the rows of their trees begin)."""
    position = places(at, size)
    used = position < state.count
    node = jnp.where(used, cut(state.node, at, size), task.places - 1)
    return position, node, jnp.where(used, take(state.nodes.tree, node), task.trees) * len(task.label)


def begin(task, here, seed):
    """State in which the rows of positive weight, here [T, N], are about to enter the roots, each from a parent."""
    trees, num_rows = here.shape
    number, i = jnp.arange(trees, dtype=jnp.int32), jnp.int32

    def of_nodes(fill, dtype, roots=(), parents=()):
        x = jnp.full(task.places, fill, dtype)
        for at, values in ((0, roots), (trees, parents)):
            x = paste(x, at, values) if len(values) else x
        return x

    def total(x):
        return x[: here.size].reshape(here.shape).sum(axis=1)

    both = 1 + (len(task.columns.order) > len(task.columns.ends[0]))  # columns of a feature
    nodes = Nodes(
        tree=of_nodes(0, i, number, number),
        column=of_nodes(0, i),
        border=of_nodes(0, jnp.float32),
        high=of_nodes(0, jnp.float32),
        missing_right=of_nodes(0, bool),
        left=of_nodes(0, i, parents=number // 2 * 2),
        gain=of_nodes(0, jnp.float64),
        sums=tuple(of_nodes(0, jnp.float64, total(word)) for word in task.words),
        moment=of_nodes(0, jnp.float64, () if task.moment is None else total(task.moment)),
        rows=of_nodes(0, i, here.sum(axis=1)),
        least=of_nodes(NONE, i, jnp.where(here, task.label, NONE).min(axis=1)),
        most=of_nodes(-1, i, jnp.where(here, task.label, -1).max(axis=1)),
        start=of_nodes(NEVER, i),
        side=of_nodes(0, jnp.float32),
        shift=of_nodes(0, i),
        base=tuple(of_nodes(0, jnp.float64) for _ in task.words),
        best=of_nodes(-jnp.inf, jnp.float64),
        where=of_nodes(NONE, i),
        seed=of_nodes(0, jnp.uint32, seed),
        drawn=jnp.zeros(((task.options.max_features or 0) * both, task.places), i),
    )
    more = task.positions - here.size
    order = jnp.pad(jnp.tile(task.columns.order, (1, trees)), ((0, 0), (0, more)))
    node = jnp.pad(jnp.repeat(trees + number, num_rows), (0, more))
    row_node = jnp.where(here, number[:, None], task.places - 1).reshape(-1)
    row_node = jnp.pad(row_node, (0, num_rows), constant_values=task.places - 1)
    going, zero = jnp.zeros(row_node.shape, jnp.float32), jnp.int32(0)
    return State(
        nodes, order, node, order.reshape(-1), node, row_node, going, zero + here.size, zero, zero + trees, zero
    )
