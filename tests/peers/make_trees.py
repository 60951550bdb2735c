"""Writes catboost_*.json: the trees that CatBoost grows on small tables; and models.json: files that peers saved.

python -m tests.peers.make_trees, by hand, where catboost and xgboost are installed. No test imports this file.

Tables are those of tables.py. A case holds its table's name, parameters, start, trees and the raw predictions of the
first rows; a split is a feature and the number of a border among all that CatBoost chose, which are kept for the file,
a list for each border_count. Leaves have nine digits. models.json also has what peers predict with files that we wrote.
"""

import json
import pathlib
import tempfile

import catboost
import numpy as np
import xgboost

from research.trees import interop, interop_xgboost
from tests.peers import tables
from tests.trees import made

SAME = {
    "bootstrap_type": "No",
    "random_strength": 0,
    "boosting_type": "Plain",
    "leaf_estimation_backtracking": "No",
    "thread_count": 1,
    "random_seed": 0,
    "allow_writing_files": False,
    "logging_level": "Silent",
}
RMSE = {"loss_function": "RMSE", "boost_from_average": True}
LOGLOSS = {"loss_function": "Logloss", "boost_from_average": False}
CLASSES = {"loss_function": "MultiClass"}
GRADIENT, NEWTON = (
    {"leaf_estimation_method": kind, "leaf_estimation_iterations": 1} for kind in ("Gradient", "Newton")
)
SEVERAL = {"leaf_estimation_method": "Newton", "leaf_estimation_iterations": 5}
EXACT = {"leaf_estimation_method": "Exact", "boost_from_average": True}
L2, COSINE = {"score_function": "L2"}, {"score_function": "Cosine"}
TREES = 50


def options(depth, l2, rate, borders=254):
    return {"depth": depth, "l2_leaf_reg": l2, "learning_rate": rate, "border_count": borders, "iterations": TREES}


# file: cases of (name, table, parameters)
CASES = {
    "diabetes": [
        ("l2", "diabetes", RMSE | L2 | GRADIENT | options(6, 3, 0.1)),
        ("cosine", "diabetes", RMSE | COSINE | GRADIENT | options(6, 3, 0.1)),
        ("shallow", "diabetes", RMSE | COSINE | GRADIENT | options(2, 0, 0.3, 64)),
        ("weighted", "diabetes", RMSE | L2 | GRADIENT | options(4, 10, 0.1, 64) | {"weighted": True}),
        ("quantile", "diabetes", {"loss_function": "Quantile:alpha=0.3"} | COSINE | EXACT | options(4, 3, 0.1, 64)),
        ("absolute", "diabetes", {"loss_function": "MAE"} | L2 | EXACT | options(3, 1, 0.1, 64)),
    ],
    "sparse": [
        ("min", "diabetes_sparse", RMSE | COSINE | GRADIENT | options(4, 3, 0.1, 64) | {"nan_mode": "Min"}),
        ("max", "diabetes_sparse", RMSE | L2 | GRADIENT | options(4, 3, 0.1, 64) | {"nan_mode": "Max"}),
    ],
    "breast_cancer": [
        ("gradient", "breast_cancer", LOGLOSS | L2 | GRADIENT | options(6, 3, 0.1)),
        ("newton", "breast_cancer", LOGLOSS | COSINE | NEWTON | options(4, 1, 0.1) | {"boost_from_average": True}),
        ("several", "breast_cancer", LOGLOSS | COSINE | SEVERAL | options(3, 10, 0.1)),
    ],
    "classes": [
        ("gradient", "wine", CLASSES | COSINE | GRADIENT | options(4, 3, 0.1, 64)),
        ("newton", "wine", CLASSES | L2 | NEWTON | options(3, 1, 0.1, 64)),
        ("digits", "digits", CLASSES | COSINE | GRADIENT | options(4, 3, 0.3, 64)),
    ],
    "friedman": [
        ("deep", "friedman", RMSE | COSINE | GRADIENT | options(8, 3, 0.1)),
        ("l2", "friedman", RMSE | L2 | GRADIENT | options(6, 30, 0.3, 64)),
        ("outputs", "friedman_outputs", RMSE | COSINE | options(5, 3, 0.1, 64) | {"loss_function": "MultiRMSE"}),
    ],
    "california": [("cosine", "california", RMSE | COSINE | GRADIENT | options(6, 3, 0.1))],
}
MODELS = {  # of CatBoost
    "regression": ("diabetes_sparse", {"loss_function": "RMSE", "depth": 3, "nan_mode": "Min"}),
    "uneven": ("diabetes_sparse", {"loss_function": "Quantile:alpha=0.3", "depth": 2, "nan_mode": "Max"}),
    "binary": ("breast_cancer", {"loss_function": "Logloss", "depth": 3}),
    "classes": ("wine", {"loss_function": "MultiClass", "depth": 2}),
    "outputs": ("friedman_outputs", {"loss_function": "MultiRMSE", "depth": 3}),
}
OF_XGBOOST = {  # by default hist, depth 4, 5 rounds
    "regression": ("diabetes_sparse", {}),
    "pruned": ("diabetes_sparse", {"tree_method": "exact", "gamma": 30000, "max_depth": 6}),
    "binary": ("breast_cancer", {"objective": "binary:logistic"}),
    "classes": ("wine", {"objective": "multi:softprob", "num_class": 3}),
    "parallel": ("wine", {"objective": "multi:softmax", "num_class": 3, "num_parallel_tree": 2, "subsample": 0.5}),
    "counts": ("wine", {"objective": "count:poisson"}),
    "outputs": ("friedman_outputs", {"max_depth": 3}),
    "vectors": ("friedman_outputs", {"multi_strategy": "multi_output_tree"}),
}
OURS = {  # of made.random
    "catboost": [{"missing": "min"}, {"missing": "max", "side": "right", "outputs": 3}],
    "xgboost": [{"missing": "max"}, {"missing": "learn", "side": "right", "outputs": 3}],
    "forest": [{"side": "left"}, {"side": "right", "outputs": 3, "per_output": True}],  # of made.random_forest
}


