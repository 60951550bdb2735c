"""A single tree as scikit-learn's: `DecisionTreeClassifier` and `DecisionTreeRegressor`."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from sklearn.utils.validation import check_is_fitted

from research.trees import blocks, cart, explain, prediction, pruning
from research.trees.estimators import plain
from research.trees.estimators.base import as_value_errors


class Path(NamedTuple):
    """[L] each: from alpha on, up to the next one, the cheapest tree has this impurity."""

    ccp_alphas: np.ndarray
    impurities: np.ndarray


class _DecisionTree(plain.Plain):
    """The tree of CART, exact (see cart.py). The parameters are scikit-learn's. Fitting sets `forest_`, of one tree,
    and `impurity_` [M] and `gain_ratio_` [M] of its nodes: Quinlan's (1993), what a split gains over the entropy of its
    two shares of the rows, 0 at a leaf.
    """

    __doc__ += plain.Plain.__doc__

    def fit(self, X, y, sample_weight=None):
        """self, fitted to X [N, F], NaN where a value is missing, y [N] and weights [N]."""
        trees = self._grown(X, y, sample_weight)
        if self.ccp_alpha:
            trees = pruning.prune(trees, self.ccp_alpha)
        self.forest_ = cart.to_forest(trees, 1, self.n_features_in_, self._names())
        self.impurity_ = np.asarray(trees.impurity)[: trees.size]
        return self

    def cost_complexity_pruning_path(self, X, y, sample_weight=None):
        """Path of the tree that fit would grow with ccp_alpha = 0."""
        return Path(*pruning.path(self._grown(X, y, sample_weight)))

    def _grown(self, X, y, sample_weight):
        X, y, weight = self._given(X, y, sample_weight)
        with as_value_errors():
            options = plain.options(self, *X.shape)
            weight = blocks.weights(np.ones(len(X)) if weight is None else weight, len(X))
            more = -len(X) % 2 ** max(6, len(X).bit_length() - 3)  # rows of weight 0: few sizes, as each is compiled
            X, y = (np.concatenate([x, np.repeat(x[-1:], more, axis=0)]) for x in (X, y))
            return cart.grown(cart.columns(X), y, options, np.pad(weight, (0, more)), self._key())

    @property
    def feature_importances_(self):
        """[F], each feature's share of what the impurity falls by."""
        check_is_fitted(self)
        return explain.importances(self.forest_)

    @property
    def gain_ratio_(self):
        """[M], of each node."""
        check_is_fitted(self)
        return cart.gain_ratio(self.forest_)[0, 0]

    def get_depth(self):
        """The most questions on the way to a leaf."""
        check_is_fitted(self)
        return self.forest_.depth

    def get_n_leaves(self):
        """How many leaves there are."""
        check_is_fitted(self)
        return int((self.forest_.left > 0).sum()) + 1

    def apply(self, X):
        """[N] int, the node of `forest_` where each row comes to rest."""
        check_is_fitted(self)
        nodes = jnp.arange(self.forest_.left.shape[2], dtype=jnp.float32)
        numbered = dataclasses.replace(self.forest_, value=nodes[None, None, :, None], start=jnp.zeros(1))
        return np.asarray(prediction.predict_raw(numbered, self._rows(X))[:, 0], np.int64)

    def _raw(self, X):
        check_is_fitted(self)
        with as_value_errors():
            return prediction.predict_raw(self.forest_, self._rows(X))


class DecisionTreeRegressor(plain.Numbers, _DecisionTree):
    __doc__ = f"{plain.Numbers.__doc__} {_DecisionTree.__doc__}"

    def __init__(
        self,
        *,
        criterion="squared_error",
        splitter="best",
        max_depth=None,
        min_samples_split=2,
        min_samples_leaf=1,
        min_weight_fraction_leaf=0.0,
        max_features=None,
        random_state=None,
        min_impurity_decrease=0.0,
        ccp_alpha=0.0,
    ):
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.random_state = random_state
        self.min_impurity_decrease = min_impurity_decrease
        self.ccp_alpha = ccp_alpha

    def predict(self, X):
        """[N] numbers."""
        return self._raw(X)[:, 0]


class DecisionTreeClassifier(plain.Classes, _DecisionTree):
    __doc__ = f"{plain.Classes.__doc__} {_DecisionTree.__doc__}"

    def __init__(
        self,
        *,
        criterion="gini",
        splitter="best",
        max_depth=None,
        min_samples_split=2,
        min_samples_leaf=1,
        min_weight_fraction_leaf=0.0,
        max_features=None,
        random_state=None,
        min_impurity_decrease=0.0,
        class_weight=None,
        ccp_alpha=0.0,
    ):
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.random_state = random_state
        self.min_impurity_decrease = min_impurity_decrease
        self.class_weight = class_weight
        self.ccp_alpha = ccp_alpha

    def predict_proba(self, X):
        """[N, K] shares of the classes in the row's leaf, in the order of `classes_`."""
        return self._raw(X)
