"""What trees are fitted to: a loss of one row, and what follows from it by autodiff. Entry points: `get`, `from_loss`.

score [N, K] are raw predictions, K = 1 where there is one output. The loss is scaled so that its curvature is that of
CatBoost and XGBoost: squared is half of the square. Sums are weighted by w [N]; None is a weight of 1 each.
"""

import functools
import numbers
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError, nearest
from research.trees import leaves
from research.trees.leaves import leaf_values as leaf_values


class Objective(NamedTuple):
    """A loss and all that boosting asks of it; pure functions that jit, but for `check`."""

    name: str
    loss: Callable  # (score [K], y) -> []
    gradients: Callable  # (score [N, K], y [N, ...], w=None) -> (minus the slope, the curvature >= 0), [N, K] each
    start: Callable  # (y, w=None) -> [K], the best constant score
    outputs: int  # K
    link: Callable  # (score [..., K]) -> prediction [...], or [..., K]
    check: Callable  # (y); raises UserError where labels are not such as the loss is of
    exact: Callable | None = None  # (y - score [N], w, leaf [N], L, total) -> [L], the best value of each leaf


def from_loss(loss, outputs=None, *, name="custom", start=None, link=None, check=None, curvature=None, exact=None):
    """The Objective of a loss of one row: loss(score [], y) -> [], or with `outputs` = K loss(score [K], y) -> [].

    Slope and curvature (the diagonal of the Hessian, not below 0) come from autodiff; curvature(score [K], y) -> [K]
    replaces the latter. Where nothing is said scores start from 0, a prediction is the score, and y are finite numbers.
    """
    row = (lambda score, y: loss(score[0], y)) if outputs is None else loss
    size = outputs or 1
    slope = jax.grad(row)

    def diagonal(score, y):
        if curvature is not None:
            return curvature(score, y)
        return jax.vmap(lambda v: (jax.jvp(lambda s: slope(s, y), (score,), (v,))[1] * v).sum())(
            jnp.eye(size, dtype=score.dtype)
        )

    def gradients(score, y, w=None):
        g, h = -jax.vmap(slope)(score, y), jnp.maximum(jax.vmap(diagonal)(score, y), 0)
        return _weigh(g, h, w)

    return Objective(
        name,
        row,
        gradients,
        start or (lambda y, w=None: jnp.zeros(size, jnp.float32)),
        size,
        link or (_first if outputs is None else _same),
        check or functools.partial(_check, name=name),
        exact,
    )


def get(name, **options):
    """The built-in Objective of a name: get("huber", delta=2.0). Raises UserError for an unknown one."""
    if name not in OBJECTIVES:
        raise UserError(f"the objective is '{name}'; {nearest(name, OBJECTIVES)}")
    return OBJECTIVES[name](**options)


@functools.cache
def squared():
    """Half the squared error; starts from the mean."""
    return _located("squared", lambda score, y: (y - score) ** 2 / 2, leaves.mean)


@functools.cache
def absolute():
    """The absolute error; starts from the median, the lower one of two."""
    return _located(
        "absolute", lambda score, y: jnp.abs(y - score), functools.partial(leaves.quantile, alpha=0.5), _one
    )


@functools.cache
def quantile(alpha=0.5):
    """The pinball loss, least at the alpha-quantile."""
    if not 0 < alpha < 1:
        raise UserError(f"the quantile is {alpha}; it must lie between 0 and 1.")

    def loss(score, y):
        # relu has slope 0 at 0, as CatBoost's loss has where a score is met exactly.
        return alpha * jax.nn.relu(y - score) + (1 - alpha) * jax.nn.relu(score - y)

    return _located("quantile", loss, functools.partial(leaves.quantile, alpha=alpha), _one)


@functools.cache
def huber(delta=1.0):
    """Half the squared error up to an error of delta, linear beyond."""
    if not delta > 0:
        raise UserError(f"the delta of huber is {delta}; it must be above 0.")

    def loss(score, y):
        error = jnp.abs(y - score)
        return jnp.where(error <= delta, error**2 / 2, delta * (error - delta / 2))

    return _located("huber", loss, functools.partial(leaves.huber, delta=delta))


@functools.cache
def logistic():
    """Minus the log-likelihood of labels 0 and 1; predicts the probability of 1."""

    def loss(score, y):  # of either label the slope is one sigmoid, so that none of its digits cancel
        return y * jax.nn.softplus(-score) + (1 - y) * jax.nn.softplus(score)

    def curvature(score, y):  # autodiff's p - p^2 has no digits left where p is near 1; XGBoost's least value
        return jnp.maximum(jax.nn.sigmoid(score) * jax.nn.sigmoid(-score), 1e-16)

    return from_loss(
        loss,
        name="logistic",
        start=_log_odds,
        link=lambda score: jax.nn.sigmoid(score[..., 0]),
        check=functools.partial(_check_classes, name="logistic", classes=2),
        curvature=curvature,
    )


