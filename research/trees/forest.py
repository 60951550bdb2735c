"""Boosted binary trees of any shape, each node with its own question, and how rows walk them; see prediction.py.

A node is a place of M. The root is place 0, and the children of a node lie side by side. Entry points: `collect`,
`of_oblivious`, `heaped`.
"""

import dataclasses
import operator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.trees import ensemble
from research.trees.boosting import Trees

OF_TREES = ("feature", "border", "missing_right", "left", "value", "gain", "cover")
DENSE = 6  # so deep, it is cheaper to ask a row all questions of a heap, with no gathers, than those on its way
ASKS = {"left": operator.gt, "right": operator.ge}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Forest:
    """T rounds of J trees of at most M nodes, with K outputs: J = 1 of vector leaves, or J = K, tree j for output j."""

    feature: jax.Array  # [T, J, M] int32, the column that an inner node asks; 0 at a leaf
    border: jax.Array  # [T, J, M] f32: a row answers 1 where x > border (side "left") or x >= border ("right")
    missing_right: jax.Array  # [T, J, M] bool: a missing value answers 1
    left: jax.Array  # [T, J, M] int32, the child that answers 0, before the one that answers 1; 0 at a leaf
    value: jax.Array  # [T, J, M, K / J] f32, of a leaf; 0 at an inner node
    gain: jax.Array | None  # [T, J, M] f32, 0 at a leaf; None where not known
    cover: jax.Array | None  # [T, J, M] f32, weight or Hessian of the rows that pass a node; None where not known
    start: jax.Array  # [K] f32, added to the sum of the trees
    side: str = dataclasses.field(metadata={"static": True})
    depth: int = dataclasses.field(metadata={"static": True})  # the most questions on the way to a leaf
    columns: int = dataclasses.field(metadata={"static": True})  # F, how many features a row has
    objective: str = dataclasses.field(metadata={"static": True})
    names: tuple | None = dataclasses.field(default=None, metadata={"static": True})  # of the features
    missing: str = dataclasses.field(default="learn", metadata={"static": True})  # "forbid": rows may miss nothing
    heap: bool = dataclasses.field(default=False, metadata={"static": True})  # left[i] = 2 i + 1, M = 2^(depth + 1) - 1

    @property
    def loss_name(self):
        """The objective's name without its options."""
        return self.objective.partition(":")[0]


def collect(trees, borders, start, objective):
    """The Forest of boosting.Trees grown level by level, their binning.Borders, start [K], and the objective's name.

    trees: feature [T, J, I], -1 where a place is no inner node; thresholds are numbers of borders, int32, or borders,
    f32; cover [T, J, M] of leaves.
    """
    inner, feature = trees.feature >= 0, jnp.maximum(trees.feature, 0)
    border = trees.threshold
    if border.dtype.kind == "i":
        border = jnp.asarray(borders.table)[feature, border]
    missing_right = trees.missing_right if borders.missing == "learn" else borders.missing == "max"
    left = 2 * jnp.arange(inner.shape[2], dtype=jnp.int32) + 1
    places = trees.leaves.shape[2]

    def of_nodes(x):
        if x is not None:
            return jnp.pad(jnp.where(inner, x, jnp.zeros_like(x)), ((0, 0), (0, 0), (0, places - inner.shape[2])))

    return Forest(
        *map(of_nodes, (feature, border, missing_right, left)),
        value=trees.leaves,
        gain=of_nodes(trees.gain),
        cover=None if trees.cover is None else _passed(trees.cover),
        start=jnp.asarray(start, jnp.float32),
        side=borders.side,
        depth=(places + 1).bit_length() - 2,
        columns=len(borders.values),
        objective=objective,
        names=borders.names,
        missing="forbid" if borders.missing == "forbid" else "learn",
        heap=True,
    )


def of_oblivious(of):
    """The Forest of an Ensemble: a level's question is asked in each of its nodes, which share its gain."""
    size, depth = of.feature.shape
    level = np.repeat(np.arange(depth), 2 ** np.arange(depth))
    mirrored = np.zeros(2**depth, int)  # of each leaf from left to right, whose first answer is its highest bit
    for d in range(depth):
        mirrored |= (np.arange(2**depth) >> d & 1) << (depth - 1 - d)

    def of_level(x, share=1):
        return None if x is None else (x[:, level] * share)[:, None]

    def of_leaves(x):
        if x is None:
            return None
        return jnp.zeros((size, 1, 2 * 2**depth - 1, *x.shape[2:])).at[:, 0, -(2**depth) :].set(x[:, mirrored])

    splits = (of_level(of.feature), of_level(of.threshold), of_level(of.missing_right), of_level(of.gain, 0.5**level))
    trees = Trees(*splits, of_leaves(of.leaves), of_leaves(of.cover), None)
    return collect(trees, ensemble.borders_of(of), of.start, of.objective)


