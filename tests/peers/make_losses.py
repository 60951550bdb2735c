"""Writes losses.json: slopes, curvatures, starts and metrics of XGBoost.

python -m tests.peers.make_losses, by hand, where xgboost is installed. No test imports this file.

A slope and a curvature are those of a tree of one row and one leaf, whose start is the score.
"""

import json
import pathlib

import numpy as np
import xgboost

ROWS, RNG = 25, np.random.default_rng(0)
LAMBDA = 1000.0  # so that no leaf is cut off at max_delta_step
NUMBERS, COUNTS = RNG.normal(2, 3, ROWS), RNG.poisson(2.5, ROWS)
POSITIVE, SHARES, ONES, CLASSES = (
    RNG.gamma(2, 2, ROWS),
    RNG.random(ROWS),
    np.arange(ROWS) % 3 == 0,
    np.arange(ROWS) % 7 % 3,
)
W = RNG.integers(1, 5, ROWS) / 2
CASES = {  # name: objective, its parameters, labels
    "squared": ("reg:squarederror", {}, NUMBERS),
    "absolute": ("reg:absoluteerror", {}, NUMBERS),
    "pseudo_huber": ("reg:pseudohubererror", {"huber_slope": 0.7}, NUMBERS),
    "quantile": ("reg:quantileerror", {"quantile_alpha": 0.8}, NUMBERS),
    "squared_log": ("reg:squaredlogerror", {}, POSITIVE - 0.9),
    "cross_entropy": ("reg:logistic", {}, SHARES),
    "logistic": ("binary:logistic", {}, ONES),
    "logistic_raw": ("binary:logitraw", {}, ONES),
    "softmax": ("multi:softprob", {"num_class": 3}, CLASSES),
    "classes": ("multi:softmax", {"num_class": 3}, CLASSES),
    "poisson": ("count:poisson", {}, COUNTS),
    "poisson, step": ("count:poisson", {"max_delta_step": 0.2}, COUNTS),
    "gamma": ("reg:gamma", {}, POSITIVE),
    "tweedie": ("reg:tweedie", {"tweedie_variance_power": 1.3}, COUNTS),
}
TREE = {"max_depth": 1, "min_child_weight": 0, "lambda": LAMBDA, "eta": 1.0, "nthread": 1, "tree_method": "exact"}
WATCHED = {  # metrics: predictions, labels
    "rmse mae mape mphe quantile": (NUMBERS[::-1], NUMBERS),
    "rmsle poisson-nloglik gamma-nloglik gamma-deviance tweedie-nloglik@1.3 tweedie-nloglik@1.8": (
        POSITIVE[::-1],
        POSITIVE,
    ),
    "logloss error error@0.7 auc aucpr": (np.round((SHARES + ONES) / 2, 1), ONES),
}


def digits(values):
    return [float(f"{v:.9g}") for v in np.ravel(values)]


def booster(params, x, y, rounds=1, **data):
    return xgboost.train(params, xgboost.DMatrix(x, y, **data), rounds)


def one_row(objective, params, score, y):
    """(slope [K], curvature [K]) of one row."""
    x = np.zeros((1, 1))
    given = TREE | {"objective": objective, "base_score": 0.5} | params
    model = booster(given, x, [y], base_margin=np.reshape(score, (1, -1)))
    trees = json.loads(bytes(model.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]
    h = np.array([tree["sum_hessian"][0] for tree in trees])
    return -np.array([tree["base_weights"][0] for tree in trees]) * (h + LAMBDA), h


def case(objective, params, y):
    """What is kept of a case; one score is the label itself, where a loss may have a corner."""
    y, outputs = np.asarray(y, np.float32), params.get("num_class", 1)
    score = RNG.normal(0, 1.5, (len(y), outputs)).astype(np.float32)
    if objective in ("reg:absoluteerror", "reg:quantileerror"):
        score[0] = y[0]
    g, h = zip(*(one_row(objective, params, *row) for row in zip(score, y)))
    starts = []
    for w in (None, W):
        still = {"objective": objective, "eta": 0.0} | params
        model = booster(still, np.zeros((len(y), 1)), y, weight=w)
        starts.append(digits(model.predict(xgboost.DMatrix(np.zeros((1, 1))), output_margin=True)))
    metric = model.eval(xgboost.DMatrix(np.zeros((1, 1)), y[:1])).partition("eval-")[2].rpartition(":")[0]
    kept = {"objective": objective, "params": params, "y": digits(y), "score": digits(score), "g": digits(g)}
    return kept | {"h": digits(h), "starts": starts, "metric": metric}


def watched(names, prediction, y, w):
    """{metric: value}: a model with no trees predicts what it starts from."""
    data = xgboost.DMatrix(np.zeros((len(y), 1)), y, weight=w, base_margin=prediction)
    several = np.ndim(prediction) > 1
    params = {"objective": "multi:softprob", "num_class": 3} if several else {"objective": "reg:squarederror"}
    params |= {"eval_metric": names.split(), "base_score": 0.5, "quantile_alpha": 0.8, "huber_slope": 0.7}
    model = xgboost.train(params, data, 0)
    return {
        name.removeprefix("eval-"): float(value)
        for name, value in (pair.rsplit(":", 1) for pair in model.eval(data).split("\t")[1:])
    }


def main():
    """Writes the file beside this one."""
    kept = {name: case(*spec) for name, spec in CASES.items()}
    metrics = []
    classes = RNG.normal(0, 1, (ROWS, 3))
    for names, (prediction, y) in (WATCHED | {"merror mlogloss auc": (classes, CLASSES)}).items():
        for w in (None, W):
            found = watched(names, prediction, np.asarray(y, np.float32), w)
            shown = np.exp(prediction) / np.exp(prediction).sum(1, keepdims=True) if prediction.ndim > 1 else prediction
            entry = {"prediction": [digits(row) for row in np.atleast_2d(shown)], "y": digits(y)}
            metrics.append(entry | {"w": None if w is None else digits(w), "values": found})
    found = {"version": xgboost.__version__, "w": digits(W), "cases": kept, "metrics": metrics}
    path = pathlib.Path(__file__).with_name("losses.json")
    path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
