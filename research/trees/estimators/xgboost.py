"""XGBoost's estimators, by its names and with its numbers: `XGBoostRegressor` and `XGBoostClassifier`."""

import functools

import jax.numpy as jnp
import numpy as np
from scipy import special
from sklearn.utils.validation import check_is_fitted

from research.errors import UserError, nearest
from research.trees import fit_linear, linear, metrics, objectives, watching, xgboost_names
from research.trees.estimators import tasks
from research.trees.estimators.base import REAL, WHOLE, Boosting, as_value_errors
from research.trees.estimators.tasks import Classification, Regression

PARAMS = ("quantile_alpha", "tweedie_variance_power", "huber_slope")
SHARE, COUNT, POSITIVE = (REAL, 0, 1, "right"), (WHOLE, 1, None, "left"), (REAL, 0, None, "left")
RANGES = {
    "colsample_bynode": SHARE,
    "num_parallel_tree": COUNT,
    "max_bin": (WHOLE, 2, 65535, "both"),
    "scale_pos_weight": (REAL, 0, None, "neither"),
    "early_stopping_rounds": (WHOLE, 0, None, "left"),
    **dict.fromkeys(("missing", "base_score", *PARAMS), (REAL, None, None, "neither")),
    **dict.fromkeys(("rate_drop", "skip_drop"), (REAL, 0, 1, "both")),
    **dict.fromkeys(("reg_lambda", "reg_alpha", "gamma", "min_child_weight", "max_delta_step"), POSITIVE),
}
CHOICES = {
    "booster": ("gbtree", "gblinear", "dart"),
    "multi_strategy": ("one_output_per_tree", "multi_output_tree"),
}
OF_CLASSES = ("binary:logistic", "binary:logitraw", "multi:softprob", "multi:softmax")  # two of two, two of more


