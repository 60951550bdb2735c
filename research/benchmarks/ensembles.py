"""Forests, AdaBoost and boosting with categories beside their peers: time on the same work, and quality in five folds.

All on two threads. The tables are looked for in the folder that the environment variable DATA_DIR names, or data/;
ENSEMBLES_ROWS picks rows of ROWS by their names, with commas between.
"""

import functools
import json
import os
import statistics
import sys
import time

import jax
import numpy as np
from sklearn import datasets, ensemble, metrics, model_selection, tree

from research import benchmarks
from research.benchmarks import ensemble_peers
from research.benchmarks.samplers import ratio
from research.trees import estimators

ONLY, ROUNDS, TREES, STAGES, FOLDS = "ENSEMBLES_ROWS", 3, 200, 500, 5
QUICK = {ONLY: "forest_binned_digits,forest_exact_digits"}


def digits():
    """(x, y) of 1,797 digits."""
    return datasets.load_digits(return_X_y=True)


def adult():
    """(x, y) of Adult, words as numbers, and -1 where one is missing."""
    found = ensemble_peers.adult(ensemble_peers.folder())
    return np.nan_to_num(found.x, nan=-1.0)[:32561], found.y[:32561].astype(int)


def made():
    """(x, y) of 100,000 made rows of 20 columns."""
    return datasets.make_classification(100_000, 20, n_informative=10, random_state=0)


def turns(x, y, make, rounds=None):
    """{contestant: {"s", "first_s" with what is compiled, "accuracy" on a fifth}} of estimators that take turns.

    make: {name: function of none -> estimator}, ours first; its row has the ratios to the others.
    """
    train, test, y_train, y_test = model_selection.train_test_split(x, y, test_size=0.2, random_state=0)
    times, rows = {name: [] for name in make}, {name: {} for name in make}
    for _ in range((rounds or ROUNDS) + 1):
        for name, one in make.items():
            begin = time.perf_counter()
            fitted = one().fit(train, y_train)
            times[name].append(time.perf_counter() - begin)
            rows[name]["accuracy"] = float(fitted.score(test, y_test))
    for name, found in times.items():
        rows[name] |= {"s": statistics.median(found[1:]), "first_s": found[0]}
    for name in list(make)[1:]:
        rows["ours"][f"over_{name}"] = ratio(times["ours"][1:], times[name][1:])
    return {"rows": len(train), "columns": train.shape[1], **rows}


def forest(table, binned):
    """Forests of TREES trees: binned and 16 deep at most, or on the values themselves and grown until pure."""
    options = {"n_estimators": TREES, "max_features": "sqrt", "max_depth": 16 if binned else None, "random_state": 0}
    ours = functools.partial(estimators.RandomForestClassifier, border_count=254 if binned else None, **options)
    contestants = {"ours": ours, "sklearn": lambda: ensemble.RandomForestClassifier(n_jobs=2, **options)}
    return turns(*table(), contestants, rounds=1 if table is made else None)  # minutes each


def adaboost():
    """STAGES stumps on Adult: ours on 254 borders, ours on all there are, and scikit-learn's."""
    ours = functools.partial(estimators.AdaBoostClassifier, n_estimators=STAGES, random_state=0)
    stump = tree.DecisionTreeClassifier(max_depth=1)
    peer = functools.partial(ensemble.AdaBoostClassifier, stump, n_estimators=STAGES, random_state=0)
    return turns(*adult(), {"ours": functools.partial(ours, border_count=254), "exact": ours, "sklearn": peer})


def scores(table, make, tuned):
    """(losses, seconds) of the folds: the log-loss of classes, or the root mean squared error of numbers."""
    of_classes = table.kind == "classes"
    split = model_selection.StratifiedKFold if of_classes else model_selection.KFold
    y = np.unique(table.y, return_inverse=True)[1] if of_classes else table.y
    losses, seconds = [], []
    for fold, (train, test) in enumerate(split(FOLDS, shuffle=True, random_state=0).split(table.x, y)):
        labels = np.unique(y[train], return_inverse=True)[1] if of_classes else y[train]
        begin = time.perf_counter()
        fitted = make(table, tuned, fold).fit(table.x[train], labels)
        seconds.append(time.perf_counter() - begin)
        if not of_classes:
            losses.append(float(np.sqrt(np.mean((fitted.predict(table.x[test]) - y[test]) ** 2))))
            continue
        p = np.zeros((len(test), y.max() + 1))
        p[:, np.unique(y[train])] = fitted.predict_proba(table.x[test])  # a class of one row may be in no other fold
        losses.append(float(metrics.log_loss(y[test], np.clip(p, 1e-15, 1), labels=np.arange(y.max() + 1))))
    return losses, seconds


def quality():
    """{"tables": {name: {contestant: {"default", "tuned"}}}, "mean_rank": ...}: a rank of 1 is the least mean loss."""
    contestants, about = ensemble_peers.here()
    found, times = {}, dict.fromkeys(contestants, 0.0)
    for name, table in ensemble_peers.all_tables(ensemble_peers.folder()).items():
        table, found[name] = table(), {}
        for who, make in contestants.items():
            found[name][who] = {}
            for setting in ("default", "tuned"):
                losses, seconds = scores(table, make, setting == "tuned")
                found[name][who][setting] = statistics.mean(losses)
                times[who] += sum(seconds)
        jax.clear_caches()  # each size of a fold compiles anew, and a process has memory maps for some 1500 programs
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    return {"peers": about, "folds": FOLDS, "tables": found, "mean_rank": ranks(found), "seconds": times}


def ranks(found):
    """{setting: {contestant: its mean rank over tables}}; "both" ranks the better of the two settings."""
    losses = {
        setting: {name: {who: of[setting] for who, of in row.items()} for name, row in found.items()}
        for setting in ("default", "tuned")
    }
    losses["both"] = {name: {who: min(of.values()) for who, of in row.items()} for name, row in found.items()}
    result = {}
    for setting, rows in losses.items():
        order = [{who: 1 + sum(b < row[who] for b in row.values()) for who in row} for row in rows.values()]
        result[setting] = {who: statistics.mean(of[who] for of in order) for who in order[0]}
    return result


ROWS = {
    f"forest_{'binned' if binned else 'exact'}_{table.__name__}": functools.partial(forest, table, binned)
    for binned in (True, False)
    for table in (digits, adult, made)
} | {"adaboost_adult": adaboost, "quality": quality}


def main():
    """A dict: for each row what each contestant takes and reaches, ours also as a ratio to each peer."""
    jax.config.update("jax_enable_compilation_cache", False)
    wanted = benchmarks.picked(ONLY, ROWS)
    result = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "load": os.getloadavg()[0]}
    for name in wanted:
        begin = time.perf_counter()
        result[name] = ROWS[name]()
        print(f"{name}: {time.perf_counter() - begin:.0f} s, {json.dumps(result[name])}", file=sys.stderr, flush=True)
    return result
