"""Gradient boosting with oblivious trees, as CatBoost's (Prokhorenkova et al. 2018): research/trees as a Model."""

import jax
import jax.numpy as jnp

from research.contracts import Model
from research.errors import UserError
from research.trees import binning, ensemble, fitting

PROGRAM = "boosting"  # what trains it
ARRAYS = (*ensemble.OF_TREES, "start", "borders", "counts")  # its params


def make(config, data_shape):
    """Model of rows of shape [F], from the `model` section: it predicts raw scores [B, K]. Raises UserError.

    params are the arrays of an Ensemble; a tree that has not grown yet adds nothing. The loss has the metrics mse or
    accuracy beside it.
    """
    if len(data_shape) != 1:
        raise UserError(f"trees take rows of a table, not examples of shape {data_shape}: choose another data.name.")
    objective = fitting.objective_of(config.model)

    def predict(params, x):
        return ensemble.predict_raw(ensemble_of(config, params), x)

    def loss(params, key, batch, train=True):
        score, y = predict(params, batch["x"]), batch["y"]
        value = jnp.mean(jax.vmap(objective.loss)(score, y))
        return value, ({"loss": value} | metrics(objective, score, y), None)

    return Model(None, loss, None, None, predict=predict)


def ensemble_of(config, params, names=None):
    """The Ensemble that params describe."""
    fields = config.model
    rest = (binning.side_of(fields.borders), fields.missing, fields.objective, names)
    return ensemble.Ensemble(*(params[name] for name in ARRAYS), *rest)


def metrics(objective, score, y):
    """What a person asks of predictions: the mean squared error of numbers, the accuracy of classes."""
    predicted = objective.link(score)
    if objective.name in ("logistic", "exponential"):
        return {"accuracy": jnp.mean((predicted > 0.5) == (y > 0.5))}
    if objective.name == "softmax":
        return {"accuracy": jnp.mean(jnp.argmax(score, axis=1) == y)}
    return {"mse": jnp.mean((predicted - y) ** 2)}
