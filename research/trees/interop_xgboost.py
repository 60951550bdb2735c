"""Ensembles as XGBoost's JSON and back: an oblivious tree is a full binary one. Entry points: `to_`, `from_xgboost`."""

import jax.numpy as jnp
import numpy as np

from research.errors import UserError
from research.trees import binning, ensemble
from research.trees.boosting import Trees

LARGEST = np.nextafter(np.finfo(np.float32).max, np.float32(0))  # our infinity: the largest is a border of missing ones
OBJECTIVES = {  # ours: XGBoost's, and where a score of 0 is in the unit of its base_score
    "squared": ("reg:squarederror", 0.0),
    "absolute": ("reg:absoluteerror", 0.0),
    "logistic": ("binary:logistic", 0.5),
    "softmax": ("multi:softprob", 0.0),
    "poisson": ("count:poisson", 1.0),
    "multi_squared": ("reg:squarederror", 0.0),
}
SCORE = {"binary:logistic": lambda p: np.log(p) - np.log1p(-p), "count:poisson": np.log}  # of a base_score


def to_xgboost(of):
    """The dict that XGBoost's load_model reads from a JSON file, of an Ensemble with at least one tree.

    The start is in the leaves of the first trees, as it may have no base_score that float32 can tell from 1. A loss
    that XGBoost has not becomes the squared one: predictions are the raw ones then. Raises UserError for no trees.
    """
    if not len(of.feature):
        raise UserError("the ensemble has no trees; XGBoost's JSON needs at least one.")
    name, zero = OBJECTIVES.get(of.loss_name, OBJECTIVES["squared"])
    outputs, leaves = len(of.start), np.array(of.leaves, np.float64)
    leaves[0] += np.asarray(of.start)
    trees = [_tree(of, t, leaves[t, :, k], t * outputs + k) for t in range(len(leaves)) for k in range(outputs)]
    several = of.loss_name == "softmax"
    extra = {"softmax_multiclass_param": {"num_class": str(outputs)}} if several else {}
    extra |= {"poisson_regression_param": {"max_delta_step": "0.7"}} if of.loss_name == "poisson" else {}
    model = {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
        "iteration_indptr": list(range(0, len(trees) + 1, outputs)),
        "tree_info": list(range(outputs)) * len(leaves),
        "trees": trees,
    }
    learner = {
        "attributes": {},
        "feature_names": list(of.names or ()),
        "feature_types": ["float"] * len(of.names or ()),
        "gradient_booster": {"model": model, "name": "gbtree"},
        "learner_model_param": {
            "base_score": repr(zero),
            "boost_from_average": "0",
            "num_class": str(outputs if several else 0),
            "num_feature": str(len(of.counts)),
            "num_target": str(1 if several else outputs),
        },
        "objective": {"name": name} | extra,
    }
    return {"learner": learner, "version": [3, 0, 0]}


