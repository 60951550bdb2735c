"""Boosting: blocks of trees as one program, on one device or with rows or features spread over a mesh.

A block is traced and called under `jax.enable_x64`; nothing of 64 bits enters or leaves it.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

from research.errors import UserError
from research.trees import histogram, leaves, oblivious


class Options(NamedTuple):
    """How an ensemble grows. Floats may be traced."""

    tree: oblivious.Options = oblivious.Options()
    rate: float = 0.03
    leaf_method: str = "gradient"  # of leaves.leaf_values
    leaf_iterations: int = 1
    hessian_score: bool = False  # Newton's score: Hessians in the place of weights, and l2 as it is
    row_share: float = 1.0  # rows drawn for each tree's splits; its leaves see all rows
    temperature: float = 0.0  # of CatBoost's Bayesian bootstrap: weights (-log u)^temperature


class State(NamedTuple):
    """Where boosting stands: score [N, K] f32, key data, and the number of trees so far."""

    score: jax.Array
    key: jax.Array
    tree: jax.Array


class Trees(NamedTuple):
    """oblivious.Tree's arrays [T, D]; leaves [T, 2^D, K], times the rate; cover [T, 2^D], the weight of their rows;
    loss [T], the mean after each tree."""

    feature: jax.Array
    threshold: jax.Array
    missing_right: jax.Array
    gain: jax.Array
    leaves: jax.Array
    cover: jax.Array
    loss: jax.Array


def init(y, w, objective, key):
    """State before the first tree: scores at the objective's start."""
    start = jnp.asarray(objective.start(y, w), jnp.float32)
    return State(jnp.broadcast_to(start, (len(y), start.size)), jax.random.key_data(key), jnp.int32(0))


def boost(codes, counts, y, w, objective, options, key, num_trees, state=None, *, mesh=None, kind="rows"):
    """(State, Trees): num_trees more trees after `state`, or from the start; the same for any division into calls.

    codes [F, N] and counts [F] from `binning`; y [N, ...]; w [N] or None. A mesh of one axis spreads "rows" or
    "features"; with exact sums this changes no bit. Raises UserError for a mesh of several axes.
    """
    if mesh is not None and len(mesh.axis_names) != 1:
        raise UserError(f"trees spread over a mesh of one axis, not {mesh.axis_names}: make one for them.")
    num_bins = int(max(counts)) + 1
    with jax.enable_x64(True):
        state = init(y, w, objective, key) if state is None else state
        run = compiled(objective, options, num_trees, num_bins, mesh, kind)
        return run(codes, jnp.asarray(counts, jnp.int32), y, w, state)


@functools.lru_cache(maxsize=64)
def compiled(objective, options, num_trees, num_bins, mesh, kind):
    """`block` under jit, kept for the next call."""

    def run(codes, counts, y, w, state):
        return block(codes, counts, y, w, objective, options, state, num_trees, num_bins=num_bins, mesh=mesh, kind=kind)

    return jax.jit(run)


def block(codes, counts, y, w, objective, options, state, num_trees, *, num_bins, mesh=None, kind="rows"):
    """What `boost` compiles: (State, Trees) of num_trees trees with codes below num_bins. Pure; may be vmapped."""
    num_rows = len(y)
    run = functools.partial(grow, objective=objective, options=options, num_bins=num_bins, num_rows=num_rows)
    if mesh is None or mesh.size == 1:
        return run(codes, counts, y, w, None, state, jnp.arange(num_trees))
    axis, by_rows = mesh.axis_names[0], kind == "rows"
    more_features, more_rows = -len(codes) % mesh.size, -num_rows % mesh.size if by_rows else 0

    def longer(x):
        return jnp.pad(x, [(0, more_rows)] + [(0, 0)] * (x.ndim - 1), mode="edge")

    codes, counts = jnp.pad(codes, ((0, more_features), (0, more_rows))), jnp.pad(counts, (0, more_features))
    valid = jnp.arange(num_rows + more_rows) < num_rows if more_rows else None
    rows = P(axis) if by_rows else P()
    of_state = State(rows, P(), P())
    run = jax.shard_map(
        functools.partial(run, shards=oblivious.Shards(axis, mesh.size, kind)),
        mesh=mesh,
        in_specs=(P(None, axis) if by_rows else P(axis), P(), rows, rows, rows, of_state, P()),
        out_specs=(of_state, P()),
        check_vma=False,
    )
    y, w, score = jax.tree.map(longer, (y, w, state.score))
    state, trees = run(codes, counts, y, w, valid, state._replace(score=score), jnp.arange(num_trees))
    return state._replace(score=state.score[:num_rows]), trees


