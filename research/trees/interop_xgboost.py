"""Ensembles as XGBoost's JSON and back. Entry points: `to_xgboost`, `from_xgboost`."""

import jax.numpy as jnp
import numpy as np

from research.errors import UserError
from research.trees import ensemble, fit_linear, forest, linear

LARGEST = np.nextafter(np.finfo(np.float32).max, np.float32(0))  # our infinity: the largest is a border of missing ones
OBJECTIVES = {  # ours: XGBoost's, and where a score of 0 is in the unit of its base_score
    "squared": ("reg:squarederror", 0.0),
    "absolute": ("reg:absoluteerror", 0.0),
    "logistic": ("binary:logistic", 0.5),
    "softmax": ("multi:softprob", 0.0),
    "poisson": ("count:poisson", 1.0),
    "quantile": ("reg:quantileerror", 0.0),
    "pseudo_huber": ("reg:pseudohubererror", 0.0),
    "squared_log": ("reg:squaredlogerror", 0.0),
    "cross_entropy": ("reg:logistic", 0.5),
    "logistic_raw": ("binary:logitraw", 0.0),
    "gamma": ("reg:gamma", 1.0),
    "tweedie": ("reg:tweedie", 1.0),
    "multi_squared": ("reg:squarederror", 0.0),
}
SCORE = {0.0: lambda score: score, 0.5: lambda p: np.log(p) - np.log1p(-p), 1.0: np.log}  # of a base_score, by that
PARAMS = {  # of objectives: XGBoost's section and name, our option, its default
    "poisson": ("poisson_regression_param", "max_delta_step", "step", "0.7"),
    "tweedie": ("tweedie_regression_param", "tweedie_variance_power", "power", "1.5"),
    "quantile": ("quantile_loss_param", "quantile_alpha", "alpha", "0.5"),
    "pseudo_huber": ("pseudo_huber_param", "huber_slope", "slope", "1.0"),
}


def to_xgboost(of):
    """The dict that XGBoost's load_model reads from a JSON file, of an Ensemble or a Forest with at least one tree, or
    of a fit_linear.Model.

    The start is in the leaves of the first trees, as it may have no base_score that float32 can tell from 1. A loss
    that XGBoost has not becomes the squared one: predictions are the raw ones then. Raises UserError for no trees.
    """
    if isinstance(of, fit_linear.Model):
        weights = np.concatenate([of.linear.weights, of.linear.bias[None]]).ravel().tolist()
        return _learner(of, {"model": {"boosted_rounds": 1, "weights": weights}, "name": "gblinear"})
    if not len(of.feature):
        raise UserError("the ensemble has no trees; XGBoost's JSON needs at least one.")
    of = of if isinstance(of, forest.Forest) else forest.of_oblivious(of)
    outputs, rounds = len(of.start), len(of.feature)
    fields = {name: None if (x := getattr(of, name)) is None else np.asarray(x) for name in forest.OF_TREES}
    trees = [_written(of, fields, t, k) for t in range(rounds) for k in range(outputs)]
    model = {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
        "iteration_indptr": list(range(0, len(trees) + 1, outputs)),
        "tree_info": list(range(outputs)) * rounds,
        "trees": trees,
    }
    return _learner(of, {"model": model, "name": "gbtree"})


def _learner(of, booster):
    """The whole dict around a booster."""
    name, zero = OBJECTIVES.get(of.loss_name, OBJECTIVES["squared"])
    outputs, several, extra = len(of.start), of.loss_name == "softmax", {}
    if several:
        extra = {"softmax_multiclass_param": {"num_class": str(outputs)}}
    if of.loss_name in PARAMS:
        section, theirs, ours, value = PARAMS[of.loss_name]
        options = dict(part.split("=") for part in of.objective.partition(":")[2].split(",") if part)
        extra = {section: {theirs: options.get(ours, value)}}
    learner = {
        "attributes": {},
        "feature_names": list(of.names or ()),
        "feature_types": ["float"] * len(of.names or ()),
        "gradient_booster": booster,
        "learner_model_param": {
            "base_score": repr(zero),
            "boost_from_average": "0",
            "num_class": str(outputs if several else 0),
            "num_feature": str(of.columns),
            "num_target": str(1 if several else outputs),
        },
        "objective": {"name": name} | extra,
    }
    return {"learner": learner, "version": [3, 0, 0]}


def _written(of, fields, t, k):
    """XGBoost's tree for output k of a round."""
    j = k if fields["left"].shape[1] > 1 else 0
    here = {name: None if x is None else x[t, j] for name, x in fields.items()}
    order, left, _ = _order(here["left"], here["left"] + 1)
    here = {name: np.zeros(len(order)) if x is None else x[order] for name, x in here.items()}
    leaf = left == 0
    border = np.nextafter(here["border"], np.float32(np.inf)) if of.side == "left" else here["border"]  # x <= b: x < b'
    value = here["value"][:, k - j].astype(np.float64) + (t == 0) * np.asarray(of.start)[k]
    parents = np.full(len(order), 2147483647)
    for child in (left, left + 1):
        parents[child[~leaf]] = np.flatnonzero(~leaf)
    inner = {
        "default_left": np.where(leaf | (here["missing_right"] > 0), 0, 1),
        "left_children": np.where(leaf, -1, left),
        "loss_changes": here["gain"],
        "right_children": np.where(leaf, -1, left + 1),
        "split_conditions": np.where(leaf, value, np.clip(border, -LARGEST, LARGEST)),
        "split_indices": here["feature"],
    }
    return {name: x.tolist() for name, x in inner.items()} | {
        "base_weights": np.where(leaf, value, 0).tolist(),
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "id": t * len(of.start) + k,
        "parents": parents.tolist(),
        "split_type": [0] * len(order),
        "sum_hessian": here["cover"].tolist(),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(of.columns),
            "num_nodes": str(len(order)),
            "size_leaf_vector": "1",
        },
    }