def _tree(of, t, leaves, number):
    """XGBoost's tree: node i has the children 2 i + 1, where the answer is 0, and 2 i + 2."""
    depth = of.feature.shape[1]
    inner, nodes = 2**depth - 1, 2 ** (depth + 1) - 1
    level = np.repeat(np.arange(depth), 2 ** np.arange(depth))
    feature, threshold = np.asarray(of.feature[t]), np.asarray(of.threshold[t])
    border = np.asarray(of.borders)[feature, threshold]
    border = np.nextafter(border, np.float32(np.inf)) if of.side == "left" else border  # x <= b where x < b'
    right = np.asarray(of.missing_right[t]) if of.missing == "learn" else np.full(depth, of.missing == "max")
    gain = np.zeros(depth) if of.gain is None else np.asarray(of.gain[t]) / 2.0 ** np.arange(depth)
    order = _mirrored(depth)
    cover = np.zeros(len(leaves)) if of.cover is None else np.asarray(of.cover[t], np.float64)
    covers = [cover[order]]
    while len(covers[0]) > 1:
        covers.insert(0, covers[0].reshape(-1, 2).sum(1))
    child = np.arange(nodes)
    whole = np.concatenate([np.zeros(inner), leaves[order]])

    def padded(values, of_leaf=0):
        return [*np.asarray(values).tolist(), *[of_leaf] * len(leaves)]

    return {
        "base_weights": whole.tolist(),
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": padded((~right).astype(int)[level]),
        "id": number,
        "left_children": padded(2 * child[:inner] + 1, -1),
        "loss_changes": padded(gain[level], 0.0),
        "parents": [2147483647, *((child[1:] - 1) // 2).tolist()],
        "right_children": padded(2 * child[:inner] + 2, -1),
        "split_conditions": [*np.clip(border, -LARGEST, LARGEST)[level].tolist(), *leaves[order].tolist()],
        "split_indices": padded(feature[level]),
        "split_type": [0] * nodes,
        "sum_hessian": np.concatenate(covers).tolist(),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(len(of.counts)),
            "num_nodes": str(nodes),
            "size_leaf_vector": "1",
        },
    }


def from_xgboost(model):
    """The Ensemble of the dict in a JSON file that XGBoost's save_model wrote, if its trees are oblivious.

    The trees of one round are one where they ask the same. Cover is not kept. Raises UserError for what is no such
    dict, several questions on one level, categories, vector leaves, boosters and objectives that have no place here.
    """
    try:
        learner = model["learner"]
        booster, param, name = learner["gradient_booster"], learner["learner_model_param"], learner["objective"]["name"]
        trees, info = booster["model"]["trees"], booster["model"]["tree_info"]
    except (KeyError, TypeError) as error:
        raise UserError(f"no XGBoost model of trees: {error} is missing; save one as JSON.") from None
    outputs = max(1, int(param["num_class"]), int(param.get("num_target", 1)))
    names = {theirs: ours for ours, (theirs, _) in reversed(OBJECTIVES.items())} | {"multi:softmax": "softmax"}
    if name not in names or booster["name"] != "gbtree":
        raise UserError(f"the XGBoost model is {booster['name']} with {name}; known are gbtree and {', '.join(names)}.")
    read = [_read(tree, t) for t, tree in enumerate(trees)]
    depth = max((len(asked) for asked, *_ in read), default=0)
    columns = [[ask[1] for asked, *_ in read for ask in asked if ask[0] == f] for f in range(int(param["num_feature"]))]
    borders = binning.given(
        [np.unique(values) for values in columns], "right", "learn", tuple(learner["feature_names"]) or None
    )

    rounds = []  # (questions, gains [D], leaves [2^D, K])
    for k, (asked, gain, leaves) in zip(info, read):
        if not (k and rounds[-1][0] == asked):
            rounds.append((asked, np.zeros(depth), np.zeros((2**depth, outputs))))
        rounds[-1][1][: len(gain)] += gain
        rounds[-1][2][:, k] += np.tile(leaves, 2 ** (depth - len(asked)))
    feature, threshold = np.zeros((2, len(rounds), depth), np.int32)
    right = np.zeros(feature.shape, bool)
    for t, (asked, *_) in enumerate(rounds):
        for d, (f, border, left) in enumerate(asked):
            feature[t, d], right[t, d] = f, not left
            threshold[t, d] = np.searchsorted(borders.values[f], border)
    gain, leaves = (
        np.reshape([r[i] for r in rounds], (len(rounds), *shape))
        for i, shape in ((1, (depth,)), (2, (2**depth, outputs)))
    )
    found = Trees(*map(jnp.asarray, (feature, threshold, right, np.float32(gain), np.float32(leaves))), None, None)
    base = np.array(param["base_score"].strip("[]").split(","), np.float64)
    start = np.broadcast_to(SCORE.get(name, lambda score: score)(base), outputs)
    loss = "multi_squared" if outputs > 1 and names[name] == "squared" else names[name]
    return ensemble.collect(found, borders, start, ensemble.objective_of(loss, outputs))


def _read(tree, number):
    """(questions (feature, border, missing left) of the levels, their gains, leaves [2^D] by bit index) of a tree."""
    if int(tree["tree_param"]["size_leaf_vector"]) > 1 or any(tree["split_type"]):
        raise UserError(
            f"tree {number} of the XGBoost model has vector leaves or categories; only plain trees are read."
        )
    left, right = tree["left_children"], tree["right_children"]
    border = np.clip(np.asarray(tree["split_conditions"], np.float32), -LARGEST, LARGEST)  # or a leaf
    asked, gains, level = [], [], [0]
    while inner := [node for node in level if left[node] >= 0]:
        questions = {(tree["split_indices"][n], float(border[n]), bool(tree["default_left"][n])) for n in inner}
        if len(questions) > 1:
            raise UserError(
                f"tree {number} of the XGBoost model asks {len(questions)} questions on level {len(asked)}; only "
                "oblivious trees, of one question a level, are read."
            )
        asked += questions
        gains.append(sum(tree["loss_changes"][node] for node in inner))
        level = [child for node in inner for child in (left[node], right[node])]
    leaves = np.zeros(2 ** len(asked))
    for leaf in range(len(leaves)):
        node, d = 0, 0
        while left[node] >= 0:
            node, d = (right if leaf >> d & 1 else left)[node], d + 1
        leaves[leaf] = border[node]
    return asked, gains, leaves


def _mirrored(depth):
    """[2^D]: the leaf by bit index of each leaf from left to right, whose first answer is its highest bit."""
    return sum(((np.arange(2**depth) >> d & 1) << (depth - 1 - d) for d in range(depth)), np.zeros(2**depth, int))
