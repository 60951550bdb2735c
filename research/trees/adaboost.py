"""AdaBoost with any weak learner, as one scan over stages: classes by weights or by probabilities, and numbers.

Why a stage weighs log((1 - e) / e) / 2: added to f with weight a it changes the mean exponential loss by the factor
(1 - e) exp(-a) + e exp(a), which is least there, and is then 2 sqrt(e (1 - e)): the product of these bounds the
training error (Freund & Schapire 1997; Friedman, Hastie & Tibshirani 2000).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from research.errors import UserError, nearest
from research.trees import histogram


class Weak(NamedTuple):
    """A weak learner: two pure functions that jit. x is whatever they agree on, such as codes [F, N] (see weak.py)."""

    fit: Callable  # (key, x, y [N], w [N], of sum 1) -> params
    predict: Callable  # (params, x) -> [N] labels int32; [N, K] probabilities for "samme.r"; [N] numbers for `boost_r2`


class State(NamedTuple):
    """Where boosting stands: the rows' weights, of 64 bits where those are enabled, as the sum of two f32."""

    w: jax.Array  # [2, N] f32; of `logit_boost` the scores
    going: jax.Array  # [] bool
    bound: jax.Array  # [] f32
    stage: jax.Array  # [] int32, how many there were


class Stages(NamedTuple):
    """T stages; those after the last that counts have weight 0 and are not `used`."""

    params: object  # of the weak learners, each array with a leading axis T
    weight: jax.Array  # [T] f32: alpha of the papers
    error: jax.Array  # [T] f32: the weak learner's on the weighted rows
    bound: jax.Array  # [T] f32: of two classes, on the weighted share of training rows that the first stages get wrong
    used: jax.Array  # [T] bool


ALGORITHMS = ("adaboost", "samme", "samme.r")


def init(rows, w=None):
    """The State before the first stage of so many rows, of weights w [N], equal ones by default."""
    w = jnp.full(rows, 1 / rows, float) if w is None else jnp.asarray(w, float) / total(jnp.asarray(w, float))
    return State(split(w), jnp.bool_(True), jnp.float32(1), jnp.int32(0))


def boost(weak, x, y, classes, num_stages, key, *, algorithm="adaboost", rate=1.0, w=None, resample=False, state=None):
    """(State, Stages): num_stages more after `state`, or from the start, the same for any division into calls.

    y [N] are labels, int32 below `classes`; w [N] weights of rows, equal ones by default.
    "adaboost" is that of two classes, with weight rate log((1 - e) / e) / 2; "samme" rate (log((1 - e) / e)
    + log(K - 1)), "samme.r" takes probabilities and weighs all alike (Zhu, Zou, Rosset & Hastie 2009). It ends with a
    stage that makes no error, which gets weight 1, and before one that is no better than chance. resample: learners see
    as many rows, drawn by their weights, by how often each was drawn. Raises UserError for options that cannot be.
    """
    if algorithm not in ALGORITHMS:
        raise UserError(f"the algorithm is '{algorithm}'; {nearest(algorithm, ALGORITHMS)}")
    if algorithm == "adaboost" and classes != 2:
        raise UserError(f"y has {classes} classes and 'adaboost' takes two; use 'samme' or 'samme.r'.")
    real = algorithm == "samme.r"

    def stage(params, w):
        """(error, weight, new weights, their sum) of a fitted learner."""
        found = weak.predict(params, x)
        miss = (found.argmax(-1) if real else found) != y
        error = part(w * miss)
        if real:
            log_p = jnp.log(jnp.clip(found, jnp.finfo(found.dtype).eps))
            own = jnp.take_along_axis(log_p, y[:, None], 1)[:, 0]
            grown = w * jnp.exp(-rate * (classes - 1) / classes * (own - (log_p.sum(1) - own) / (classes - 1)))
            return error, jnp.float32(1), grown, total(grown)
        odds = jnp.log((1 - error) / error)
        weight = rate * (odds / 2 if algorithm == "adaboost" else odds + jnp.log(classes - 1.0))
        weight = jnp.where(error > 0, weight, 1)
        half = weight if algorithm == "adaboost" else weight / 2
        more, less = jnp.exp(half), jnp.exp(-half)
        return error, weight, w * jnp.where(miss, more, less), error * more + (1 - error) * less

    def limit(error):
        return error < 1 - 1 / classes

    state = init(len(y), w) if state is None else state
    return _scan(weak, x, y, num_stages, key, state, resample, stage, limit)


LOSSES = {"linear": lambda e: e, "square": lambda e: e**2, "exponential": lambda e: 1 - jnp.exp(-e)}