def from_xgboost(model):
    """The Forest, or the fit_linear.Model, of the dict in a JSON file that XGBoost's save_model wrote.

    Raises UserError for what is no such dict, for categories, and for boosters and objectives that have no place here.
    """
    try:
        learner = model["learner"]
        booster, param, name = learner["gradient_booster"], learner["learner_model_param"], learner["objective"]["name"]
        names = {theirs: ours for ours, (theirs, _) in reversed(OBJECTIVES.items())} | {"multi:softmax": "softmax"}
        if name not in names:
            raise UserError(f"the XGBoost model's objective is {name}; known are {', '.join(names)}.")
        outputs = max(1, int(param["num_class"]), int(param.get("num_target", 1)))
        loss = "multi_squared" if outputs > 1 and names[name] == "squared" else names[name]
        objective = ensemble.objective_of(loss, outputs)
        if loss in PARAMS:
            section, theirs, ours, value = PARAMS[loss]
            value = learner["objective"].get(section, {}).get(theirs, value)
            objective = f"{loss}:{ours}={float(value.strip('[]')):g}"
        base = np.array(param["base_score"].strip("[]").split(","), np.float64)
        start = jnp.asarray(np.broadcast_to(SCORE[OBJECTIVES[loss][1]](base), outputs), jnp.float32)
        feature_names = tuple(learner["feature_names"]) or None
        if booster["name"] == "gblinear":
            weights = jnp.asarray(booster["model"]["weights"], jnp.float32).reshape(-1, outputs)
            bias = weights[-1] + start[0]  # XGBoost 3.2 adds the first one to all outputs
            return fit_linear.Model(linear.Linear(weights[:-1], bias), objective, feature_names)
        if booster["name"] not in ("gbtree", "dart"):
            raise UserError(f"the XGBoost model is {booster['name']}; known are gbtree, dart and gblinear.")
        scale = booster.get("weight_drop")
        booster = booster["gbtree"] if booster["name"] == "dart" else booster
        trees, info = booster["model"]["trees"], booster["model"]["tree_info"]
    except (KeyError, TypeError) as error:
        raise UserError(f"no XGBoost model of trees: {error} is missing; save one as JSON.") from None
    read = [_read(tree, t) for t, tree in enumerate(trees)]
    for (fields, _), weight in zip(read, scale or ()):
        fields["value"] = fields["value"] * weight
    width = max((fields["value"].shape[1] for fields, _ in read), default=outputs)
    shape = (len(info) // (outputs // width), outputs // width, max((len(f["left"]) for f, _ in read), default=1))
    kinds = dict(
        feature=np.int32, border=np.float32, missing_right=bool, left=np.int32, gain=np.float32, cover=np.float32
    )
    whole = {name: np.zeros(shape, kind) for name, kind in kinds.items()} | {
        "value": np.zeros((*shape, width), np.float32)
    }
    rounds = [0] * outputs
    for j, (fields, _) in zip(info, read):
        for field, x in fields.items():
            whole[field][rounds[j], j, : len(x)] = x
        rounds[j] += 1
    found = forest.Forest(
        **{name: jnp.asarray(x) for name, x in whole.items()},
        start=start,
        side="right",
        depth=max((depth for _, depth in read), default=0),
        columns=int(param["num_feature"]),
        objective=objective,
        names=feature_names,
    )
    return forest.heaped(found)


def _read(tree, number):
    """(fields of a Forest of one tree, its depth)."""
    if any(tree["split_type"]):
        raise UserError(
            f"tree {number} of the XGBoost model splits categories; encode them as numbers before training."
        )
    order, left, depth = _order(tree["left_children"], tree["right_children"])
    leaf, width = left == 0, max(1, int(tree["tree_param"]["size_leaf_vector"]))
    condition = np.asarray(tree["split_conditions"], np.float32)[order]
    value = condition[:, None]
    if width > 1:
        if "leaf_weights" not in tree:
            raise UserError(
                f"tree {number} of the XGBoost model has vector leaves of another version; save it with 3.2."
            )
        place = np.where(leaf, np.asarray(tree["right_children"])[order], 0)
        value = np.asarray(tree["leaf_weights"], np.float32).reshape(-1, width)[place]
    fields = {
        "feature": np.asarray(tree["split_indices"])[order] * ~leaf,
        "border": np.where(leaf, 0, condition),
        "missing_right": ~np.asarray(tree["default_left"], bool)[order] & ~leaf,
        "left": left,
        "value": np.where(leaf[:, None], value, 0),
        "gain": np.asarray(tree["loss_changes"])[order],
        "cover": np.asarray(tree["sum_hessian"])[order],
    }
    return fields, depth


def _order(left, right):
    """(nodes from the root on, level by level; of each the place there of its left child, or 0; the depth).

    left, right: children of each node; one without has no positive left one.
    """
    order, level, found = [0], [0], []
    for node, depth in zip(order, level):  # which grow on the way
        inner = left[node] > 0
        found.append(len(order) if inner else 0)
        if inner:
            order += [left[node], right[node]]
            level += [depth + 1] * 2
    return np.array(order), np.array(found), level[-1]
