"""Writes linear.json: the weights that XGBoost's gblinear finds on small tables, and files with starts it estimates.

python -m tests.peers.make_linear, by hand, where xgboost is installed. No test imports this file.
"""

import json
import pathlib

import numpy as np
import xgboost

from tests.peers import tables

ROUNDS = 30
CASES = {  # table and parameters
    "least squares": ("diabetes", {"eta": 0.5}),
    "elastic net": ("diabetes", {"eta": 1.0, "lambda": 0.1, "alpha": 5.0}),
    "missing": ("diabetes_sparse", {"eta": 0.5, "lambda": 0.01}),
    "weighted": ("diabetes", {"eta": 0.5, "lambda": 0.05, "weighted": True}),
    "logistic": ("breast_cancer", {"objective": "binary:logistic", "lambda": 0.01, "alpha": 0.02}),
    "classes": ("wine", {"objective": "multi:softprob", "num_class": 3, "lambda": 0.01}),
}
FILES = {  # the same, for a few rounds
    "classes": ("wine", {"objective": "multi:softprob", "num_class": 3, "lambda": 0.01}),
    "outputs": ("friedman_outputs", {"lambda": 0.01}),
}
SAME = {"booster": "gblinear", "updater": "coord_descent", "feature_selector": "cyclic", "nthread": 1}


def case(table, params):
    """What is kept of a case: weights [F, K], bias [K] without the start, and the raw predictions of some rows."""
    x, y, w = tables.load(table)
    x, given = tables.standardized(x), {key: value for key, value in params.items() if key != "weighted"}
    rows = xgboost.DMatrix(x, y, weight=w if params.get("weighted") else None)
    start = {"base_score": 0.0 if "num_class" in params else 0.5}
    model = xgboost.train(SAME | start | given, rows, ROUNDS)
    found = json.loads(bytes(model.save_raw("json")))["learner"]["gradient_booster"]["model"]["weights"]
    found = np.reshape(found, (-1, params.get("num_class", 1)))
    digits = [[float(f"{value:.9g}") for value in row] for row in found]
    return {"table": table, "params": params, "weights": digits[:-1], "bias": digits[-1]}


def saved(table, params):
    """A file, after 5 rounds, and its raw predictions of some rows."""
    x, y, _ = tables.load(table)
    rows = xgboost.DMatrix(tables.standardized(x), y)
    model = xgboost.train(SAME | params, rows, 5)
    predictions = [float(f"{value:.9g}") for value in model.predict(rows, output_margin=True)[:20].ravel()]
    return {"table": table, "model": json.loads(bytes(model.save_raw("json"))), "predictions": predictions}


def main():
    """Writes the file beside this one."""
    kept = {name: case(*spec) for name, spec in CASES.items()}
    files = {name: saved(*spec) for name, spec in FILES.items()}
    path = pathlib.Path(__file__).with_name("linear.json")
    found = {"version": xgboost.__version__, "rounds": ROUNDS, "cases": kept, "files": files}
    path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
