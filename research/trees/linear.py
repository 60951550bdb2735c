"""Boosted linear functions: coordinate descent with an elastic net, as XGBoost's gblinear. Entry points: init, boost.

A round takes slope and curvature of the loss at the present scores and goes once through the columns, each to the
least of the quadratic in its own weight (Friedman, Hastie & Tibshirani 2010), times the rate. XGBoost's penalties are
those of a mean loss, so they are multiplied by the sum of the rows' weights.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

LEAST_CURVATURE = 1e-5  # below it XGBoost lets a weight be


class Options(NamedTuple):
    """How weights move. All may be traced."""

    rate: float = 0.5
    l2: float = 0.0
    l1: float = 0.0


class Linear(NamedTuple):
    """weights [F, K] and bias [K] f32 of a linear function of the columns; a missing value counts as 0."""

    weights: jax.Array
    bias: jax.Array


def init(columns, start):
    """Linear before the first round: scores are start [K] everywhere. columns: [F, N]."""
    start = jnp.asarray(start, jnp.float32)
    return Linear(jnp.zeros((len(columns), start.size), jnp.float32), start)


def predict(linear, columns):
    """[N, K] scores of columns [F, N], in float32."""
    return jnp.dot(known(columns).T, linear.weights, precision="highest") + linear.bias


def known(columns):
    """float32 columns with 0 where values are missing."""
    columns = jnp.asarray(columns, jnp.float32)
    return jnp.where(jnp.isnan(columns), 0, columns)


def boost(linear, columns, y, w, objective, options, num_rounds):
    """(Linear, loss [T]) after num_rounds more rounds on columns [F, N], y [N, ...] and weights w [N] or None.

    Pure and jittable; the mean loss is that after each round. Under jax.enable_x64 sums over rows have 64 bits.
    """
    columns, exact = known(columns), jnp.result_type(float)
    real = jnp.ones(len(y), jnp.float32) if w is None else w
    total = jnp.sum(real, dtype=exact)
    l1, l2 = options.l1 * total, options.l2 * total

    def change(weight, slope, curvature, l1, l2):
        """What brings one weight to its least, [K]; one that crosses 0 stops there."""
        g, h = slope + l2 * weight, curvature + l2
        down, up = -(g + l1) / h, -(g - l1) / h
        delta = jnp.where(weight - g / h >= 0, jnp.maximum(down, -weight), jnp.minimum(up, -weight))
        return jnp.where(curvature < LEAST_CURVATURE, 0, delta)

    def step(linear, _):
        minus, h = objective.gradients(predict(linear, columns), y, w)
        g = -minus.astype(exact)
        by_bias = -options.rate * g.sum(0) / jnp.maximum(h.sum(0, dtype=exact), LEAST_CURVATURE)
        g = g + h * by_bias

        def column(g, given):
            x, weight = given
            moved = h * x[:, None]
            curvature = jnp.sum(moved * x[:, None], 0, dtype=exact)
            delta = options.rate * change(weight.astype(exact), x.astype(exact) @ g, curvature, l1, l2)
            return g + moved * delta, (weight + delta).astype(jnp.float32)

        _, weights = lax.scan(column, g, (columns, linear.weights))
        linear = Linear(weights, (linear.bias + by_bias).astype(jnp.float32))
        loss = jax.vmap(objective.loss)(predict(linear, columns), y)
        return linear, (jnp.sum(loss * real, dtype=exact) / total).astype(jnp.float32)

    return lax.scan(step, linear, length=num_rounds)
