"""Gradient boosting as Friedman's: `GradientBoostingRegressor` and `GradientBoostingClassifier`."""

from research.trees.estimators.base import REAL, WHOLE, Boosting
from research.trees.estimators.tasks import Classification, Regression

RANGES = {
    "min_samples_leaf": (WHOLE, 1, None, "left"),
    "colsample_bynode": (REAL, 0, 1, "right"),
    **dict.fromkeys(("reg_lambda", "reg_alpha", "gamma", "min_child_weight"), (REAL, 0, None, "left")),
}
EXACT = {"absolute": "exact", "quantile": "exact", "huber": "exact"}
LEAVES = EXACT | dict.fromkeys(("logistic", "softmax", "exponential", "poisson"), "newton")


class _Gradient(Boosting):
    """Gradient boosting with trees grown level by level. Without options it is scikit-learn's (Friedman 2001): splits
    by squared errors of gradients, the best leaves for medians, quantiles and huber, Newton steps for classes, of which
    each of three or more has trees of its own. newton: Hessians weigh in splits and leaves, as in XGBoost, which the
    other parameters are named after.
    """

    _name, _format, _ranges, _leaves = "gbdt", "xgboost_json", RANGES, LEAVES
    __doc__ += Boosting.__doc__

    def __init__(
        self,
        *,
        loss="auto",
        n_estimators=100,
        learning_rate=0.1,
        max_depth=3,
        min_samples_leaf=1,
        subsample=1.0,
        mvs=False,
        newton=False,
        reg_lambda=0.0,
        reg_alpha=0.0,
        gamma=0.0,
        min_child_weight=0.0,
        borders="quantile",
        border_count=254,
        missing="learn",
        colsample_bytree=1.0,
        colsample_bylevel=1.0,
        colsample_bynode=1.0,
        leaf_method="auto",
        leaf_iterations=1,
        early_stopping=0,
        random_state=None,
    ):
        self.loss = loss
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.subsample = subsample
        self.mvs = mvs
        self.newton = newton
        self.reg_lambda = reg_lambda
        self.reg_alpha = reg_alpha
        self.gamma = gamma
        self.min_child_weight = min_child_weight
        self.borders = borders
        self.border_count = border_count
        self.missing = missing
        self.colsample_bytree = colsample_bytree
        self.colsample_bylevel = colsample_bylevel
        self.colsample_bynode = colsample_bynode
        self.leaf_method = leaf_method
        self.leaf_iterations = leaf_iterations
        self.early_stopping = early_stopping
        self.random_state = random_state

    def _config(self, objective):
        found = super()._config(objective)
        found.min_data_in_leaf = self.min_samples_leaf
        found.one_output_per_tree = isinstance(objective, str) and objective.startswith("softmax")
        if self.newton and self.leaf_method == "auto":
            found.leaf_method = "newton"
        return found


class GradientBoostingRegressor(Regression, _Gradient):
    __doc__ = f"{Regression.__doc__} {_Gradient.__doc__}"


class GradientBoostingClassifier(Classification, _Gradient):
    __doc__ = f"{Classification.__doc__} {_Gradient.__doc__}"

    def _softmax(self, classes):
        """With Friedman's factor of leaves, (K - 1) / K (2001, algorithm 6), as the curvature's inverse."""
        return f"softmax:classes={classes}" + ("" if self.newton else f",factor={classes / (classes - 1)}")
