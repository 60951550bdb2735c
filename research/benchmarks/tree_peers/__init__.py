"""CatBoost, XGBoost and LightGBM on the work of the benchmark of trees; a peer is imported where it is used.

Each function of PEERS bins the table, which is not timed, and returns (fit(number of trees) -> model,
predict(model, x)). All grow trees of the same depth at the same rate by the same loss; what is left is each one's own.
"""

import time
from typing import NamedTuple

import numpy as np

from research import benchmarks

RATE, L2 = 0.1, 3.0


class Work(NamedTuple):
    """A table of that size. classes 0: a number is learnt, by the squared error; more: labels, by softmax."""

    rows: int
    features: int
    bins: int
    classes: int = 0
    depth: int = 6
    threads: int = 2
    vector: bool = False  # XGBoost's trees have a leaf of all classes, and not of one
    gpu: bool = False  # for the two peers that can


def table(work, seed=0):
    """(x [N, F] uniform, y [N]): Friedman's function of five columns and noise; its quantiles if there are classes."""
    rng = np.random.default_rng(seed)
    x = rng.random((work.rows, work.features), np.float32)
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    y += rng.normal(size=work.rows).astype(np.float32)
    if work.classes:
        y = np.digitize(y, np.quantile(y, np.arange(1, work.classes) / work.classes))
    return x, y


def catboost(work, x, y):
    """CatBoost without what is drawn by chance, and with Gradient leaves and score L2, as ours."""
    import catboost

    pool = catboost.Pool(x, y)
    pool.quantize(border_count=work.bins - 1, task_type="GPU" if work.gpu else "CPU")
    options = {"depth": work.depth, "learning_rate": RATE, "l2_leaf_reg": L2, "thread_count": work.threads}
    options |= {"bootstrap_type": "No", "random_strength": 0, "boosting_type": "Plain", "metric_period": 1000}
    options |= {"leaf_estimation_method": "Gradient", "leaf_estimation_iterations": 1, "score_function": "L2"}
    options |= {"loss_function": "MultiClass" if work.classes else "RMSE", "allow_writing_files": False, "verbose": 0}
    options |= {"task_type": "GPU"} if work.gpu else {}

    def fit(num_trees):
        return catboost.CatBoost(options | {"iterations": num_trees}).fit(pool)

    return fit, lambda model, x: model.predict(x, thread_count=work.threads)


def xgboost(work, x, y):
    """XGBoost hist, depthwise."""
    import xgboost

    if work.gpu:
        data = xgboost.DMatrix(x, y)  # binned on the card, in the first fit
    else:
        data = xgboost.QuantileDMatrix(x, y, max_bin=work.bins, nthread=work.threads)
    options = {"max_depth": work.depth, "eta": RATE, "reg_lambda": L2, "nthread": work.threads}
    options |= {"tree_method": "hist", "max_bin": work.bins, "device": "cuda" if work.gpu else "cpu"}
    if work.classes:
        options |= {"objective": "multi:softprob", "num_class": work.classes}
        options |= {"multi_strategy": "multi_output_tree"} if work.vector else {}
    return lambda num_trees: xgboost.train(options, data, num_trees), lambda model, x: model.inplace_predict(x)


def lightgbm(work, x, y):
    """LightGBM, leafwise, with as many leaves as a tree of that depth has."""
    import lightgbm

    options = {"max_depth": work.depth, "num_leaves": 2**work.depth, "learning_rate": RATE, "lambda_l2": L2}
    options |= {"num_threads": work.threads, "max_bin": work.bins, "verbose": -1}
    options |= {"objective": "multiclass", "num_class": work.classes} if work.classes else {"objective": "regression"}
    data = lightgbm.Dataset(x, y, params=options)
    data.construct()
    return (
        lambda num_trees: lightgbm.train(options, data, num_trees),
        lambda model, x: model.predict(x, num_threads=work.threads),
    )


ON_GPU = ("catboost", "xgboost")
PEERS = {"catboost": catboost, "xgboost": xgboost, "lightgbm": lightgbm}


def here():
    """({name: function of PEERS} of those that can be imported, {name: its version, or why it is absent})."""
    return benchmarks.here(PEERS)


def contests(work, x, y, peers):
    """{name: fit(number of trees)} of those peers, where there is a choice also of XGBoost's leaves; *_gpu on one."""
    ways = {name: (name, work._replace(gpu=False)) for name in peers}
    ways |= {f"{name}_gpu": (name, work) for name in ON_GPU if name in peers and work.gpu}
    if work.classes and "xgboost" in peers:
        ways["xgboost_vector"] = "xgboost", work._replace(vector=True, gpu=False)
    return {label: peers[name](how, x, y)[0] for label, (name, how) in ways.items()}


def fits(name, work, num_trees, seeds):
    """Seconds to fit a model to the table of each seed, one after the other."""
    models = [PEERS[name](work, *table(work, seed))[0] for seed in seeds]
    begin = time.perf_counter()
    for fit in models:
        fit(num_trees)
    return time.perf_counter() - begin
