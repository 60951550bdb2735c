"""Writes xgboost_*.json: the trees that XGBoost's hist grows, depthwise, on small tables; and estimators_xgboost.json:
raw predictions of the first rows by its estimators, and their metrics on every other row, which they are not fitted to.

python -m tests.peers.make_xgboost, by hand, where xgboost is installed. No test imports this file.

Tables are those of tables.py. A case holds its table's name, parameters, start, trees and the raw predictions of the
first rows. Cuts are kept for the file, a list for each max_bin, without the two beyond the data. A tree is a list of
its nodes level by level: [feature, number of the cut, whether missing values go right], or a leaf's value, or the list
of its values in a list, with nine digits; the children of the first node that asks come first.
"""

import itertools
import json
import pathlib

import numpy as np
import xgboost

from tests.peers import tables

SAME = {"tree_method": "hist", "grow_policy": "depthwise", "nthread": 1, "seed": 0}
LOGISTIC = {"objective": "binary:logistic", "base_score": 0.5}
WINE, DIGITS = ({"objective": "multi:softprob", "num_class": classes, "base_score": 0.0} for classes in (3, 10))
VECTORS = {"multi_strategy": "multi_output_tree", "base_score": 0.0}
TREES, ROWS = 50, 100

# file: cases of (name, table, parameters)
CASES = {
    "diabetes": [
        ("plain", "diabetes", {"max_depth": 6}),
        ("alpha", "diabetes", {"max_depth": 4, "alpha": 200, "lambda": 0, "min_child_weight": 5, "max_bin": 64}),
        ("weighted", "diabetes", {"max_depth": 5, "gamma": 5000, "lambda": 10, "max_bin": 64, "weighted": True}),
    ],
    "sparse": [
        ("deep", "diabetes_sparse", {"max_depth": 7, "eta": 0.1, "max_bin": 64}),
        ("heavy", "diabetes_sparse", {"max_depth": 3, "min_child_weight": 20, "lambda": 0.1, "max_bin": 32}),
    ],
    "breast_cancer": [
        ("plain", "breast_cancer", LOGISTIC | {"max_depth": 6}),
        (
            "all",
            "breast_cancer",
            LOGISTIC | {"max_depth": 8, "alpha": 1, "gamma": 0.5, "min_child_weight": 3, "max_bin": 64},
        ),
        ("weighted", "breast_cancer", LOGISTIC | {"max_depth": 2, "lambda": 3, "weighted": True, "max_bin": 32}),
    ],
    "classes": [
        ("digits", "digits", DIGITS | {"max_depth": 4, "alpha": 0.1, "max_bin": 32}),
        ("vectors", "wine", WINE | VECTORS | {"max_depth": 3, "min_child_weight": 0, "max_bin": 64}),
    ],
    "friedman": [
        ("deep", "friedman", {"max_depth": 8, "eta": 0.1, "min_child_weight": 40}),
        ("vectors", "friedman_outputs", VECTORS | {"max_depth": 5, "max_bin": 64}),
    ],
    "california": [("plain", "california", {"max_depth": 6})],
}
DART = {"booster": "dart", "rate_drop": 1.0}  # all trees, so that nothing is left to chance

# name: table, parameters of the estimator
ESTIMATORS = {
    "exact": ("diabetes", {"tree_method": "exact", "max_depth": 4}),
    "exact-sparse": (
        "diabetes_sparse",
        {"tree_method": "exact", "gamma": 2000.0, "reg_alpha": 10.0, "min_child_weight": 4.0},
    ),
    "exact-logistic": ("breast_cancer", {"tree_method": "exact"}),
    "exact-classes": ("wine", {"tree_method": "exact"}),
    "dart-tree": ("diabetes", DART),
    "dart-forest": ("diabetes", DART | {"normalize_type": "forest"}),
    "parallel": ("diabetes", {"num_parallel_tree": 4}),
    "estimated-base": ("breast_cancer", {}),
    "base": ("breast_cancer", {"base_score": 0.3}),
    "positive": ("breast_cancer", {"scale_pos_weight": 5.0}),
    "positive-base": ("breast_cancer", {"scale_pos_weight": 0.2, "base_score": 0.5}),
    "raw": ("breast_cancer", {"objective": "binary:logitraw"}),
    "raw-positive": ("breast_cancer", {"objective": "binary:logitraw", "scale_pos_weight": 3.0}),
    "counts": ("diabetes", {"objective": "count:poisson", "base_score": 10.0}),  # so that steps end at 0.7
    "steps": ("breast_cancer", {"max_delta_step": 0.3, "reg_alpha": 0.5}),
    "exact-steps": ("diabetes", {"objective": "count:poisson", "max_delta_step": 0.1, "tree_method": "exact"}),
    "vectors": ("wine", {"multi_strategy": "multi_output_tree"}),
    "vectors-steps": (
        "wine",
        {"multi_strategy": "multi_output_tree", "max_delta_step": 0.3, "reg_alpha": 0.3, "min_child_weight": 3.0},
    ),
    "stopped": ("diabetes", {"early_stopping_rounds": 5, "eval_metric": ["mae", "rmse"]}),
    "stopped-auc": ("breast_cancer", {"early_stopping_rounds": 5, "eval_metric": ["logloss", "auc"]}),
    "approx": ("diabetes", {"tree_method": "approx", "max_bin": 16, "max_depth": 3, "learning_rate": 0.1}),
    "approx-logistic": (
        "breast_cancer",
        {"tree_method": "approx", "max_bin": 16, "max_depth": 3, "learning_rate": 0.1},
    ),
}