@functools.cache
def exponential():
    """AdaBoost's loss of labels 0 and 1, which stand for -1 and 1; predicts the probability of 1."""
    return from_loss(
        lambda score, y: jnp.exp((1 - 2 * y) * score),
        name="exponential",
        start=lambda y, w=None: _log_odds(y, w) / 2,
        link=lambda score: jax.nn.sigmoid(2 * score[..., 0]),
        check=functools.partial(_check_classes, name="exponential", classes=2),
    )


@functools.cache
def softmax(classes, factor=1.0):
    """Minus the log-likelihood of labels 0 .. classes - 1; predicts their probabilities.

    The curvature is `factor` times the Hessian's diagonal p (1 - p): XGBoost's is 2.
    """

    def loss(score, y):
        return jax.nn.logsumexp(score) - (jax.nn.one_hot(y, classes, dtype=score.dtype) * score).sum()

    def gradients(score, y, w=None):  # autodiff takes three times as long, and passes once more for each class
        p = jax.nn.softmax(score)
        label = jax.nn.one_hot(y, classes, dtype=score.dtype)
        return _weigh(label - p, jnp.maximum(factor * p * (1 - p), 1e-16), w)

    objective = from_loss(
        loss,
        classes,
        name="softmax",
        start=lambda y, w=None: jnp.log(_mean(jax.nn.one_hot(y, classes, dtype=jnp.float32), w)),
        link=jax.nn.softmax,
        check=functools.partial(_check_classes, name="softmax", classes=classes),
    )
    return objective._replace(gradients=gradients)


@functools.cache
def poisson():
    """Minus the log-likelihood of counts with the mean exp(score), which is the prediction."""
    return from_loss(
        lambda score, y: jnp.exp(score) - y * score,
        name="poisson",
        start=lambda y, w=None: jnp.log(_mean(y[:, None], w)),
        link=lambda score: jnp.exp(score[..., 0]),
        check=_check_counts,
    )


@functools.cache
def multi_squared(outputs):
    """Half the squared error summed over y [N, outputs]."""
    return from_loss(
        lambda score, y: ((y - score) ** 2).sum() / 2,
        outputs,
        name="multi_squared",
        start=_mean,
        check=functools.partial(_check, name="multi_squared", outputs=outputs),
        curvature=_one,  # autodiff would pass once for each output
    )


def _located(name, loss, exact, curvature=None):
    """The Objective of a loss of y - score, whose best constant is known."""

    def start(y, w=None):
        return exact(y, w, jnp.zeros(len(y), jnp.int32), 1)

    return from_loss(loss, name=name, start=start, exact=exact, curvature=curvature)


def _weigh(g, h, w):
    return (g, h) if w is None else (g * w[:, None], h * w[:, None])


def _one(score, y):
    """Also for losses of no curvature: a Newton step is then a gradient step, as XGBoost's."""
    return jnp.ones_like(score)


def _first(score):
    return score[..., 0]


def _same(score):
    return score


def _mean(y, w=None):
    return y.mean(axis=0) if w is None else (w[:, None] * y).sum(axis=0) / w.sum()


def _log_odds(y, w=None):
    p = _mean(y[:, None], w)
    return jnp.log(p) - jnp.log1p(-p)


def _check(y, name, outputs=None):
    """y as numpy. Raises UserError unless it is [N], or [N, outputs], of finite numbers."""
    y = np.asarray(y)
    shape = (len(y) if y.ndim else 0, *([] if outputs is None else [outputs]))
    if y.shape != shape or not y.size:
        raise UserError(
            f"y has shape {list(y.shape)}; {name} needs a label a row, [rows{f', {outputs}' * bool(outputs)}]."
        )
    if y.dtype.kind not in "biuf":
        other = ((place[0], value) for place, value in np.ndenumerate(y) if not isinstance(value, numbers.Real))
        row, value = next(other, (0, y.dtype))
        raise UserError(f"y holds {value!r} in row {row}; {name} needs numbers: encode the labels first.")
    with np.errstate(over="ignore"):
        _complain(~np.isfinite(y.astype(np.float32)), y, f"{name} needs finite numbers of float32")
    return y


def _check_classes(y, name, classes):
    y = _check(y, name)
    _complain(~np.isin(y, range(classes)), y, f"{name} needs " + ("0 or 1" if classes == 2 else f"0 to {classes - 1}"))
    for label in set(range(classes)) - set(np.unique(y).tolist()):
        raise UserError(f"no row of y is of class {label}; {name} needs rows of each of {classes} classes.")


def _check_counts(y):
    y = _check(y, "poisson")
    _complain(y < 0, y, "poisson needs counts, 0 or more")
    if not y.any():
        raise UserError("all of y are 0; poisson needs a count above 0.")


def _complain(bad, y, needs):
    if bad.any():
        place = np.argwhere(bad)[0]
        where = f"row {place[0]}" + (f", column {place[1]}" if y.ndim > 1 else "")
        raise UserError(f"y is {y[tuple(place)]} in {where}; {needs}.")


OBJECTIVES = {
    f.__name__: f for f in (squared, absolute, quantile, huber, logistic, exponential, softmax, poisson, multi_squared)
}
