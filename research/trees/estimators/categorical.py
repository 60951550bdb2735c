"""Boosted oblivious trees on tables with categories, as CatBoost: `CatBoostingRegressor`, `CatBoostingClassifier`."""

import dataclasses

import jax
import numpy as np

from research.errors import UserError
from research.trees import categorical, fitting, words
from research.trees.estimators.base import WHOLE, as_value_errors
from research.trees.estimators.oblivious import LEAVES, RANGES, _Oblivious
from research.trees.estimators.tasks import Classification, Regression

# The rate that CatBoost 1.2.10 chooses of itself: rate * (rows / 1000)^a * (1000 / trees)^b, at most 1/2. It was read
# off at 60 to 20,000 rows and 10 to 1000 trees, and is log-linear to all digits. Other losses have 0.03.
RATES = {  # loss: (rate, a, b) where all trees are kept, and where training stops early
    "logistic": ((0.010303, 0.427, 0.917), (0.03169, 0.247, 0.435)),
    "softmax": ((0.07913, 0.051, 0.845), (0.10798, 0.02, 0.382)),
    "squared": ((0.04095, 0.158, 0.813), (0.0509, 0.157, 0.61)),
}


class _CatBoosting(_Oblivious):
    """Boosted oblivious trees on tables that may hold words, with CatBoost's defaults.

    cat_features: names or places of the columns that hold categories, or a mask of all; None: those of a frame's
    category and those with words. A missing one is a category of its own. Columns of at most one_hot_max_size
    categories are told apart one by one; others become statistics of y in the rows before, in a random order, or with
    has_time in the given one; with max_ctr_complexity=2 their pairs do so too (see research/trees/categorical.py). A
    category that training rows lack has no rows, so that its statistics are the prior. Two classes start from their
    log-odds, which CatBoost does not.
    "auto": learning_rate by rows and trees; 10 leaf_iterations for two classes, else 1; for more classes a
    bagging_temperature of 1, otherwise a subsample of 0.8, from 100 rows on.
    """

    _ranges = RANGES | {"one_hot_max_size": (WHOLE, 0, None, "left"), "max_ctr_complexity": (WHOLE, 1, 2, "both")}
    _leaves = LEAVES | {"softmax": "newton_full"}
    __doc__ += _Oblivious.__doc__

    def __init__(
        self,
        *,
        cat_features=None,
        has_time=False,
        one_hot_max_size=2,
        max_ctr_complexity=1,
        loss="auto",
        n_estimators=1000,
        learning_rate="auto",
        max_depth=6,
        subsample="auto",
        mvs=True,
        l2_leaf_reg=3.0,
        score_function="cosine",
        borders="greedy_log_sum",
        border_count=254,
        missing="min",
        random_strength=1.0,
        bagging_temperature="auto",
        colsample_bytree=1.0,
        colsample_bylevel=1.0,
        leaf_method="auto",
        leaf_iterations="auto",
        early_stopping=0,
        random_state=None,
    ):
        super().__init__(
            **dict(loss=loss, n_estimators=n_estimators, learning_rate=learning_rate, max_depth=max_depth, mvs=mvs),
            **dict(subsample=subsample, bagging_temperature=bagging_temperature, random_strength=random_strength),
            **dict(l2_leaf_reg=l2_leaf_reg, score_function=score_function, borders=borders, border_count=border_count),
            **dict(missing=missing, colsample_bytree=colsample_bytree, colsample_bylevel=colsample_bylevel),
            **dict(leaf_method=leaf_method, leaf_iterations=leaf_iterations, early_stopping=early_stopping),
            random_state=random_state,
        )
        self.cat_features = cat_features
        self.has_time = has_time
        self.one_hot_max_size = one_hot_max_size
        self.max_ctr_complexity = max_ctr_complexity

    def fit(self, X, y, sample_weight=None, eval_set=None):
        """self, fitted to X [N, F], a frame or an array with words and NaN where a value is missing; see Boosting."""
        vars(self).pop("encoder_", None)
        X = _table(X)
        with as_value_errors():
            self.categories_ = words.find(X, self.cat_features)
            X = words.numbers(X, self.categories_)
        return super().fit(X, y, sample_weight, eval_set)

    def _grow(self, X, y, objective, key, eval_set, **rest):
        config = self._config(objective)
        self._choose(config, len(X))
        if not self.categories_:
            found = fitting.run(X, y, config, key=key, eval_set=eval_set, **rest)
            self.ensemble_ = dataclasses.replace(found.of, names=self._names())
            return found
        classes = categorical.classes_of(fitting.objective_of(config))
        limits = self.one_hot_max_size, self.max_ctr_complexity, classes
        self.encoder_ = categorical.find(X, y, sorted(self.categories_), *limits)
        order_key, key = jax.random.split(key)
        order = np.arange(len(X)) if self.has_time else np.asarray(jax.random.permutation(order_key, len(X)))
        borders = self.borders, self.border_count, rest["sample_weight"], self.missing
        config.borders = categorical.borders_of(self.encoder_, X, *borders)
        held = [(self._encoded(x), truth) for x, truth in eval_set or ()] or None
        found = fitting.run(
            categorical.ordered(self.encoder_, X, y, order, classes), y, config, key=key, eval_set=held, **rest
        )
        self.ensemble_ = found.of
        return found

    def _choose(self, config, rows):
        """Puts numbers in the place of "auto"."""
        loss, stops = getattr(config.objective, "name", config.objective).partition(":")[0], bool(self.early_stopping)
        rate, a, b = RATES[loss][stops] if loss in RATES else (0.03, 0, 0)
        auto = {
            "learning_rate": min(rate * (rows / 1000) ** a * (1000 / config.num_trees) ** b, 0.5),
            "leaf_iterations": 10 if loss == "logistic" else 1,
            "bagging_temperature": 1.0 if loss == "softmax" and self.subsample in ("auto", 1) else 0.0,
            "subsample": 0.8 if loss != "softmax" and rows >= 100 and self.bagging_temperature in ("auto", 0) else 1.0,
        }
        for name, value in auto.items():
            if getattr(config, name) == "auto":
                setattr(config, name, value)

    def _rows(self, X):
        with as_value_errors():
            X = super()._rows(words.numbers(_table(X), self.categories_))
        return self._encoded(X) if "encoder_" in vars(self) else X

    def _encoded(self, X):
        more = (1 << (len(X) - 1).bit_length()) - len(X)  # few sizes, as each is compiled
        return np.asarray(jax.jit(categorical.encode)(self.encoder_, np.pad(X, ((0, more), (0, 0)))))[: len(X)]

    def _written(self, format):
        if self.categories_:
            raise UserError("files of models have no categories; save the estimator itself, with pickle or joblib.")
        return super()._written(format)

    def _known(self, columns, names):
        self.categories_ = {}
        vars(self).pop("encoder_", None)
        return super()._known(columns, names)

    @property
    def feature_importances_(self):
        """[F], each column's share of the gain; what a pair gains is halved."""
        found = super().feature_importances_
        if not self.categories_:
            return found
        shares, found = found, np.zeros(self.n_features_in_)
        for share, of in zip(shares, self.encoder_.sources):
            found[list(of)] += share / len(of)
        return found

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = True
        return tags


def _table(X):
    """X, lists of words as an array of objects; what is no table is complained of later."""
    if isinstance(X, (list, tuple)) and np.ndim(X) == 2:
        found = np.asarray(X)
        return np.array(X, object) if found.dtype.kind in "SU" else found
    return X


class CatBoostingRegressor(Regression, _CatBoosting):
    __doc__ = f"{Regression.__doc__} {_CatBoosting.__doc__}"


class CatBoostingClassifier(Classification, _CatBoosting):
    __doc__ = f"{Classification.__doc__} {_CatBoosting.__doc__}"
