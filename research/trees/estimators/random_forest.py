"""Random forests and their kin as scikit-learn's: `RandomForestClassifier` and `RandomForestRegressor`."""

import os
import warnings

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from research.errors import UserError, nearest
from research.trees import bagging, binned, cart, explain, prediction
from research.trees.estimators import plain
from research.trees.estimators.base import REAL, WHOLE, as_value_errors

RANGES = {name: of for name, of in plain.RANGES.items() if name != "ccp_alpha"}
RANGES |= {"n_estimators": (WHOLE, 1, None, "left"), "border_count": (WHOLE, 1, 65000, "both")}
RANGES |= {"max_samples": (REAL, None, None, "neither"), "n_jobs": (WHOLE, None, None, "neither")}
CHOICES = {"features_per": ("node", "tree"), "vote": ("soft", "hard")}


class _RandomForest(plain.Plain):
    """A random forest (Breiman 2001): each tree sees rows drawn with replacement, each node features drawn by chance.

    The parameters are scikit-learn's, but max_features is "log2" by default, Breiman's choice, for numbers too, and
    there are more: splitter="random" draws borders by chance, extra trees (Geurts et al. 2006), usually with
    bootstrap=False; features_per="tree" draws features once a tree (Ho 1998); border_count: bin columns so, which is
    faster, None: exact splits. Fitting sets `forest_`. oob_score=True: also `oob_score_`, the accuracy or R2 on rows by
    the trees that left them out, and `oob_curve_` [T], the share of wrong rows or the mean squared error after each.
    """

    _ranges = RANGES
    __doc__ += plain.Plain.__doc__

    def fit(self, X, y, sample_weight=None):
        """self, fitted to X [N, F], NaN where a value is missing, y [N] and weights [N]."""
        X, y, weight = self._given(X, y, sample_weight)
        with as_value_errors():
            options = self._options(X)
            ready = cart.columns(X) if self.border_count is None else binned.columns(X, self.border_count)
            aims = cart.targets(y, self.criterion)
            some = {"weight": weight, "left": self.oob_score, "threads": self._threads()}
            trees, left = bagging.fit(X, ready, aims, options, self.n_estimators, self._key(), **some)
        self.forest_ = cart.to_forest(trees, self.n_estimators, self.n_features_in_, self._names())
        if self.oob_score:
            self._keep_left(left, y, np.ones(len(y)) if weight is None else weight)
        return self

    def _options(self, X):
        for name in CHOICES.keys() & self.get_params():
            if (value := getattr(self, name)) not in CHOICES[name]:
                raise UserError(f"{name} is {value!r}; {nearest(value, CHOICES[name])}")
        if self.oob_score and not self.bootstrap:
            raise UserError("oob_score is True and bootstrap is False, so that no tree leaves rows out; change one.")
        size = self.max_samples
        if size is not None and not self.bootstrap:
            raise UserError(f"max_samples is {size} and bootstrap is False, which draws no rows; change one.")
        if size is not None and not isinstance(size, WHOLE):
            if not 0 < size <= 1:
                raise UserError(f"max_samples is {size}; it must be a number of rows, or a share above 0 and up to 1.")
            size = max(round(size * len(X)), 1)
        balanced = getattr(self, "class_weight", None) == "balanced_subsample"
        hard = getattr(self, "vote", "soft") == "hard"
        tree = plain.options(self, *X.shape)
        return bagging.Options(tree, self.bootstrap, size, self.features_per == "tree", balanced, hard)

    def _threads(self):
        """As joblib counts: None for all cores, and -1 too, -2 for all but one."""
        return self.n_jobs if (self.n_jobs or 0) >= 0 else max(os.cpu_count() + 1 + self.n_jobs, 1)

    def _keep_left(self, left, y, weight):
        known, there = left.count > 0, weight > 0
        if (none := np.flatnonzero(there & ~known)).size:
            first = f"{', '.join(map(str, none[:3]))}{' ...' if none.size > 3 else ''}"
            warnings.warn(
                f"{none.size} of {len(y)} rows ({first}) were drawn by all {self.n_estimators} trees: none tells an "
                "out-of-bag prediction of them, which is nan, and oob_score_ is that of the others; grow more trees.",
                UserWarning,
                stacklevel=3,
            )
        self.oob_curve_ = left.curve
        self.oob_score_ = self._left(left.mean, y, known & there) if (known & there).any() else np.nan

    @property
    def feature_importances_(self):
        """[F], each feature's share of what the impurity falls by, as a mean over the trees that have splits."""
        check_is_fitted(self)
        mean = explain.of_trees(self.forest_).mean(axis=0)
        return mean / (mean.sum() or 1)

    def _raw(self, X):
        check_is_fitted(self)
        with as_value_errors():
            return prediction.predict_raw(self.forest_, self._rows(X))


