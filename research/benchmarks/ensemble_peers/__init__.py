"""Tables and contestants of the comparison of qualities: ours beside scikit-learn, XGBoost, LightGBM and CatBoost.

Each contestant is a function (table, tuned, seed) -> estimator, which is told the columns of categories in its own way.
Not tuned: its defaults. Tuned: one setting, the same for all tables, with a lower rate, more trees and some sampling.
"""

import os
from typing import NamedTuple

import numpy as np

from configs import base
from research import benchmarks
from research.data import small, tables, uci

THREADS = 2


class Table(NamedTuple):
    """x float32 [N, F], categories as whole numbers and NaN where a value is missing; y [N]; indices of categories."""

    x: np.ndarray
    y: np.ndarray
    categorical: tuple
    kind: str  # "classes" | "numbers"


def adult(folder):
    """The Table of all 48,842 people."""
    return _whole(folder, "adult", tuple(map(tables.ADULT.index, tables.WORDS)), "classes")


def california(folder):
    """The Table of all 20,640 districts."""
    return _whole(folder, "california_housing", (), "numbers")


def _whole(folder, name, categorical, kind):
    dataset = tables.load(base.update(base.data(name), dir=folder))
    parts = [source.gather(np.arange(source.size)) for source in (dataset.train, dataset.test)]
    x, y = (np.concatenate([part[key] for part in parts]) for key in ("x", "y"))
    return Table(x, y, categorical, kind)


def all_tables(folder):
    """{name: function of none -> Table} of adult, california, eighteen small ones and six of UCI."""
    found = {"adult": lambda: adult(folder), "california_housing": lambda: california(folder)}

    def of_small(name):
        x, y, _, categorical, kind = small.read(folder, name)
        return Table(x, y, tuple(categorical), kind)

    def of_uci(name):
        dataset = uci.load(base.update(base.data("uci_regression"), dir=folder, table=name))
        x = np.concatenate([source.gather(np.arange(source.size))["x"] for source in (dataset.train, dataset.test)])
        return Table(x[:, :-1], x[:, -1], (), "numbers")

    found |= {name: lambda name=name: of_small(name) for name in small.TABLES}
    return found | {name: lambda name=name: of_uci(name) for name in uci.TABLES}


class Words:
    """An estimator whose categorical columns are words: CatBoost takes no floats for categories."""

    def __init__(self, estimator, categorical):
        self.estimator, self.categorical = estimator, categorical

    def _words(self, x):
        if not self.categorical:
            return x
        x = x.astype(object)
        for column in self.categorical:
            x[:, column] = [str(value) for value in x[:, column]]
        return x

    def fit(self, x, y):
        self.estimator.fit(self._words(x), y)
        return self

    def predict(self, x):
        return self.estimator.predict(self._words(x))

    def predict_proba(self, x):
        return self.estimator.predict_proba(self._words(x))


def ours(table, tuned, seed):
    """Our CatBoosting."""
    from research.trees import estimators

    make = estimators.CatBoostingClassifier if table.kind == "classes" else estimators.CatBoostingRegressor
    options = {"learning_rate": 0.03, "max_depth": 5} if tuned else {}
    return Words(make(cat_features=list(table.categorical) or None, random_state=seed, **options), table.categorical)


def catboost(table, tuned, seed):
    """CatBoost on THREADS threads."""
    import catboost

    make = catboost.CatBoostClassifier if table.kind == "classes" else catboost.CatBoostRegressor
    options = {"learning_rate": 0.03, "depth": 5} if tuned else {}
    options |= {"thread_count": THREADS, "verbose": 0, "allow_writing_files": False, "random_seed": seed}
    return Words(make(cat_features=list(table.categorical) or None, **options), table.categorical)


def xgboost(table, tuned, seed):
    """XGBoost on THREADS threads."""
    import xgboost

    make = xgboost.XGBClassifier if table.kind == "classes" else xgboost.XGBRegressor
    options = {"n_estimators": 500, "learning_rate": 0.03, "max_depth": 5, "subsample": 0.8, "colsample_bytree": 0.8}
    options = options if tuned else {}

    types = ["c" if column in table.categorical else "q" for column in range(table.x.shape[1])]
    return make(feature_types=types, enable_categorical=True, n_jobs=THREADS, random_state=seed, **options)


def lightgbm(table, tuned, seed):
    """LightGBM on THREADS threads."""
    import lightgbm

    make = lightgbm.LGBMClassifier if table.kind == "classes" else lightgbm.LGBMRegressor
    options = {"n_estimators": 500, "learning_rate": 0.03, "num_leaves": 15, "min_child_samples": 10}
    options |= {"subsample": 0.8, "subsample_freq": 1, "colsample_bytree": 0.8}
    options = (options if tuned else {}) | (
        {"categorical_feature": list(table.categorical)} if table.categorical else {}
    )
    return make(n_jobs=THREADS, random_state=seed, verbose=-1, **options)


def sklearn(table, tuned, seed):
    """scikit-learn's gradient boosting on histograms."""
    from sklearn import ensemble

    make = (
        ensemble.HistGradientBoostingClassifier if table.kind == "classes" else ensemble.HistGradientBoostingRegressor
    )
    options = {"max_iter": 300, "learning_rate": 0.03, "max_leaf_nodes": 15, "min_samples_leaf": 10}
    return make(categorical_features=list(table.categorical) or None, random_state=seed, **(options if tuned else {}))


CONTESTANTS = {"ours": ours, "catboost": catboost, "xgboost": xgboost, "lightgbm": lightgbm, "sklearn": sklearn}


def here():
    """({name: function of CONTESTANTS} of those that can be imported, {name: its version, or why it is absent})."""
    found, about = benchmarks.here({name: make for name, make in CONTESTANTS.items() if name != "ours"})
    return {"ours": ours} | found, about


def folder():
    """Where the tables are: $DATA_DIR, or data/."""
    return os.environ.get("DATA_DIR", "data")
