"""Files of estimators: CatBoost's and XGBoost's JSON, and where labels of classes stand in them."""

import dataclasses
import json
from collections.abc import Callable
from typing import NamedTuple

from research.errors import UserError, nearest
from research.trees import interop, interop_xgboost


class Format(NamedTuple):
    """One format: (ensemble, labels or None) -> dict, and from such a dict the ensemble, and its labels or None."""

    write: Callable
    trees: Callable
    labels: Callable


def get(name):
    """The Format of a name. Raises UserError for an unknown one."""
    if name not in FORMATS:
        raise UserError(f"the format is '{name}'; {nearest(name, FORMATS)}")
    return FORMATS[name]


def read(path, name):
    """(ensemble, labels or None) of a file. Raises UserError for what cannot be read."""
    form = get(name)
    try:
        with open(path, "rb") as file:
            model = json.load(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}.") from None
    return form.trees(model), form.labels(model)


def _to_xgboost(of, labels):
    model = interop_xgboost.to_xgboost(of)
    attributes = model["learner"]["attributes"]
    if labels is not None:
        attributes["classes"] = json.dumps(labels.tolist())
    if of.loss_name not in interop_xgboost.OBJECTIVES:  # XGBoost reads it as one of raw predictions
        attributes["loss"] = of.objective
    return model


def _from_xgboost(model):
    of = interop_xgboost.from_xgboost(model)
    loss = model["learner"]["attributes"].get("loss")
    return dataclasses.replace(of, objective=loss) if loss else of


def _to_catboost(of, labels):
    model = interop.to_catboost(of, labels)
    if of.loss_name not in interop.LOSSES:
        model["model_info"]["loss"] = of.objective
        if labels is not None:
            model["model_info"]["labels"] = labels.tolist()
    return model


def _from_catboost(model):
    of = interop.from_catboost(model)
    return dataclasses.replace(of, objective=model["model_info"].get("loss", of.objective))


FORMATS = {
    "catboost_json": Format(
        _to_catboost,
        _from_catboost,
        lambda model: model["model_info"].get("class_params", {}).get("class_names", model["model_info"].get("labels")),
    ),
    "xgboost_json": Format(
        _to_xgboost,
        _from_xgboost,
        lambda model: json.loads(model["learner"]["attributes"].get("classes", "null")),
    ),
}
