"""Gradient boosting with oblivious trees, as CatBoost's (Prokhorenkova et al. 2018): research/trees as a Model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from research.contracts import Model
from research.errors import UserError
from research.trees import binning, ensemble, fitting, forest, prediction

PROGRAM = "boosting"  # what trains it


def make(config, data_shape):
    """Model of rows of shape [F], from the `model` section: it predicts raw scores [B, K]. Raises UserError.

    params are the arrays of an Ensemble or, where model.name is "gbdt", of a Forest; a tree that has not grown yet adds
    nothing. The loss has the metrics mse or accuracy beside it.
    """
    if len(data_shape) != 1:
        raise UserError(f"trees take rows of a table, not examples of shape {data_shape}: choose another data.name.")
    objective, _ = fitting.objective_of(config.model), fitting.options_of(config.model)  # numbers are checked here

    def predict(params, x):
        return prediction.predict_raw(ensemble_of(config, params), x)

    def loss(params, key, batch, train=True):
        value, metrics = measured(objective, predict(params, batch["x"]), batch["y"])
        return value, (metrics, None)

    return Model(None, loss, None, None, predict=predict)


def table_of(config, dataset):
    """The batch of all training rows, with "x" and "y". Raises UserError for data without targets."""
    table = dataset.train.gather(np.arange(dataset.train.size))
    if "y" not in table:
        raise UserError(f"data.name '{config.data.name}' has no targets, which model '{config.model.name}' needs.")
    return table


def params_of(of):
    """A dict of the arrays of an Ensemble or a Forest."""
    return {f.name: getattr(of, f.name) for f in dataclasses.fields(of) if not f.metadata.get("static")}


def ensemble_of(config, params, names=None):
    """The Ensemble or Forest that params describe."""
    fields = config.model
    shared = {"side": binning.side_of(fields.borders), "objective": fields.objective, "names": names}
    if fitting.kind_of(fields) is ensemble:
        return ensemble.Ensemble(**params, missing=fields.missing, **shared)
    missing, columns = "forbid" if fields.missing == "forbid" else "learn", config.data.shape[0]
    return forest.Forest(**params, missing=missing, depth=fields.depth, columns=columns, heap=True, **shared)


def measured(objective, score, y):
    """(mean loss, metrics): beside the loss the mean squared error of numbers, or the accuracy of classes."""
    value, predicted = jnp.mean(jax.vmap(objective.loss)(score, y)), objective.link(score)
    if objective.name in ("logistic", "exponential"):
        metrics = {"accuracy": jnp.mean((predicted > 0.5) == (y > 0.5))}
    elif objective.name == "softmax":
        metrics = {"accuracy": jnp.mean(jnp.argmax(score, axis=1) == y)}
    else:
        metrics = {"mse": jnp.mean((predicted - y) ** 2)}
    return value, {"loss": value} | metrics
