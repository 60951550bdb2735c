"""Rosenblatt's perceptron: a threshold unit taught by its mistakes (Rosenblatt 1958), in primal and dual form."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError
from research.nets.activations import sign


class Fit(NamedTuple):
    """A separator and how it was found; w = learning_rate sum_i alpha_i y_i x_i, b the same without x."""

    w: jax.Array  # [D]
    b: jax.Array  # []
    mistakes: jax.Array  # [] updates in all
    passes: jax.Array  # [] passes over the data, the last one included
    converged: jax.Array  # [] bool: the last pass had no mistake
    alpha: jax.Array  # [N] updates at each example


def _known(*values):
    return not any(isinstance(value, jax.core.Tracer) for value in values)


def _checked(x, y, passes, learning_rate):
    """x and y in floating point, once they are found fit to learn from; values are looked at where they are known."""
    x, y = jnp.asarray(x), jnp.asarray(y)
    if x.ndim != 2 or y.shape != x.shape[:1] or x.shape[0] == 0:
        raise UserError(f"a perceptron learns from x [N, D] and y [N], not from shapes {x.shape} and {y.shape}.")
    if _known(x) and not np.isfinite(x).all():
        raise UserError("a perceptron's x holds values that are not finite; drop or fill those examples.")
    if _known(y) and not np.isin(y, (-1, 1)).all():
        raise UserError(f"a perceptron's y is -1 or +1, not {np.unique(y)[:5].tolist()}; map the two classes to those.")
    if _known(passes, learning_rate) and not (passes > 0 and learning_rate > 0):
        raise UserError(f"a perceptron needs passes > 0 and learning_rate > 0, not {passes} and {learning_rate}.")
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return x.astype(dtype), y.astype(dtype)


def _visit(visit, state, examples, passes):
    """(state, alpha [N], passes done, converged) of visiting the examples in order until a pass has no mistake.

    visit(state, example) -> (state, whether it was a mistake).
    """

    def one_pass(carry):
        state, alpha, done, _ = carry
        state, wrong = jax.lax.scan(visit, state, examples)
        return state, alpha + wrong, done + 1, ~wrong.any()

    start = (state, jnp.zeros(len(examples[0]), jnp.int32), jnp.int32(0), jnp.array(False))
    return jax.lax.while_loop(lambda carry: (carry[2] < passes) & ~carry[3], one_pass, start)


@jax.jit
def _primal(x, y, passes, learning_rate):
    def visit(state, example):
        (w, b), (x_i, y_i) = state, example
        wrong = ~(y_i * (jnp.dot(x_i, w, precision="highest") + b) > 0)  # a NaN counts as wrong: it never converges
        step = jnp.where(wrong, learning_rate * y_i, 0)
        return (w + step * x_i, b + step), wrong

    start = jnp.zeros_like(x[0]), jnp.zeros_like(y[0])
    (w, b), alpha, done, converged = _visit(visit, start, (x, y), passes)
    return Fit(w, b, alpha.sum(), done, converged, alpha)


@jax.jit
def _dual(x, y, passes, learning_rate):
    gram = jnp.dot(x, x.T, precision="highest") + 1  # the 1 is the product of the constants that b multiplies

    def visit(alpha, example):
        i, gram_i = example
        wrong = ~(y[i] * jnp.dot(gram_i, alpha * y, precision="highest") > 0)
        return alpha.at[i].add(wrong.astype(jnp.int32)), wrong

    start = jnp.zeros(len(x), jnp.int32)
    _, alpha, done, converged = _visit(visit, start, (jnp.arange(len(x)), gram), passes)
    w = learning_rate * jnp.dot(alpha * y, x, precision="highest")
    return Fit(w, learning_rate * jnp.sum(alpha * y), alpha.sum(), done, converged, alpha)


def fit(x, y, *, passes=1000, learning_rate=1.0):
    """A Fit to x [N, D], y [N] in {-1, +1}: in order, w += learning_rate y x and b += learning_rate y at each mistake.

    A mistake is y (w.x + b) <= 0, from w = 0, b = 0. It ends after the first pass without one, at most `passes`.
    Raises UserError for shapes that do not fit and, where values are known, for other y, or x that is not finite.
    """
    return _primal(*_checked(x, y, passes, learning_rate), passes, learning_rate)


def fit_dual(x, y, *, passes=1000, learning_rate=1.0):
    """The Fit that `fit` finds, up to rounding, by the dual form: it learns alpha from the Gram matrix [N, N] alone."""
    return _dual(*_checked(x, y, passes, learning_rate), passes, learning_rate)


def predict(fit, x):
    """Classes -1 or +1 [...] of x [..., D]; the separator itself counts as +1."""
    return sign(jnp.dot(x, fit.w, precision="highest") + fit.b)


def bound(x, y, w, b):
    """(R / gamma)^2 [], which the mistakes of `fit` never exceed where (w [D], b []) separates x, y; else infinity.

    R is the greatest norm of (x, 1), gamma the least distance of (x, 1) to the separator (Novikoff 1962).
    """
    margin = jnp.min(y * (jnp.dot(x, w, precision="highest") + b))
    squared = jnp.max(jnp.sum(x**2, axis=-1) + 1) * (jnp.sum(w**2) + b**2)
    return jnp.where(margin > 0, squared / jnp.where(margin > 0, margin, 1) ** 2, jnp.inf)


def explain(fit):
    """How a Fit ended, in a sentence."""
    mistakes, passes = int(fit.mistakes), int(fit.passes)
    if fit.converged:
        return f"The perceptron converged after {mistakes} mistakes in {passes} passes: the last pass had none."
    return (
        f"The perceptron has not separated the classes after {passes} passes and {mistakes} mistakes: "
        "the data may not be linearly separable."
    )
