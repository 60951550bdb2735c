"""LogitBoost (Friedman, Hastie & Tibshirani 2000, algorithm 3): Newton steps on the log-loss by any weak regressor.

A row's weight p (1 - p) has a greatest value, where AdaBoost's exp(-y f) has none: wrong labels pull less.
"""

import jax
import jax.numpy as jnp
from jax import lax

from research.trees.adaboost import Stages, State, joined, split, total

GREATEST = 4.0  # of |z|, as the paper advises


def init(rows):
    """The State before the first stage, whose "w" are scores F of so many rows."""
    return State(jnp.zeros((2, rows), jnp.float32), jnp.bool_(True), jnp.float32(1), jnp.int32(0))


def boost(weak, x, y, num_stages, key, *, rate=1.0, state=None):
    """(State, Stages): num_stages more after `state`, or from the start, for labels y [N] of 0 and 1.

    A stage f is fitted to z = (y - p) / (p (1 - p)) with weights p (1 - p), p = 1 / (1 + exp(-2 F)), and weighs rate /
    2 in F. error is the share of rows that F gets wrong, bound its mean exponential loss.
    """
    sign = 2.0 * y - 1

    def step(state, _):
        score = joined(state.w)
        p, half = jax.nn.sigmoid(2 * score), rate / 2
        w = jnp.maximum(p * (1 - p), jnp.finfo(jnp.float32).eps ** 2)
        z = jnp.clip((y - p) / w, -GREATEST, GREATEST)
        params = weak.fit(jax.random.fold_in(key, state.stage), x, z, w / total(w))
        score = score + half * weak.predict(params, x)
        wrong, loss = (total(a.astype(score.dtype)) / len(y) for a in ((score > 0) != (y > 0), jnp.exp(-sign * score)))
        state = State(split(score), state.going, loss.astype(jnp.float32), state.stage + 1)
        return state, Stages(params, jnp.float32(half), wrong.astype(jnp.float32), state.bound, jnp.bool_(True))

    state = init(len(y)) if state is None else state
    return lax.scan(step, state, None, num_stages)