def digits(values):
    return [float(f"{v:.9g}") for v in np.ravel(values)]


def borders(pool, f_count):
    with tempfile.NamedTemporaryFile() as file:
        pool.save_quantization_borders(file.name)
        lines = [line.split() for line in pathlib.Path(file.name).read_text().splitlines()]
    return [[float(border) for column, border, *_ in lines if int(column) == f] for f in range(f_count)]


def saved(model):
    """The dict of the file that it saves."""
    with tempfile.NamedTemporaryFile() as file:
        model.save_model(file.name, format="json")
        return json.loads(pathlib.Path(file.name).read_text())


def raw(model, x):
    return digits(model.predict(x, prediction_type="RawFormulaVal"))


def case(name, table, params):
    """(borders, what is kept of a case)."""
    x, y, w = tables.load(table)
    given = {key: value for key, value in params.items() if key != "weighted"}
    pool = catboost.Pool(x, y, weight=w if params.get("weighted") else None)
    pool.quantize(border_count=params["border_count"], nan_mode=params.get("nan_mode", "Min"))
    found = borders(pool, x.shape[1])
    model = catboost.CatBoost(SAME | given).fit(pool)
    model_dict, places = saved(model), [np.array(values, np.float32) for values in found]
    trees = []
    for tree in model_dict["oblivious_trees"]:
        splits = []
        for split in tree["splits"]:
            f = split["float_feature_index"]
            at = int(np.abs(places[f] - np.float32(split["border"])).argmin())
            assert places[f][at] == np.float32(split["border"])
            splits.append([f, at])
        trees.append({"splits": splits, "leaves": digits(tree["leaf_values"])})
    kept = {"name": name, "table": table, "params": params, "start": model_dict["scale_and_bias"][1], "trees": trees}
    return found, kept | {"predictions": raw(model, x[:5])}


def small(table, params):
    """A file that CatBoost saved, without what it says of the training, and predictions for some rows."""
    x, y, _ = tables.load(table)
    model = catboost.CatBoost(SAME | params | {"iterations": 5, "learning_rate": 0.3, "border_count": 32}).fit(x, y)
    found = saved(model)
    info = found["model_info"]
    found["model_info"] = {key: info[key] for key in ("class_params",) if key in info}
    found["model_info"]["params"] = {"loss_function": info["params"]["loss_function"]}
    return {"table": table, "model": found, "predictions": raw(model, x[:40])}


def small_xgboost(table, params):
    """The same of XGBoost: its file whole."""
    x, y, _ = tables.load(table)
    options = {"tree_method": "hist", "max_depth": 4, "max_bin": 32, "nthread": 1}
    model = xgboost.train(options | params, xgboost.DMatrix(x, y), 5)
    found = json.loads(bytes(model.save_raw("json")))
    predictions = model.predict(xgboost.DMatrix(x[:40]), output_margin=True)
    return {"table": table, "model": found, "predictions": digits(predictions)}


def ours_there(peer, case):
    """The file that we write of random trees, and what the peer predicts with it."""
    of, x = made.random_forest(**case) if peer == "forest" else made.random(**case)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        found = interop.to_catboost(of) if peer == "catboost" else interop_xgboost.to_xgboost(of)
        json.dump(found, file)
        file.flush()
        if peer == "catboost":
            there = raw(catboost.CatBoost().load_model(file.name, "json"), x)
        else:
            booster = xgboost.Booster(model_file=file.name)
            there = digits(booster.predict(xgboost.DMatrix(x), output_margin=True))
    return {"case": case, "model": found, "predictions": there}


def write(name, what):
    path, versions = pathlib.Path(__file__).with_name(f"{name}.json"), [catboost.__version__, xgboost.__version__]
    path.write_text(json.dumps({"versions": versions} | what, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size)


def main():
    """Writes the files beside this one."""
    for file, cases in CASES.items():
        of_file, kept = {}, []
        for name, table, params in cases:
            found, entry = case(name, table, params)
            of_file[f"{table}_{params['border_count']}"] = found
            kept.append(entry)
        write(f"catboost_{file}", {"borders": of_file, "cases": kept})
    write_models()


def write_models():
    """Writes models.json."""
    models = {"catboost": {name: small(*spec) for name, spec in MODELS.items()}}
    models["xgboost"] = {name: small_xgboost(*spec) for name, spec in OF_XGBOOST.items()}
    write(
        "models", models | {"ours": {peer: [ours_there(peer, case) for case in cases] for peer, cases in OURS.items()}}
    )


if __name__ == "__main__":
    main()
