"""Boosted linear functions, XGBoost's gblinear: research/trees/linear.py as a Model and its Method.

params: weights [F, K] and bias [K] of columns less their mean [F] times scale [F], those of the training rows.
"""

import jax.numpy as jnp
import numpy as np

from research.contracts import Method, Model
from research.errors import UserError, is_known
from research.models import gbdt_oblivious
from research.trees import fitting, linear

PROGRAM = "ensembles"  # what trains it


def make(config, data_shape):
    """Model of rows of shape [F], from the `model` section: it predicts raw scores [B, K]. Raises UserError."""
    if len(data_shape) != 1:
        raise UserError(
            f"gblinear takes rows of a table, not examples of shape {data_shape}: choose another data.name."
        )
    for name in ("learning_rate", "reg_lambda", "reg_alpha"):
        if is_known(value := config.model[name]) and not value >= 0:
            raise UserError(f"model.{name} is {value}; it must be at least 0.")
    objective = fitting.objective_of(config.model)

    def predict(params, x):
        return linear.predict(_of(params), _columns(params, x))

    def loss(params, key, batch, train=True):
        value, metrics = gbdt_oblivious.measured(objective, predict(params, batch["x"]), batch["y"])
        return value, (metrics, None)

    return Model(None, loss, None, None, predict=predict)


def method(config, dataset):
    """The Method that goes `block` times through the columns a step. Its metrics: loss, and weights that are not 0."""
    fields, table = config.model, gbdt_oblivious.table_of(config, dataset)
    objective = fitting.objective_of(fields)
    x, y = np.asarray(table["x"], np.float64), fitting.targets(table["y"], objective)
    if fields.standardize:
        known = np.isfinite(x).any(0)  # a column with no value counts as 0 everywhere
        mean, deviation = np.nanmean(np.where(known, x, 0), 0), np.nanstd(np.where(known, x, 0), 0)
    else:
        mean, deviation = np.zeros(x.shape[1]), np.ones(x.shape[1])
    scale = 1 / np.where(deviation > 0, deviation, 1)
    fixed = {"mean": jnp.asarray(mean, jnp.float32), "scale": jnp.asarray(scale, jnp.float32)}
    options = linear.Options(fields.learning_rate, fields.reg_lambda, fields.reg_alpha)

    def init(key):
        return {"params": linear.init(x.T, objective.start(y))._asdict() | fixed}

    def grow(state, batch):
        now = _of(state["params"])
        now, losses = linear.boost(now, batch["columns"], batch["y"], None, objective, options, fields.block)
        metrics = {"loss": losses[-1], "weights": jnp.sum(now.weights != 0, dtype=jnp.int32)}
        return {"params": state["params"] | now._asdict()}, metrics

    return Method(init, grow, {"columns": _columns(fixed, x), "y": y})


def _of(params):
    return linear.Linear(params["weights"], params["bias"])


def _columns(params, x):
    """[F, N]; what is missing is the mean, 0, to `linear`."""
    return ((jnp.asarray(x, jnp.float32) - params["mean"]) * params["scale"]).T
