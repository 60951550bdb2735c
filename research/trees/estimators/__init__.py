"""scikit-learn's estimators of trees: single ones, forests, and boosted ones as AdaBoost's, XGBoost's, CatBoost's."""

from research.trees.estimators.adaboost import AdaBoostClassifier, AdaBoostRegressor
from research.trees.estimators.base import ParameterError
from research.trees.estimators.categorical import CatBoostingClassifier, CatBoostingRegressor
from research.trees.estimators.decision_tree import DecisionTreeClassifier, DecisionTreeRegressor
from research.trees.estimators.gradient import GradientBoostingClassifier, GradientBoostingRegressor
from research.trees.estimators.oblivious import ObliviousBoostingClassifier, ObliviousBoostingRegressor
from research.trees.estimators.random_forest import RandomForestClassifier, RandomForestRegressor
from research.trees.estimators.xgboost import XGBoostClassifier, XGBoostRegressor

__all__ = [
    "AdaBoostClassifier",
    "AdaBoostRegressor",
    "CatBoostingClassifier",
    "CatBoostingRegressor",
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "ObliviousBoostingClassifier",
    "ObliviousBoostingRegressor",
    "ParameterError",
    "RandomForestClassifier",
    "RandomForestRegressor",
    "XGBoostClassifier",
    "XGBoostRegressor",
]