def boost_r2(weak, x, y, num_stages, key, *, loss="linear", rate=1.0, w=None, resample=True, state=None):
    """(State, Stages) for numbers y [N]: AdaBoost.R2 (Drucker 1997), weight rate log((1 - L) / L) with the mean loss L.

    loss: one of LOSSES, of errors as shares of the largest. resample as in `boost`; an array [T, N] of how often rows
    are drawn for each stage takes the place of drawing. Raises UserError for an unknown loss.
    """
    if loss not in LOSSES:
        raise UserError(f"the loss is '{loss}'; {nearest(loss, LOSSES)}")

    def stage(params, w):
        away = jnp.abs(weak.predict(params, x) - y) * (w > 0)
        share = LOSSES[loss](away / jnp.maximum(away.max(), jnp.finfo(away.dtype).tiny))
        mean = part(w * share)
        odds = jnp.log((1 - mean) / mean)
        grown = w * jnp.exp(-odds * (1 - share) * rate)
        return mean, jnp.where(mean > 0, rate * odds, 1), grown, total(grown)

    state = init(len(y), w) if state is None else state
    return _scan(weak, x, y, num_stages, key, state, resample, stage, lambda error: error < 0.5)


def total(x):
    """The sum of x [N], of 64 bits with bits that do not depend on the program around it."""
    return histogram.total(x[:, None], len(x))[0] if x.dtype == jnp.float64 else jnp.sum(x)


def part(x):
    """`total` of what is at most 1 in all, such as some rows' weights."""
    return jnp.sum(jnp.round(x * 2.0**60).astype(jnp.int64)) * 2.0**-60 if x.dtype == jnp.float64 else jnp.sum(x)


def split(x):
    """[2, N] f32 whose sum is x [N] to 48 bits: what a State keeps."""
    high = x.astype(jnp.float32)
    return jnp.stack([high, (x - high).astype(jnp.float32)])


def joined(parts):
    """[N], of 64 bits where those are enabled, of what `split` made."""
    return jnp.asarray(parts, float).sum(0)


def _scan(weak, x, y, num_stages, key, state, resample, stage, limit):
    drawn = None if isinstance(resample, bool) else jnp.asarray(resample, float)

    def fit(t, w):
        key_draw, key_fit = jax.random.split(jax.random.fold_in(key, t))
        if drawn is not None:
            w = drawn[t] / drawn[t].sum()
        elif resample:
            rows = jnp.searchsorted(jnp.cumsum(w), jax.random.uniform(key_draw, w.shape, w.dtype) * jnp.sum(w))
            w = jnp.zeros_like(w).at[jnp.minimum(rows, len(w) - 1)].add(1 / len(w))
        return weak.fit(key_fit, x, y, w)

    @jax.jit  # so that it is traced once
    def learn(state):
        w, first = joined(state.w), state.stage == 0
        params = fit(state.stage, w)
        error, weight, grown, factor = stage(params, w)
        perfect, useful = error <= 0, limit(error)
        goes_on = useful & ~perfect
        w = jnp.where(goes_on, split(grown / jnp.where(goes_on, factor, 1)), state.w)
        bound = state.bound * jnp.where(useful, jnp.where(first & perfect, 0, factor), 1).astype(jnp.float32)
        weight = jnp.where(useful, weight, jnp.where(first, 1, 0))
        numbers = (x.astype(jnp.float32) for x in (weight, error))
        return State(w, goes_on, bound, state.stage + 1), (params, *numbers, useful | first)

    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(learn, state)[1])

    def step(state, _):
        state, (*found, used) = lax.cond(state.going, learn, lambda state: (state, nothing), state)
        return state, Stages(*found, state.bound, used)

    return lax.scan(step, state, None, num_stages)


def votes(weak, params, x, classes, algorithm):
    """[N, K] what one stage says, to be summed with its weight: 1 for its label, or "samme.r"'s centred logs."""
    found = weak.predict(params, x)
    if algorithm == "samme.r":
        log_p = jnp.log(jnp.clip(found, jnp.finfo(found.dtype).eps))
        return (classes - 1) * (log_p - log_p.mean(1, keepdims=True))
    return jax.nn.one_hot(found, classes)


def decide(weak, stages, x, classes, algorithm="adaboost"):
    """[N, K] sums of votes by weight over all stages; the class is where it is greatest."""

    def add(total, stage):
        params, weight = stage
        return total + weight * votes(weak, params, x, classes, algorithm), None

    params = jax.tree.map(lambda p: p[0], stages.params)
    start = jnp.zeros(jax.eval_shape(lambda x: votes(weak, params, x, classes, algorithm), x).shape)
    return lax.scan(add, start, (stages.params, stages.weight))[0]


def margins(decision, y):
    """[N] in [-1, 1]: the share of votes for y [N], less the greatest share of another (Schapire et al. 1998)."""
    share = decision / decision.sum(1, keepdims=True)
    own = jnp.take_along_axis(share, y[:, None], 1)[:, 0]
    return own - jnp.where(jax.nn.one_hot(y, share.shape[1], dtype=bool), -jnp.inf, share).max(1)


def median(weak, stages, x):
    """[N] the weighted median of the stages' numbers, as AdaBoost.R2 predicts."""
    found = lax.map(lambda params: weak.predict(params, x), stages.params)
    order = jnp.argsort(found, axis=0)
    below = jnp.cumsum(stages.weight[order], axis=0)
    at = jnp.argmax(below >= 0.5 * below[-1:], axis=0)
    return jnp.take_along_axis(found, jnp.take_along_axis(order, at[None], 0), 0)[0]
