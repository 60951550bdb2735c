"""scikit-learn's estimators of boosted trees: oblivious ones as CatBoost's, and level-wise ones as Friedman's."""

from research.trees.estimators.base import ParameterError
from research.trees.estimators.gradient import GradientBoostingClassifier, GradientBoostingRegressor
from research.trees.estimators.oblivious import ObliviousBoostingClassifier, ObliviousBoostingRegressor

__all__ = [
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "ObliviousBoostingClassifier",
    "ObliviousBoostingRegressor",
    "ParameterError",
]
