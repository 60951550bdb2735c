"""Files of estimators: CatBoost's and XGBoost's JSON, and where labels of classes stand in them."""

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
    if labels is not None:
        model["learner"]["attributes"]["classes"] = json.dumps(labels.tolist())
    return model


FORMATS = {
    "catboost_json": Format(
        interop.to_catboost,
        interop.from_catboost,
        lambda model: model["model_info"].get("class_params", {}).get("class_names"),
    ),
    "xgboost_json": Format(
        _to_xgboost,
        interop_xgboost.from_xgboost,
        lambda model: json.loads(model["learner"]["attributes"].get("classes", "null")),
    ),
}
