"""DART (Rashmi & Gilad-Bachrach 2015): each round forgets some of the trees, fits what is missing without them, and
weighs them and the new one so that together they do not overshoot. Names and weights are XGBoost's. Entry point: boost.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.errors import UserError, nearest
from research.trees import boosting, exact

NAMES = {"sample_type": ("uniform", "weighted"), "normalize_type": ("tree", "forest")}


class Options(NamedTuple):
    """Which trees a round drops, and how it weighs; all static."""

    rate_drop: float = 0.0  # the share of them
    one_drop: bool = False  # at least one
    skip_drop: float = 0.0  # the share of rounds that drop none
    sample_type: str = "uniform"  # or "weighted", in proportion to their weights
    normalize_type: str = "tree"  # the new tree weighs as each of the dropped ones; "forest": as all of them


class State(NamedTuple):
    """score, key and tree of boosting.State; of T rounds of J trees, weights [T, J] and what they add [T, N, K]."""

    score: jax.Array
    key: jax.Array
    tree: jax.Array
    weights: jax.Array
    added: jax.Array


def check(how, options):
    """Raises UserError for options that are unknown or out of bounds, or for several trees a round."""
    for name, known in NAMES.items():
        if getattr(how, name) not in known:
            raise UserError(f"{name} is '{getattr(how, name)}'; {nearest(getattr(how, name), known)}")
    for name in ("rate_drop", "skip_drop"):
        if not 0 <= getattr(how, name) <= 1:
            raise UserError(f"{name} is {getattr(how, name)}; it must be from 0 to 1.")
    if options.parallel > 1:
        raise UserError(f"num_parallel_tree is {options.parallel}; dart grows one tree a round: choose booster gbtree.")


def init(state, rounds, options):
    """State before the first of so many rounds, from a boosting.State."""
    outputs = state.score.shape[1]
    weights = jnp.zeros((rounds, outputs if options.per_output else 1), jnp.float32)
    return State(*state, weights, jnp.zeros((rounds, *state.score.shape), jnp.float32))


def boost(codes, counts, y, w, objective, options, how, num_trees, state):
    """(State, boosting.Trees, weights [num_trees, T, J] after each) of so many more rounds; on one device.

    The first six arguments are those of boosting.boost. Leaves of Trees are not weighed: the score is the start and the
    sum of all trees times the last weights.
    """
    num_bins = 0 if isinstance(codes, exact.Columns) else int(max(counts)) + 1
    with jax.enable_x64(True):
        run = compiled(objective, options, how, num_trees, num_bins)
        return run(codes, jnp.asarray(counts, jnp.int32), y, w, state)


@functools.lru_cache(maxsize=64)
def compiled(objective, options, how, num_trees, num_bins):
    """Rounds under jit, kept for the next call."""

    def run(codes, counts, y, w, state):
        rest = {"objective": objective, "options": options, "num_bins": num_bins, "num_rows": len(y)}

        def step(now, _):
            key = jax.random.fold_in(jax.random.wrap_key_data(now.key), now.tree)
            dropped = drawn(jax.random.fold_in(key, 1), now, how)
            lost = (jnp.where(dropped, now.weights, 0)[:, None] * now.added).sum(0)
            before = boosting.State(now.score - lost, now.key, now.tree)
            after, trees = boosting.grow(codes, counts, y, w, None, before, jnp.arange(1), **rest)
            own, others = shares(dropped.sum(), options.rate / now.weights.shape[1], how)
            more = after.score - before.score
            score = (after.score + (own - 1) * more + others * lost).astype(jnp.float32)
            weights = jnp.where(dropped, now.weights * others, now.weights).at[now.tree].set(own)
            loss = jnp.average(jax.vmap(objective.loss)(score, y).astype(jnp.float64), weights=w)
            trees = trees._replace(loss=loss.astype(jnp.float32)[None])
            return State(score, *after[1:], weights.astype(jnp.float32), now.added.at[now.tree].set(more)), (
                trees,
                weights.astype(jnp.float32),
            )

        state, (trees, weights) = jax.lax.scan(step, state, length=num_trees)
        return state, jax.tree.map(lambda x: x[:, 0], trees), weights

    return jax.jit(run)


def drawn(key, state, how):
    """Mask [T, J] of the trees that a round drops."""
    skip_key, key, one_key = jax.random.split(key, 3)
    shape = state.weights.shape
    there = jnp.broadcast_to(jnp.arange(shape[0])[:, None] < state.tree, shape)
    chance = jnp.where(there, state.weights if how.sample_type == "weighted" else 1, 0.0)
    mean = chance.sum() / jnp.maximum(there.sum(), 1)
    dropped = there & (jax.random.uniform(key, shape, jnp.float32) * mean < how.rate_drop * chance)
    if how.one_drop:
        one = jax.random.categorical(one_key, jnp.log(chance.reshape(-1)))
        dropped |= there & ~dropped.any() & (jnp.arange(there.size) == one).reshape(shape)
    return dropped & (jax.random.uniform(skip_key, (), jnp.float32) >= how.skip_drop)


def shares(dropped, rate, how):
    """(weight of the new trees, what those of the dropped ones are multiplied by); 1 and 1 where none is dropped.

    A new tree takes a step of `rate` towards what the k dropped ones gave, so together they would give 1 + rate of it,
    or one by one 1 + rate / k (section 3 of the paper, where rate is 1).
    """
    count = jnp.maximum(dropped, 1)
    if how.normalize_type == "forest":
        own = others = 1 / (1 + rate)
    else:
        own, others = 1 / (count + rate), count / (count + rate)
    return jnp.where(dropped > 0, own, 1.0), jnp.where(dropped > 0, others, 1.0)
