"""XGBoost's objectives by its names and parameters. Entry points: `objective`, `metric_of`."""

import functools

import jax.numpy as jnp
import numpy as np

from research.errors import UserError, nearest
from research.trees import objectives

PARAMS = {  # of ours: XGBoost's parameter, our option
    "pseudo_huber": ("huber_slope", "slope"),
    "quantile": ("quantile_alpha", "alpha"),
    "softmax": ("num_class", "classes"),
    "poisson": ("max_delta_step", "step"),
    "tweedie": ("tweedie_variance_power", "power"),
}
NEEDED = ("quantile_alpha", "num_class")
NAMES = {  # XGBoost's: ours, options that make it XGBoost's, the metric that it watches
    "reg:squarederror": ("squared", {}, "rmse"),
    "reg:absoluteerror": ("absolute", {"between": 1}, "mae"),
    "reg:pseudohubererror": ("pseudo_huber", {"slope": 1.0}, "mphe"),
    "reg:quantileerror": ("quantile", {"between": 1}, "quantile"),
    "reg:squaredlogerror": ("squared_log", {}, "rmsle"),
    "reg:logistic": ("cross_entropy", {}, "rmse"),
    "binary:logistic": ("logistic", {}, "logloss"),
    "binary:logitraw": ("logistic_raw", {}, "logloss"),
    "multi:softprob": ("softmax", {"factor": 2}, "mlogloss"),
    "multi:softmax": ("softmax", {"factor": 2}, "mlogloss"),
    "count:poisson": ("poisson", {"step": 0.7}, "poisson-nloglik"),
    "reg:gamma": ("gamma", {}, "gamma-deviance"),
    "reg:tweedie": ("tweedie", {"power": 1.5}, "tweedie-nloglik"),
}


@functools.cache
def objective(name, base_score=None, **params):
    """The Objective that XGBoost's objective `name` with its parameters is, one object for the same arguments.

    Its name is ours with its options, which `fitting.get_objective` reads. It starts from base_score, or from what
    XGBoost 3.2 estimates. Raises UserError for an unknown name or parameter.
    """
    ours, options, _ = _get(name)
    theirs, option = PARAMS.get(ours, (None, None))
    for given in set(params) - {theirs}:
        raise UserError(f"{name} has no parameter '{given}'; {f'it has {theirs}.' if theirs else 'it has none.'}")
    if theirs in NEEDED and theirs not in params:
        raise UserError(f"{name} needs its parameter {theirs}; give it a number.")
    options = options | ({option: params[theirs]} if params else {})
    said = ",".join(f"{key}={value}" for key, value in options.items())
    found = objectives.get(ours, None if base_score is None else _score(ours, base_score), **options)
    start = found.start
    if base_score is None:
        start = {"logistic_raw": objectives.squared().start, "softmax": _centred(found)}.get(ours, start)
        start = _newton(found) if ours in ("pseudo_huber", "squared_log") else start
    return found._replace(name=f"{ours}:{said}" if said else ours, start=start)


def metric_of(name, **params):
    """The name of the metric that XGBoost watches with an objective, such as "quantile@0.9"; see metrics.py."""
    ours, options, found = _get(name)
    theirs, option = PARAMS.get(ours, (None, None))
    numbered = ours in ("quantile", "pseudo_huber", "tweedie")
    return f"{found}@{params.get(theirs, options.get(option))}" if numbered else found


def _get(name):
    if name not in NAMES:
        raise UserError(f"the objective is '{name}'; {nearest(name, NAMES)}")
    return NAMES[name]


def _score(ours, base_score):
    """The score of a base_score, which is in the unit of predictions."""
    if ours in ("logistic", "cross_entropy"):
        within, score = 0 < base_score < 1, lambda p: np.log(p) - np.log1p(-p)
    else:
        positive = ours in ("poisson", "gamma", "tweedie")
        within, score = not positive or base_score > 0, np.log if positive else float
    if not within:
        raise UserError(f"base_score is {base_score}, which {ours} cannot predict; give it in the unit of predictions.")
    return float(score(base_score))


def _centred(objective):
    def start(y, w=None):
        score = objective.start(y, w)
        return score - score.mean()

    return start


def _newton(objective):
    """Starts from one Newton step from 0, however good it is."""

    def start(y, w=None):
        g, h = objective.gradients(jnp.zeros((len(y), objective.outputs), y.dtype), y, w)
        return g.sum(0) / h.sum(0)

    return start
