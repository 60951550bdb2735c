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
from research.trees import exact, levelwise, oblivious, rounds


class Options(NamedTuple):
    """How an ensemble grows. Floats may be traced."""

    tree: oblivious.Options | levelwise.Options = oblivious.Options()
    rate: float = 0.03
    leaf_method: str = "gradient"  # of leaves.leaf_values
    leaf_iterations: int = 1
    hessian_score: bool = False  # Newton's score: Hessians in the place of weights, and l2 as it is
    per_output: bool = False  # a tree for each output instead of one whose leaves hold all; of levelwise trees
    row_share: float = 1.0  # rows drawn for each tree's splits
    temperature: float = 0.0  # of CatBoost's Bayesian bootstrap: weights (-log u)^temperature
    mvs: bool = False  # row_share by minimal variance sampling: rows with great gradients more often
    parallel: int = 1  # trees a round, grown on the same gradients, each with its part of the rate


class State(NamedTuple):
    """Where boosting stands: score [N, K] f32, key data, and the number of trees so far."""

    score: jax.Array
    key: jax.Array
    tree: jax.Array


class Trees(NamedTuple):
    """oblivious.Tree's arrays [T, D]; leaves [T, 2^D, K], times the rate; cover [T, 2^D], the weight of their rows;
    loss [T], the mean after each tree.

    Of levelwise trees, J a round (1, or per output K): levelwise.Tree's arrays [T, J, 2^D - 1]; leaves
    [T, J, 2^(D + 1) - 1, K / J] and cover [T, J, 2^(D + 1) - 1] of all places of the heap, 0 where no row rests; with
    hessian_score cover sums Hessians, over a tree's outputs. On sorted columns thresholds are borders, f32.

    With P trees a round all arrays but loss have P entries for each of it.
    """

    feature: jax.Array
    threshold: jax.Array
    missing_right: jax.Array
    gain: jax.Array
    leaves: jax.Array
    cover: jax.Array
    loss: jax.Array


def init(y, w, objective, key):
    """State before the first tree: scores at the objective's start, of sums of 64 bits where those are enabled."""
    wide = jax.tree.map(lambda x: x if x.dtype.kind in "biu" else jnp.asarray(x, jnp.result_type(float)), (y, w))
    start = jnp.asarray(objective.start(*wide), jnp.float32)
    return State(jnp.broadcast_to(start, (len(y), start.size)), jax.random.key_data(key), jnp.int32(0))


def boost(codes, counts, y, w, objective, options, key, num_trees, state=None, *, mesh=None, kind="rows"):
    """(State, Trees): num_trees more trees after `state`, or from the start; the same for any division into calls.

    codes [F, N] and counts [F] from `binning`, or where the tree's cuts are not given both from exact.columns; y
    [N, ...]; w [N] or None. A mesh of one axis spreads "rows" or "features" of codes; with exact sums this changes no
    bit. Raises UserError for a mesh of several axes, and for one that sorted columns should spread over.
    """
    check_mesh(mesh)
    is_sorted = isinstance(codes, exact.Columns)
    if is_sorted and mesh is not None and mesh.size > 1:
        raise UserError(f"trees on sorted columns grow on one device, not {mesh.size}: take tree_method 'hist'.")
    num_bins = 0 if is_sorted else int(max(counts)) + 1
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
    filled = 0 if by_rows else more_features  # of rows the sums are filled up, which takes no time to make

    def longer(x):
        return jnp.pad(x, [(0, more_rows)] + [(0, 0)] * (x.ndim - 1), mode="edge")

    codes, counts = jnp.pad(codes, ((0, filled), (0, more_rows))), jnp.pad(counts, (0, more_features))
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
    shared = {"objective": objective, "options": options, "num_bins": num_bins, "num_rows": num_rows, "shards": shards}
    part = rounds.part(codes, counts, y, w, valid, **shared)
    key = jax.random.wrap_key_data(state.key)

    def step(state, _):
        keys = jax.random.split(jax.random.fold_in(key, state.tree))
        gradients = jax.tree.map(lambda x: rounds.only_valid(part, x), objective.gradients(state.score, y, w))

        def another(added, number):
            more, found = rounds.grow(part, state, *gradients, *(jax.random.fold_in(k, number) for k in keys))
            return added + more, found

        if options.parallel > 1:
            added, found = lax.scan(another, jnp.zeros_like(state.score), jnp.arange(options.parallel))
        else:
            added, found = rounds.grow(part, state, *gradients, *keys)
        score = state.score + added
        return State(score, state.key, state.tree + 1), Trees(*found, rounds.mean_loss(part, score))

    state, found = lax.scan(step, state, trees)
    if options.parallel > 1:
        found = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found._replace(loss=None))._replace(loss=found.loss)
    return state, found


def check_mesh(mesh):
    """Raises UserError for a mesh of several axes."""
    if mesh is not None and len(mesh.axis_names) != 1:
        raise UserError(f"trees spread over a mesh of one axis, not {mesh.axis_names}: make one for them.")