class _XGBoost(Boosting):
    """Gradient boosting as XGBoost's (Chen & Guestrin 2016), with its parameters; see its documentation.

    tree_method: "hist" with borders found once, "exact" with all splits, "approx" with borders proposed anew for each
    tree or, by proposals="local", for each node. booster: trees, linear functions ("gblinear", for which XGBoost's own
    defaults are learning_rate=0.5 and reg_lambda=0) or "dart". objective and eval_metric: XGBoost's names, or the
    objective a loss of your own from objectives.from_loss. base_score: what is predicted before the first tree, in the
    unit of predictions, of "binary:logistic" a probability; None: estimated from y, as XGBoost does since 3.1.
    early_stopping_rounds: rounds without a better last eval_metric on the last pair of fit's eval_set, after which the
    rounds up to the best one are kept; `best_iteration_` and `best_score_` tell it, and `evals_result_` all numbers.
    """

    _name, _format, _ranges, _leaves = "gbdt", "xgboost_json", RANGES, {}

    def __init__(
        self,
        *,
        n_estimators=100,
        learning_rate=0.3,
        max_depth=6,
        tree_method="hist",
        booster="gbtree",
        objective=None,
        eval_metric=None,
        early_stopping_rounds=None,
        base_score=None,
        scale_pos_weight=1.0,
        num_parallel_tree=1,
        subsample=1.0,
        colsample_bytree=1.0,
        colsample_bylevel=1.0,
        colsample_bynode=1.0,
        reg_alpha=0.0,
        reg_lambda=1.0,
        gamma=0.0,
        min_child_weight=1.0,
        max_bin=256,
        missing=np.nan,
        proposals="global",
        rate_drop=0.0,
        one_drop=False,
        skip_drop=0.0,
        sample_type="uniform",
        normalize_type="tree",
        multi_strategy="one_output_per_tree",
        quantile_alpha=None,
        tweedie_variance_power=None,
        huber_slope=None,
        max_delta_step=None,
        random_state=None,
    ):
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.tree_method = tree_method
        self.booster = booster
        self.objective = objective
        self.eval_metric = eval_metric
        self.early_stopping_rounds = early_stopping_rounds
        self.base_score = base_score
        self.scale_pos_weight = scale_pos_weight
        self.num_parallel_tree = num_parallel_tree
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.colsample_bylevel = colsample_bylevel
        self.colsample_bynode = colsample_bynode
        self.reg_alpha = reg_alpha
        self.reg_lambda = reg_lambda
        self.gamma = gamma
        self.min_child_weight = min_child_weight
        self.max_bin = max_bin
        self.missing = missing
        self.proposals = proposals
        self.rate_drop = rate_drop
        self.one_drop = one_drop
        self.skip_drop = skip_drop
        self.sample_type = sample_type
        self.normalize_type = normalize_type
        self.multi_strategy = multi_strategy
        self.quantile_alpha = quantile_alpha
        self.tweedie_variance_power = tweedie_variance_power
        self.huber_slope = huber_slope
        self.max_delta_step = max_delta_step
        self.random_state = random_state

    def _params(self, classes=2):
        """Of the objective, those that are given."""
        names = (*PARAMS, "max_delta_step") if self.objective == "count:poisson" else PARAMS
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return given | ({"num_class": classes} if classes > 2 else {})

    def _filled(self, X):
        return X if np.isnan(self.missing) else np.where(np.float32(self.missing) == X, np.float32(np.nan), X)

    def _fields(self, objective):
        outputs, counts = objective.outputs, self.objective == "count:poisson"
        own = {
            "early_stopping": self.early_stopping_rounds or 0,
            "leaf_method": "exact" if objective.name.startswith(("absolute", "quantile")) else "newton",
            "leaf_iterations": 1,
            "max_delta_step": (0.7 if counts else 0.0) if self.max_delta_step is None else self.max_delta_step,
            "missing": "learn",
            "mvs": False,
            "newton": True,
            "borders": "xgboost",
            "border_count": self.max_bin - 1,
            "min_data_in_leaf": 0,
            "one_output_per_tree": outputs > 1 and self.multi_strategy == "one_output_per_tree",
        }
        return self.get_params() | own

    def _metrics(self, objective):
        """What `fitting.run` watches: a dict of metrics of scores."""
        names = [self.eval_metric] if isinstance(self.eval_metric, str) else self.eval_metric
        listed = isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names)
        if not (names is None or listed):
            raise UserError(f"eval_metric is {names!r}; give the name of a metric, or a list of names.")
        params, name, found = self._params(objective.outputs), self.objective or self._default(objective.outputs), {}
        if names is None and (not isinstance(name, str) or objective.name.startswith("multi_squared")):
            return {"loss": watching.loss(objective)}
        for watched in [xgboost_names.metric_of(name, **params)] if names is None else names:
            measure, greater = metrics.metric(watched)
            found[watched] = functools.partial(_of_scores, measure, objective.link), greater
        return found

    def _grow(self, X, y, objective, **rest):
        if self.early_stopping_rounds and not rest["eval_set"]:
            raise UserError(f"early_stopping_rounds is {self.early_stopping_rounds}; it needs an eval_set to watch.")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UserError(f"{name} is '{getattr(self, name)}'; {nearest(getattr(self, name), known)}")
        if self.booster != "gblinear":
            return super()._grow(X, y, objective, **rest)
        options = linear.Options(float(self.learning_rate), float(self.reg_lambda), float(self.reg_alpha))
        rest |= {"metrics": self._metrics(objective), "patience": self.early_stopping_rounds or 0}
        del rest["key"]
        if objective.outputs > 1 and objective is not self.objective:
            objective = _level(objective)
        found = fit_linear.run(X, y, objective, options, self.n_estimators, **rest)
        self.ensemble_ = found.of._replace(names=self._names())
        return found

    def _is_linear(self):
        check_is_fitted(self)
        return isinstance(self.ensemble_, fit_linear.Model)

    def _linear(self, name):
        if not self._is_linear():
            raise AttributeError(f"{name} is of booster 'gblinear' alone; here are trees.")
        return self.ensemble_.linear

    @property
    def coef_(self):
        """[F], or [K, F]: the weights of booster "gblinear"."""
        weights = np.asarray(self._linear("coef_").weights).T
        return weights[0] if len(weights) == 1 else weights

    @property
    def intercept_(self):
        """[K]: the bias of booster "gblinear", with the base_score."""
        return np.asarray(self._linear("intercept_").bias)

    @property
    def feature_importances_(self):
        """[F], each feature's share of the total gain (XGBoost's own default is the mean gain of a split), or of the
        absolute weights of booster "gblinear"."""
        if not self._is_linear():
            return super().feature_importances_
        sizes = np.abs(np.asarray(self.ensemble_.linear.weights)).sum(axis=1)
        return sizes / max(sizes.sum(), np.finfo(np.float32).tiny)

    def _raw(self, X):
        return fit_linear.predict_raw(self.ensemble_, self._rows(X)) if self._is_linear() else super()._raw(X)

    def _stages(self, X):
        with as_value_errors():
            if self._is_linear():
                raise UserError("booster 'gblinear' keeps the functions of its last round alone; there are no stages.")
        return super()._stages(X)


