"""XGBoost's metrics of evaluation by name, in float64. Entry point: `metric`.

Predictions are those of `fitting.predict`: [N], or of several classes their probabilities [N, K]; labels y are [N].
"""

import functools

import numpy as np
from scipy import special

from research.errors import UserError, nearest

LEAST = 1e-16  # a probability that is taken for 0


def metric(name):
    """(function (prediction, y, w=None) -> float, whether greater is better) of a name such as "auc" or "error@0.7".

    What follows @ is the threshold of error, the power of tweedie-nloglik, the slope of mphe, the alpha of quantile.
    Raises UserError for an unknown name, and for a number that is none; the function, for shapes that do not fit.
    """
    base, at, number = name.partition("@")
    if base not in METRICS or bool(at) > (base in NUMBERS):
        raise UserError(f"the metric is '{name}'; {nearest(name, METRICS)}")
    try:
        given = [float(number) if at else NUMBERS[base]] if base in NUMBERS else []
    except ValueError:
        raise UserError(f"the metric is '{name}'; what follows @ must be a number, as in {base}@0.5.") from None
    return functools.partial(_measured, base, METRICS[base], given), base in CURVES


def _measured(name, function, given, prediction, y, w=None):
    p, y = np.asarray(prediction, np.float64), np.asarray(y, np.float64)
    w = np.ones(len(p)) if w is None else np.asarray(w, np.float64)
    if not p.shape[:1] == y.shape == w.shape or p.ndim not in AXES.get(name, (1,)) or not w.sum() > 0:
        shapes = f"{list(p.shape)}, {list(y.shape)} and {list(w.shape)}"
        raise UserError(
            f"{name} got predictions, labels and weights of shapes {shapes}: it cannot be measured on them."
        )
    found = function(p, y, *given, *[w] * (name in CURVES))
    return float(np.sqrt(_mean(found, w)) if name in ROOTS else found if name in CURVES else _mean(found, w))


def _mean(x, w):
    return (x * w).sum() / w.sum()


def auc(p, y, w):
    """The area under the curve of true over false positives; equal scores make a straight line of it.

    Of K classes the mean of each against the rest, by their weight, as XGBoost's.
    """
    if p.ndim == 2:
        share = np.bincount(y.astype(int), w, p.shape[1])
        return sum(s * auc(p[:, k], y == k, w) for k, s in enumerate(share) if s) / share.sum()
    false, true = _counts(p, y, w)
    return np.trapezoid(true, false) / (true[-1] * false[-1]) if true[-1] * false[-1] else np.nan


def aucpr(p, y, w):
    """The area under the curve of precision over recall, between equal scores as Davis & Goadrich (2006) have it.

    On the way from one score to the next false positives grow in proportion to true ones (Keilwagen et al. 2014,
    equation 4). scikit-learn's average_precision_score takes steps instead, so it differs.
    """
    false, true = _counts(p, y, w)
    if not true[-1] * false[-1]:
        return np.nan
    recall, more = true / true[-1], np.diff(true)
    steep = np.where(more > 0, np.diff(false) / np.where(more > 0, more, 1), 0)
    a, b = 1 + steep, (false[:-1] - steep * true[:-1]) / true[-1]  # precision = recall / (a recall + b)
    rise = np.log((a * recall[1:] + b) / np.where(b != 0, a * recall[:-1] + b, 1), where=b != 0, out=np.zeros(len(b)))
    return np.where(more > 0, (np.diff(recall) - b / a * rise) / a, 0).sum()


def _counts(p, y, w):
    """Weights of (false, true) positives above each score, from none to all."""
    order = np.argsort(-p, kind="stable")
    last = np.flatnonzero(np.diff(p[order], append=np.nan) != 0)
    return (np.append(0, np.cumsum((w * x)[order])[last]) for x in (1 - y, y))


def _logloss(p, y):
    return -y * np.log(np.maximum(p, LEAST)) - (1 - y) * np.log(np.maximum(1 - p, LEAST))


def _of_label(p, y):
    return p[np.arange(len(p)), y.astype(int)]


def _poisson(p, y):
    p = np.maximum(p, LEAST)
    return special.gammaln(y + 1) + p - np.log(p) * y


def _gamma_deviance(p, y):
    ratio = (y + 1e-6) / (p + 1e-6)
    return 2 * (ratio - np.log(ratio) - 1)


CURVES = ("auc", "aucpr")
ROOTS = ("rmse", "rmsle")
AXES = {"merror": (2,), "mlogloss": (2,), "auc": (1, 2)}  # of predictions
NUMBERS = {"error": 0.5, "mphe": 1.0, "tweedie-nloglik": 1.5, "quantile": 0.5}  # where no @ follows
METRICS = {  # of each row, but for the curves
    "rmse": lambda p, y: (p - y) ** 2,
    "rmsle": lambda p, y: (np.log1p(p) - np.log1p(y)) ** 2,
    "mae": lambda p, y: np.abs(p - y),
    "mape": lambda p, y: np.abs((p - y) / y),
    "mphe": lambda p, y, slope: slope**2 * (np.hypot(1, (p - y) / slope) - 1),
    "quantile": lambda p, y, alpha: np.where(p >= y, (1 - alpha) * (p - y), alpha * (y - p)),
    "logloss": _logloss,
    "error": lambda p, y, at: np.where(p > at, 1 - y, y),
    "auc": auc,
    "aucpr": aucpr,
    "merror": lambda p, y: p.argmax(1) != y,
    "mlogloss": lambda p, y: -np.log(np.maximum(_of_label(p, y), LEAST)),
    "poisson-nloglik": _poisson,
    "gamma-nloglik": lambda p, y: y / np.maximum(p, 1e-6) + np.log(np.maximum(p, 1e-6)),
    "gamma-deviance": _gamma_deviance,
    "tweedie-nloglik": lambda p, y, rho: p ** (2 - rho) / (2 - rho) - y * p ** (1 - rho) / (1 - rho),
}
