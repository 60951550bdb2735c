"""Estimators of boosted oblivious trees, as CatBoost's: `ObliviousBoostingRegressor`, `ObliviousBoostingClassifier`."""

from research.trees.estimators.base import REAL, Boosting
from research.trees.estimators.tasks import Classification, Regression

RANGES = dict.fromkeys(("l2_leaf_reg", "random_strength", "bagging_temperature"), (REAL, 0, None, "left"))
LEAVES = {"absolute": "exact", "quantile": "exact", "logistic": "newton", "softmax": "newton", "exponential": "newton"}


class _Oblivious(Boosting):
    """Boosted oblivious trees. The parameters are scikit-learn's where it has them, else CatBoost's or XGBoost's, as in
    configs/base.py.
    """

    _name, _format, _ranges, _leaves = "gbdt_oblivious", "catboost_json", RANGES, LEAVES
    __doc__ += Boosting.__doc__

    def __init__(
        self,
        *,
        loss="auto",
        n_estimators=100,
        learning_rate=0.1,
        max_depth=6,
        subsample=1.0,
        mvs=False,
        l2_leaf_reg=3.0,
        score_function="cosine",
        borders="greedy_log_sum",
        border_count=254,
        missing="min",
        random_strength=0.0,
        bagging_temperature=0.0,
        colsample_bytree=1.0,
        colsample_bylevel=1.0,
        leaf_method="auto",
        leaf_iterations=1,
        early_stopping=0,
        random_state=None,
    ):
        self.loss = loss
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.subsample = subsample
        self.mvs = mvs
        self.l2_leaf_reg = l2_leaf_reg
        self.score_function = score_function
        self.borders = borders
        self.border_count = border_count
        self.missing = missing
        self.random_strength = random_strength
        self.bagging_temperature = bagging_temperature
        self.colsample_bytree = colsample_bytree
        self.colsample_bylevel = colsample_bylevel
        self.leaf_method = leaf_method
        self.leaf_iterations = leaf_iterations
        self.early_stopping = early_stopping
        self.random_state = random_state


class ObliviousBoostingRegressor(Regression, _Oblivious):
    __doc__ = f"{Regression.__doc__} {_Oblivious.__doc__}"


class ObliviousBoostingClassifier(Classification, _Oblivious):
    __doc__ = f"{Classification.__doc__} {_Oblivious.__doc__}"