def grow(codes, counts, y, w, valid, state, trees, *, objective, options, num_bins, num_rows, shards=None):
    """(State, Trees) of `trees` [T] more trees on this device's part of the rows or features; valid: no padding."""
    axis = shards.axis if shards and shards.kind == "rows" else None
    key = jax.random.wrap_key_data(state.key)
    pairs = histogram.pairs(codes, num_bins)

    def only_valid(x):  # [N, ...]; what padding would say may not even set the scale of a sum
        return x if valid is None else jnp.where(valid.reshape(-1, *[1] * (x.ndim - 1)), x, 0)

    real = only_valid(jnp.ones(len(y), jnp.float32) if w is None else w)
    weight = histogram.total(real[:, None], num_rows, axis)[0]
    l2 = (options.tree.l2 * weight / num_rows).astype(jnp.float32)  # as CatBoost scales it

    def own(x):
        """Of draws for all rows [num_rows], those of this device."""
        if axis is None:
            return x
        x = jnp.pad(x, (0, len(y) * shards.count - num_rows))
        return lax.dynamic_slice_in_dim(x, lax.axis_index(axis) * len(y), len(y))

    def leaf_total(x, leaf, num_leaves):
        sums = histogram.leaf_total(only_valid(x).reshape(len(y), -1), leaf, num_leaves, num_rows, axis)
        return sums.reshape(num_leaves, *x.shape[1:]).astype(jnp.float32)

    def leaf_values(score, leaf):
        rows, sums = (score, y, w if valid is None else real, leaf), {"total": leaf_total}
        if options.leaf_method == "exact" and axis is not None:  # a median takes all rows
            rows, sums = jax.tree.map(lambda x: lax.all_gather(x, axis, tiled=True), rows), {}
        rest = (2**options.tree.depth, l2, options.leaf_method, options.leaf_iterations)
        return leaves.leaf_values(objective, *rows, *rest, **sums)

    def step(state, _):
        rows_key, tree_key = jax.random.split(jax.random.fold_in(key, state.tree))
        g, h = jax.tree.map(only_valid, objective.gradients(state.score, y, w))
        weights, sample = h if options.hessian_score else None if w is None else w[:, None], valid
        if not oblivious.off(options.row_share, 1):
            sample = own(jax.random.uniform(rows_key, (num_rows,), jnp.float32) < options.row_share)
        elif not oblivious.off(options.temperature, 0):
            draws = own(jax.random.exponential(rows_key, (num_rows,), jnp.float32) ** options.temperature)[:, None]
            g, weights = g * draws, draws if weights is None else weights * draws
        tree, leaf = oblivious.grow(
            codes,
            counts,
            g,
            weights,
            options.tree if options.hessian_score else options.tree._replace(l2=l2),
            tree_key,
            num_bins=num_bins,
            num_rows=num_rows,
            sample=sample,
            noise=jax.nn.sigmoid(jnp.log(num_rows) - state.tree * options.rate),  # CatBoost's: less as the model grows
            shards=shards,
            pairs=pairs,
        )
        values = leaf_values(state.score, leaf) * options.rate
        score = state.score + values[leaf]
        loss = only_valid(jax.vmap(objective.loss)(score, y)) * real
        loss = histogram.total(loss[:, None], num_rows, axis)[0] / weight
        cover = leaf_total(real, leaf, len(values))
        return State(score, state.key, state.tree + 1), Trees(*tree, values, cover, loss.astype(jnp.float32))

    return lax.scan(step, state, trees)
