"""AdaBoost of two classes (Freund & Schapire 1997), and LogitBoost beside it, as a Model: a sum F of trees.

What is trained may be told wrong labels: `label_noise` is the share that is turned round.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.contracts import Method, Model
from research.errors import UserError, is_known, nearest
from research.trees import adaboost, binning, forest, levelwise, logitboost, prediction, weak
from research.trees.options import DEEPEST

PROGRAM = "ensembles"  # what trains it
OF_TREES = dict(feature="int32", border="float32", missing_right="bool", left="int32", gain="float32")
LOSSES = {  # of margins y F [B]; the log of AdaBoost's, as exp(-y F) may be beyond float32 on rows that are held out
    "adaboost": lambda margin: jax.nn.logsumexp(-margin) - jnp.log(len(margin)),
    "logitboost": lambda margin: jax.nn.softplus(-2 * margin).mean(),
}


def make(config, data_shape):
    """Model of rows [F], from the `model` section: it predicts F [B, 1], which is half of the log-odds of class 1.

    params are arrays of a Forest, a stage a tree. The loss is the log of the mean of exp(-y F), or LogitBoost's mean of
    log(1 + exp(-2 y F)), y = -1 or 1; accuracy beside it. Raises UserError.
    """
    fields = config.model
    if len(data_shape) != 1:
        raise UserError(f"trees take rows of a table, not examples of shape {data_shape}: choose another data.name.")
    if fields.algorithm not in LOSSES:
        raise UserError(f"model.algorithm is '{fields.algorithm}'; {nearest(fields.algorithm, LOSSES)}")
    if fields.algorithm == "logitboost" and fields.resample:
        raise UserError(f"model.resample is {fields.resample}, and LogitBoost draws no rows: set it to False.")
    if is_known(fields.label_noise) and not 0 <= fields.label_noise <= 1:
        raise UserError(f"model.label_noise is {fields.label_noise}; it is a share, from 0 to 1.")
    if is_known(fields.learning_rate) and not fields.learning_rate > 0:
        raise UserError(f"model.learning_rate is {fields.learning_rate}; it must be above 0.")
    if fields.depth > DEEPEST:
        raise UserError(f"model.depth is {fields.depth}; it must be at most {DEEPEST}.")

    def predict(params, x):
        rest = {"depth": fields.depth, "columns": data_shape[0], "objective": "exponential"}
        return prediction.predict_raw(
            forest.Forest(**params, cover=None, start=jnp.zeros(1), side="left", heap=True, **rest), x
        )

    def loss(params, key, batch, train=True):
        value, error = _measured(fields, predict(params, batch["x"])[:, 0], _labels(batch))
        return value, ({"accuracy": 1 - error}, None)

    return Model(None, loss, None, None, predict=predict)


def method(config, dataset):
    """The contracts.Method of stages; metrics, of the labels that are trained on: loss, train_error, and bound, the
    mean of exp(-y F), of AdaBoost as a product over its stages. Raises UserError for labels that are not 0 and 1."""
    fields, table = config.model, dataset.train.gather(np.arange(dataset.train.size))
    if not np.isin(_labels(table), (0, 1)).all():
        raise UserError(f"model '{fields.name}' takes labels 0 and 1; data.name '{config.data.name}' has others.")
    borders = binning.find(table["x"], count=fields.border_count)
    by_weight, bins = fields.algorithm == "adaboost", (borders.counts, borders.bins)
    learner = weak.classifier(*bins, 2, fields.depth) if by_weight else weak.regressor(*bins, fields.depth)
    batch = {"x": table["x"], "codes": binning.apply(borders, table["x"]), "y": _labels(table).astype("int32")}

    def block(now, key, codes, y):
        rest = {"rate": fields.learning_rate, "state": now}
        if by_weight:
            return adaboost.boost(learner, codes, y, 2, fields.block, key, resample=fields.resample, **rest)
        return logitboost.boost(learner, codes, y, fields.block, key, **rest)

    def init(key):
        now = adaboost.init(len(batch["y"])) if by_weight else logitboost.init(len(batch["y"]))
        shape = (fields.num_trees, 1, levelwise.places(fields.depth))
        params = {name: jnp.zeros(shape, kind) for name, kind in OF_TREES.items()}
        params["value"] = jnp.zeros((*shape, 1), jnp.float32)
        score = jnp.zeros(len(batch["y"]), jnp.float32)
        return {"params": params, "score": score, "key": jax.random.key_data(key), **now._asdict()}

    def grow(state, batch):
        key, noise = jax.random.split(jax.random.wrap_key_data(state["key"]))
        wrong = jax.random.uniform(noise, batch["y"].shape) < fields.label_noise
        y = jnp.where(wrong, 1 - batch["y"], batch["y"])
        now = adaboost.State(*(state[name] for name in adaboost.State._fields))
        now, stages = block(now, key, batch["codes"], y)
        of = weak.to_forest(stages, borders, by_weight)
        score = state["score"] + prediction.predict_raw(of, batch["x"])[:, 0]
        params = {
            name: lax.dynamic_update_slice_in_dim(old, getattr(of, name), state["trees"], 0)
            for name, old in state["params"].items()
        }
        loss, error = _measured(fields, score, y)
        metrics = {"loss": loss, "train_error": error, "bound": now.bound}
        return {"params": params, "score": score, "key": state["key"], **now._asdict()}, metrics

    return Method(init, grow, batch)


def _labels(batch):
    return batch["y"] if "y" in batch else batch["condition"]


def _measured(fields, score, y):
    """(loss, share that is wrong) of scores F [B] of labels y [B]."""
    return LOSSES[fields.algorithm](jnp.where(y > 0, score, -score)), jnp.mean((score > 0) != (y > 0))