class RandomForestRegressor(plain.Numbers, _RandomForest):
    __doc__ = f"{plain.Numbers.__doc__} {_RandomForest.__doc__}"

    def __init__(
        self,
        n_estimators=100,
        *,
        criterion="squared_error",
        splitter="best",
        max_depth=None,
        min_samples_split=2,
        min_samples_leaf=1,
        min_weight_fraction_leaf=0.0,
        max_features="log2",
        features_per="node",
        min_impurity_decrease=0.0,
        bootstrap=True,
        max_samples=None,
        oob_score=False,
        border_count=None,
        n_jobs=None,
        random_state=None,
    ):
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.features_per = features_per
        self.min_impurity_decrease = min_impurity_decrease
        self.bootstrap = bootstrap
        self.max_samples = max_samples
        self.oob_score = oob_score
        self.border_count = border_count
        self.n_jobs = n_jobs
        self.random_state = random_state

    def predict(self, X):
        """[N] numbers, the mean of the trees'."""
        return self._raw(X)[:, 0]

    def _left(self, mean, y, known):
        self.oob_prediction_ = mean[:, 0]
        rest = ((self.oob_prediction_ - y)[known] ** 2).mean()
        return 1 - rest / y[known].var() if y[known].any() and y[known].var() else np.nan


class RandomForestClassifier(plain.Classes, _RandomForest):
    """class_weight may be "balanced_subsample", too. vote: "soft", the mean of the trees' shares of classes, or "hard",
    the share of trees that say a class (Breiman's majority).
    """

    __doc__ = f"{plain.Classes.__doc__} {__doc__} {_RandomForest.__doc__}"

    def __init__(
        self,
        n_estimators=100,
        *,
        criterion="gini",
        splitter="best",
        max_depth=None,
        min_samples_split=2,
        min_samples_leaf=1,
        min_weight_fraction_leaf=0.0,
        max_features="log2",
        features_per="node",
        min_impurity_decrease=0.0,
        bootstrap=True,
        max_samples=None,
        class_weight=None,
        vote="soft",
        oob_score=False,
        border_count=None,
        n_jobs=None,
        random_state=None,
    ):
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.features_per = features_per
        self.min_impurity_decrease = min_impurity_decrease
        self.bootstrap = bootstrap
        self.max_samples = max_samples
        self.class_weight = class_weight
        self.vote = vote
        self.oob_score = oob_score
        self.border_count = border_count
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _encoded(self, y, weight):
        if self.class_weight != "balanced_subsample":
            return super()._encoded(y, weight)
        check_classification_targets(y)
        self.classes_, places = np.unique(y, return_inverse=True)
        return places, weight

    def predict_proba(self, X):
        """[N, K] means of the trees' shares, or shares of votes, in the order of `classes_`."""
        return self._raw(X)

    def _left(self, mean, y, known):
        self.oob_decision_function_ = mean
        return (mean[known].argmax(axis=1) == y[known]).mean()
