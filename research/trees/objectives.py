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

LEAST_SCORE = -1 + 1e-6  # of squared_log, XGBoost's


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


@functools.cache
def get(name, start=None, **options):
    """The built-in Objective of a name: get("huber", delta=2.0). Raises UserError for an unknown one.

    start: the score it starts from, instead of the best constant.
    """
    if name not in OBJECTIVES:
        raise UserError(f"the objective is '{name}'; {nearest(name, OBJECTIVES)}")
    found = OBJECTIVES[name](**options)
    return found if start is None else found._replace(start=functools.partial(_given, float(start), found.outputs))


@functools.cache
def squared():
    """Half the squared error; starts from the mean."""
    return _located("squared", lambda score, y: (y - score) ** 2 / 2, leaves.mean)


@functools.cache
def absolute(between=False):
    """The absolute error; starts from the median, the lower one of two, or with `between`, as XGBoost, their middle.

    Where a score is met exactly, the slope is that from below as scikit-learn's, or 0 as XGBoost's.
    """

    def loss(score, y):
        return jax.nn.relu(y - score) + jax.nn.relu(score - y) if between else jnp.abs(y - score)

    return _located("absolute", loss, functools.partial(leaves.quantile, alpha=0.5, between=between), _one)


@functools.cache
def quantile(alpha=0.5, between=False):
    """The pinball loss, least at the alpha-quantile; with `between` XGBoost's, whose quantiles are interpolated.

    Where a score is met exactly, the slope is 0 as CatBoost's, or that from above as XGBoost's.
    """
    if not 0 < alpha < 1:
        raise UserError(f"the quantile is {alpha}; it must lie between 0 and 1.")

    def loss(score, y):
        if between:
            return jnp.where(score >= y, (1 - alpha) * (score - y), alpha * (y - score))
        return alpha * jax.nn.relu(y - score) + (1 - alpha) * jax.nn.relu(score - y)

    return _located("quantile", loss, functools.partial(leaves.quantile, alpha=alpha, between=between), _one)


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
def pseudo_huber(slope=1.0):
    """Huber's loss with no corner, slope^2 (sqrt(1 + (error / slope)^2) - 1), as XGBoost's."""
    if not slope > 0:
        raise UserError(f"the slope of pseudo_huber is {slope}; it must be above 0.")

    def steepness(error):
        return jnp.hypot(1, error / slope)

    return _located(
        "pseudo_huber",
        lambda score, y: slope**2 * (steepness(y - score) - 1),
        functools.partial(leaves.balance, pull=lambda error: error / steepness(error)),
        lambda score, y: steepness(y - score) ** -3,
    )


@functools.cache
def squared_log():
    """Half the squared error of log(1 + y), of numbers above -1; linear below LEAST_SCORE. Its curvature is XGBoost's,
    at least 1e-6."""

    def loss(score, y):
        within = jnp.maximum(score, LEAST_SCORE)
        error = jnp.log1p(y) - jnp.log1p(within)
        return error**2 / 2 - error / (1 + within) * jnp.minimum(score - LEAST_SCORE, 0)

    def curvature(score, y):
        score = jnp.maximum(score, LEAST_SCORE)
        return jnp.maximum((jnp.log1p(y) - jnp.log1p(score) + 1) / (score + 1) ** 2, 1e-6)

    return from_loss(
        loss,
        name="squared_log",
        start=lambda y, w=None: jnp.expm1(_mean(jnp.log1p(y[:, None]), w)),
        check=functools.partial(_check_above, name="squared_log", least=-1),
        curvature=curvature,
    )


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
def cross_entropy():
    """`logistic` of labels that are probabilities, from 0 to 1."""
    return logistic()._replace(name="cross_entropy", check=_check_probabilities)


@functools.cache
def logistic_raw():
    """`logistic` that predicts the score itself."""
    return logistic()._replace(name="logistic_raw", link=_first)


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
def poisson(step=0.0):
    """Minus the log-likelihood of counts with the mean exp(score), which is the prediction.

    step: the curvature is exp(score + step); XGBoost's, for small leaves, is its max_delta_step, 0.7.
    """
    return _of_mean(
        "poisson",
        lambda score, y: jnp.exp(score) - y * score,
        functools.partial(_check_above, name="poisson", least=0, closed=True),
        lambda score, y: jnp.exp(score + step),
    )


@functools.cache
def gamma():
    """Minus the log-likelihood of gamma-distributed numbers with the mean exp(score), which is the prediction."""
    check = functools.partial(_check_above, name="gamma", least=0)
    return _of_mean("gamma", lambda score, y: score + y * jnp.exp(-score), check)


@functools.cache
def tweedie(power=1.5):
    """Tweedie's deviance of numbers from 0 with the mean exp(score), the prediction, and the variance mean ^ power."""
    if not 1 < power < 2:
        raise UserError(f"the power of tweedie is {power}; it must lie between 1 and 2, which are poisson and gamma.")

    def loss(score, y):
        return jnp.exp((2 - power) * score) / (2 - power) - y * jnp.exp((1 - power) * score) / (1 - power)

    return _of_mean("tweedie", loss, functools.partial(_check_above, name="tweedie", least=0, closed=True))


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


def _of_mean(name, loss, check, curvature=None):
    """The Objective of a loss that is least, of several rows, where exp(score) is the mean of their y."""
    return from_loss(
        loss,
        name=name,
        start=lambda y, w=None: jnp.log(_mean(y[:, None], w)),
        link=lambda score: jnp.exp(score[..., 0]),
        check=check,
        curvature=curvature,
    )


def _given(start, outputs, y, w=None):
    return jnp.full(outputs, start, jnp.float32)


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


def _check_above(y, name, least, closed=False):
    y = _check(y, name)
    _complain(y < least if closed else y <= least, y, f"{name} needs numbers {'from' if closed else 'above'} {least}")
    if closed and not y.any():
        raise UserError(f"all of y are 0; {name} needs a number above 0.")


def _check_probabilities(y):
    y = _check(y, "cross_entropy")
    _complain((y < 0) | (y > 1), y, "cross_entropy needs 0 to 1")


def _complain(bad, y, needs):
    if bad.any():
        place = np.argwhere(bad)[0]
        where = f"row {place[0]}" + (f", column {place[1]}" if y.ndim > 1 else "")
        raise UserError(f"y is {y[tuple(place)]} in {where}; {needs}.")


LOCATIONS = (squared, absolute, quantile, huber, pseudo_huber, squared_log)
CLASSES, MEANS = (logistic, cross_entropy, logistic_raw, exponential, softmax), (poisson, gamma, tweedie)
OBJECTIVES = {f.__name__: f for f in (*LOCATIONS, *CLASSES, *MEANS, multi_squared)}
