"""Ensembles as CatBoost's JSON and back. Entry points: `to_catboost`, `from_catboost`."""

import jax.numpy as jnp
import numpy as np

from research.errors import UserError
from research.trees import binning, ensemble, forest
from research.trees.boosting import Trees

LARGEST = float(np.finfo(np.float32).max)  # CatBoost's infinity, the border between missing values and numbers
LOSSES = {  # ours: CatBoost's
    "squared": "RMSE",
    "absolute": "MAE",
    "quantile": "Quantile",
    "huber": "Huber",
    "logistic": "Logloss",
    "softmax": "MultiClass",
    "poisson": "Poisson",
    "multi_squared": "MultiRMSE",
}
TREATMENT = {"min": "AsFalse", "max": "AsTrue", "forbid": "AsIs"}


def to_catboost(of, classes=None):
    """The dict that CatBoost's load_model(format="json") reads from a file, of an Ensemble.

    classes: the labels, of a classifier. Raises UserError for a Forest, and where sides of missing values are learned.
    """
    if isinstance(of, forest.Forest):
        raise UserError("the trees are not oblivious, as those of CatBoost's file are; write XGBoost's, to_xgboost.")
    if of.missing not in TREATMENT:
        raise UserError("CatBoost's trees learn no side for missing values; train with missing values 'min' or 'max'.")
    features = []
    for f, values in enumerate(ensemble.borders_of(of).values):
        values = values if of.side == "left" else np.nextafter(values, np.float32(-np.inf))  # x >= b where x > b'
        features.append(
            {
                "borders": np.clip(values, -LARGEST, LARGEST).tolist(),
                "feature_id": of.names[f] if of.names else "",
                "feature_index": f,
                "flat_feature_index": f,
                "has_nans": of.missing != "forbid",
                "nan_value_treatment": TREATMENT[of.missing],
            }
        )
    offset = np.cumsum([0, *of.counts])
    feature, threshold, leaves = (np.asarray(x) for x in (of.feature, of.threshold, of.leaves))
    cover = np.zeros(leaves.shape[:2]) if of.cover is None else np.asarray(of.cover)

    def split(f, k):
        kind = {"float_feature_index": int(f), "split_type": "FloatFeature"}
        return {"border": features[f]["borders"][k], "split_index": int(offset[f] + k)} | kind

    trees = [
        {
            "leaf_values": leaves[t].ravel().tolist(),
            "leaf_weights": cover[t].tolist(),
            "splits": [split(f, k) for f, k in zip(feature[t], threshold[t])],
        }
        for t in range(len(feature))
    ]
    info = {"params": {"loss_function": {"type": LOSSES.get(of.loss_name, "RMSE"), "params": {}}}}
    if of.loss_name in ("logistic", "softmax"):
        info["class_params"] = _classes(range(max(2, len(of.start))) if classes is None else classes)
    return {
        "features_info": {"float_features": features},
        "model_info": info,
        "oblivious_trees": trees,
        "scale_and_bias": [1, np.asarray(of.start).tolist()],
    }


def from_catboost(model):
    """The Ensemble of the dict in a file that CatBoost's save_model(format="json") wrote.

    Its cover is known, its gains are not; a tree of fewer splits than the deepest repeats its leaves. Raises UserError
    for what is no such dict, categorical features, trees that are not oblivious, and losses that have no name here.
    """
    try:
        features = model["features_info"]["float_features"]
        trees, (scale, bias) = model["oblivious_trees"], model["scale_and_bias"]
        loss = model["model_info"]["params"]["loss_function"]["type"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"no oblivious CatBoost model: {error} is missing; save one with format='json'.") from None
    splits = [tree.get("splits") or [] for tree in trees]
    if any(split["split_type"] != "FloatFeature" for tree in splits for split in tree):
        raise UserError("the CatBoost model splits categorical features; encode them as numbers before training.")
    names = {theirs: ours for ours, theirs in LOSSES.items()}
    if loss not in names:
        raise UserError(f"the CatBoost model's loss is {loss}; known are {', '.join(names)}.")
    treatments = {feature["nan_value_treatment"] for feature in features} - {"AsIs"}
    if len(treatments) > 1:
        raise UserError("the CatBoost model sends missing values left in some features, right in others; use one.")
    missing = "max" if treatments == {"AsTrue"} else "min"
    columns = 1 + max(feature["flat_feature_index"] for feature in features)
    values, ids = [np.zeros(0, np.float32)] * columns, [""] * columns
    for feature in features:
        values[feature["flat_feature_index"]] = np.asarray(feature["borders"] or [], np.float32)
        ids[feature["flat_feature_index"]] = feature["feature_id"]
    borders = binning.given(values, "left", missing, tuple(ids) if all(ids) else None)
    place = [feature["flat_feature_index"] for feature in features]

    depth, outputs = max(map(len, splits), default=0), len(bias)
    feature, threshold = np.zeros((2, len(trees), depth), np.int32)
    leaves, cover = [], []
    for t, (tree, parts) in enumerate(zip(trees, splits)):
        for d, split in enumerate(parts):
            feature[t, d] = place[split["float_feature_index"]]
            of_feature = np.clip(borders.values[feature[t, d]], -LARGEST, LARGEST)
            threshold[t, d] = np.searchsorted(of_feature, np.float32(split["border"]))
        copies = 2 ** (depth - len(parts))
        leaves.append(np.tile(np.reshape(tree["leaf_values"], (-1, outputs)), (copies, 1)) * scale)
        cover.append(np.tile(np.divide(tree["leaf_weights"], copies), copies))
    leaves = jnp.asarray(np.reshape(leaves, (len(trees), -1, outputs)), jnp.float32)
    cover = jnp.asarray(np.reshape(cover, (len(trees), -1)), jnp.float32)
    no_side = jnp.zeros(feature.shape, bool)
    found = Trees(jnp.asarray(feature), jnp.asarray(threshold), no_side, None, leaves, cover, None)
    return ensemble.collect(found, borders, bias, ensemble.objective_of(names[loss], outputs))


def _classes(labels):
    kinds = {"i": "Integer", "u": "Integer", "b": "Boolean", "f": "Float"}
    labels = np.asarray(labels)
    kind = kinds.get(labels.dtype.kind, "String")
    return {
        "class_label_type": kind,
        "class_names": [str(x) for x in labels] if kind == "String" else labels.tolist(),
        "class_to_label": list(range(len(labels))),
        "classes_count": 0,
    }