def digits(values):
    return [float(f"{v:.9g}") for v in np.ravel(values)]


def nodes(tree, cuts):
    """A tree of XGBoost's file as a list of its nodes, see above."""
    size, found, level = int(tree["tree_param"]["size_leaf_vector"]), [], [0]
    vectors = np.reshape(tree.get("leaf_weights", []), (-1, size))
    while level:
        below = []
        for node in level:
            left, right = tree["left_children"][node], tree["right_children"][node]
            if left < 0:  # with vectors the right child is the leaf's number
                found.append([digits(vectors[right])] if size > 1 else float(f"{tree['split_conditions'][node]:.9g}"))
                continue
            f = tree["split_indices"][node]
            at = int(np.searchsorted(cuts[f], np.float32(tree["split_conditions"][node])))
            assert cuts[f][at] == np.float32(tree["split_conditions"][node])
            found.append([f, at, 1 - tree["default_left"][node]])
            below += [left, right]
        level = below
    return found


def case(name, table, params):
    """(cuts, what is kept of a case)."""
    x, y, w = tables.load(table)
    params = {"eta": 0.3, "max_bin": 256, "base_score": float(f"{y.mean():.9g}")} | params
    given = {key: value for key, value in params.items() if key != "weighted"}
    data = xgboost.QuantileDMatrix(x, y, weight=w if params.get("weighted") else None, max_bin=params["max_bin"])
    pointers, values = data.get_quantile_cut()
    cuts = [values[a + 1 : b] for a, b in itertools.pairwise(pointers)]
    booster = xgboost.train(SAME | given, data, TREES)
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]
    trees = [nodes(tree, cuts) for tree in model["trees"]]
    outputs = params.get("num_class") or (y.shape[1] if y.ndim > 1 else 1)
    score = 0.0 if params.get("objective") else params["base_score"]  # logistic's 0.5 is a score of 0
    kept = {"name": name, "table": table, "params": params, "start": [score] * outputs, "trees": trees}
    predictions = booster.predict(xgboost.DMatrix(x[:ROWS]), output_margin=True)
    return [digits(c[:-1]) for c in cuts], kept | {"predictions": digits(predictions)}


def by_estimator(table, params):
    """What is kept of an estimator's case: the number of rounds, predictions, and evals of each of two eval sets."""
    x, y, _ = tables.load(table)
    kind = xgboost.XGBRegressor if table.startswith("diabetes") else xgboost.XGBClassifier
    model = kind(**{"n_estimators": 20, "max_depth": 3, "tree_method": "hist", "n_jobs": 1} | params)
    model.fit(x[::2], y[::2], eval_set=[(x[::2], y[::2]), (x[1::2], y[1::2])], verbose=False)
    found = {"table": table, "params": params, "predictions": digits(model.predict(x[:ROWS], output_margin=True))}
    evals = {of: {name: digits(v) for name, v in values.items()} for of, values in model.evals_result().items()}
    return found | {"evals": evals, "best": getattr(model, "best_iteration", None)}


def main():
    """Writes the files beside this one."""
    found = {name: by_estimator(*of) for name, of in ESTIMATORS.items()}
    path = pathlib.Path(__file__).with_name("estimators_xgboost.json")
    path.write_text(json.dumps({"versions": [xgboost.__version__], "cases": found}, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size)
    for file, cases in CASES.items():
        of_file, kept = {}, []
        for name, table, params in cases:
            cuts, entry = case(name, table, params)
            of_file[f"{table}_{entry['params']['max_bin']}{'_weighted' * params.get('weighted', False)}"] = cuts
            kept.append(entry)
        path = pathlib.Path(__file__).with_name(f"xgboost_{file}.json")
        found = {"versions": [xgboost.__version__], "cuts": of_file, "cases": kept}
        path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