def heaped(of):
    """The same Forest with its nodes as in a heap, if it is no deeper than DENSE: rows walk it fastest then."""
    if of.heap or of.depth > DENSE:
        return of
    places = np.arange(2 ** (of.depth + 1) - 1)
    node = np.full((*of.left.shape[:2], len(places)), -1)  # the one in each place, or -1
    node[..., 0], left = 0, np.asarray(of.left)
    for i in places[: len(places) // 2]:
        at = node[..., i, None]
        child = np.where(at >= 0, np.take_along_axis(left, at, 2), 0)
        node[..., 2 * i + 1 : 2 * i + 3] = np.where(child > 0, child + [0, 1], -1)

    def moved(x):
        at, used = (a.reshape(a.shape + (1,) * (x.ndim - 3)) for a in (node, node >= 0))
        return jnp.asarray(np.where(used, np.take_along_axis(np.asarray(x), at, 2), 0).astype(x.dtype))

    fields = jax.tree.map(moved, {name: getattr(of, name) for name in OF_TREES})
    fields["left"] = jnp.where(fields["left"] > 0, jnp.asarray(2 * places + 1, jnp.int32), 0)
    return dataclasses.replace(of, heap=True, **fields)


def encode(of, x):
    """[2 F, R] int32 in the order of x [R, F]: its columns with what is missing below all numbers, then above them."""
    x = x.astype(jnp.float32).T
    ends = (-ensemble.ABOVE, ensemble.ABOVE - 1)
    return jnp.concatenate([jnp.where(jnp.isnan(x), end, ensemble.ordered(x)) for end in ends])


def prepared(of):
    """What `walk` reads, arrays [T, J, ...]: rows of `encode` that nodes ask, borders, left children, values.

    A leaf's border is above all numbers. In a heap values sink to the lowest level, where all walks end; elsewhere a
    leaf is its own left child.
    """
    inner = of.left > 0
    column = of.feature + of.columns * of.missing_right
    border = jnp.where(inner, ensemble.ordered(of.border), ensemble.ABOVE)
    if not _is_dense(of):
        return column, border, jnp.where(inner, of.left, jnp.arange(inner.shape[2], dtype=jnp.int32)), of.value
    value, last = of.value, 2**of.depth - 1
    for d in range(of.depth):
        value = value.at[:, :, 2 ** (d + 1) - 1 : 2 ** (d + 2) - 1 : 2].add(value[:, :, 2**d - 1 : 2 ** (d + 1) - 1])
    return column[:, :, :last], border[:, :, :last], None, value[:, :, last:]


def walk(of, trees, rows):
    """[R, K] that a round, one of `prepared`, adds to rows [2 F, R]."""
    tree = _ask_all if _is_dense(of) else _ask_on_the_way
    if trees[0].shape[0] == 1:
        return tree(of, *jax.tree.map(lambda x: x[0], trees), rows)
    return lax.map(lambda one: tree(of, *one, rows)[:, 0], trees).T


def _ask_all(of, column, border, _, value, rows):
    single, last = value.shape[1] == 1, 2**of.depth - 1
    ends = value[:, 0] if single else jnp.arange(len(value), dtype=jnp.int32)

    def below(i):
        if i >= last:
            return ends[i - last]
        answer = ASKS[of.side](lax.dynamic_index_in_dim(rows, column[i], keepdims=False), border[i])
        return jnp.where(answer, below(2 * i + 2), below(2 * i + 1))

    found = jnp.broadcast_to(below(0), rows.shape[1])
    return found[:, None] if single else value.at[found].get(mode="promise_in_bounds")


def _ask_on_the_way(of, column, border, left, value, rows):
    row = jnp.arange(rows.shape[1], dtype=jnp.int32)

    def at(x, *place):
        return x.at[place].get(mode="promise_in_bounds")

    def step(_, node):
        return at(left, node) + ASKS[of.side](at(rows, at(column, node), row), at(border, node))

    return at(value, lax.fori_loop(0, of.depth, step, jnp.zeros_like(row)))


def _is_dense(of):
    return of.heap and of.depth <= DENSE


def _passed(cover):
    """Covers [T, J, M] of all nodes from those of the leaves of a heap."""
    for d in reversed(range((cover.shape[2] + 1).bit_length() - 2)):
        places, children = (slice(2**e - 1, 2 ** (e + 1) - 1) for e in (d, d + 1))
        cover = cover.at[:, :, places].add(cover[:, :, children].reshape(*cover.shape[:2], -1, 2).sum(-1))
    return cover