class XGBoostRegressor(Regression, _XGBoost):
    __doc__ = f"Predicts a number, or several: y may be [N, K]. {_XGBoost.__doc__}"
    _several, _refused = True, ("softmax", "exponential")  # "binary:logistic" may be of numbers

    def _start(self, y, weight):
        if self.scale_pos_weight != 1:
            raise UserError(f"scale_pos_weight is {self.scale_pos_weight}; it is of two classes: give sample_weight.")
        return self._objective(1 if y.ndim == 1 else y.shape[1])

    def _default(self, outputs):
        return "reg:squarederror"

    def _objective(self, outputs):
        if isinstance(self.objective, objectives.Objective):
            return self.objective
        name = str(self.objective or self._default(outputs))
        if name in OF_CLASSES[2:]:
            raise UserError(f"the objective is '{name}', whose labels are classes; take the classifier.")
        if outputs == 1:
            return xgboost_names.objective(name, self.base_score, **self._params())
        if name != "reg:squarederror" or self.base_score is not None:
            raise UserError(f"y has {outputs} columns, for which the objective is reg:squarederror without base_score.")
        return objectives.multi_squared(outputs)._replace(name=f"multi_squared:outputs={outputs}")


class XGBoostClassifier(Classification, _XGBoost):
    __doc__ = f"""Predicts a class. With objective "binary:logitraw" the score s stands for the probability, as in
    XGBoost: predict_proba gives 1 - s and s, and a label is the second where s is above 1/2. {_XGBoost.__doc__}"""
    _losses = (*tasks.OF_CLASSES, "logistic_raw")

    def _start(self, y, weight):
        return self._objective(self._find_classes(y, weight), self._targets(y), weight)

    def _default(self, outputs):
        return OF_CLASSES[2 * (outputs > 1)]

    def _objective(self, classes, y, weight):
        several, name = classes > 2, self.objective or self._default(classes - 1)
        known = OF_CLASSES[2:] if several else OF_CLASSES[:2]
        if name not in known:
            raise UserError(f"the objective of {classes} classes is '{name}'; {nearest(name, known)}")
        if several and self.scale_pos_weight != 1:
            raise UserError(f"scale_pos_weight is {self.scale_pos_weight}; it is of two classes: give sample_weight.")
        base, scale = self.base_score, self.scale_pos_weight
        if base is None and scale != 1:  # then XGBoost takes one Newton step from 0
            w = np.where(y == 1, scale, 1.0) * (1 if weight is None else weight)
            step = float(4 * np.average(y - 0.5, weights=w))
            base = step if name == "binary:logitraw" else special.expit(step)
        found = xgboost_names.objective(name, base, **self._params(classes))
        return found if scale == 1 else _scaled(found, float(scale))

    def _of(self, raw):
        return super()._of(raw - 0.5 * (self.ensemble_.loss_name == "logistic_raw"))


@functools.cache
def _scaled(objective, scale):
    """The objective of labels 0 and 1 whose gradients weigh `scale` of label 1. Borders are as if it did not."""

    def gradients(score, y, w=None):
        of_label = jnp.where(y == 1, jnp.float32(scale), 1)
        return objective.gradients(score, y, of_label if w is None else of_label * w)

    return objective._replace(gradients=gradients)


@functools.cache
def _level(objective):
    """The objective whose outputs all start from the score of the first, as those of XGBoost's linear functions do."""

    def start(y, w=None):
        return jnp.broadcast_to(objective.start(y, w)[:1], objective.outputs)

    return objective._replace(start=start)


def _of_scores(measure, link, score, y):
    return measure(np.asarray(link(score)), np.asarray(y))
