"""scikit-learn's estimators of boosted oblivious trees: `ObliviousBoostingRegressor`, `ObliviousBoostingClassifier`."""

import contextlib
import dataclasses
import json
import numbers
import types

import jax
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from research.atomic import replacing
from research.errors import UserError, nearest
from research.trees import ensemble, explain, fitting, interop, interop_xgboost

WHOLE, REAL = numbers.Integral, numbers.Real
RANGES = {  # of parameters: type, least, greatest, which of the two belong to it
    "n_estimators": (WHOLE, 1, None, "left"),
    "learning_rate": (REAL, 0, None, "neither"),
    "max_depth": (WHOLE, 1, 16, "both"),
    "subsample": (REAL, 0, 1, "right"),
    "l2_leaf_reg": (REAL, 0, None, "left"),
    "random_strength": (REAL, 0, None, "left"),
    "bagging_temperature": (REAL, 0, None, "left"),
    "colsample_bytree": (REAL, 0, 1, "right"),
    "colsample_bylevel": (REAL, 0, 1, "right"),
    "leaf_iterations": (WHOLE, 1, None, "left"),
    "early_stopping": (WHOLE, 0, None, "left"),
}
LOSSES = {"squared_error": "squared", "absolute_error": "absolute", "log_loss": "auto"}  # scikit-learn's: ours
LEAVES = {"absolute": "exact", "quantile": "exact", "logistic": "newton", "softmax": "newton", "exponential": "newton"}
ROWS = dict(dtype=np.float32, ensure_all_finite="allow-nan")  # of validate_data


class ParameterError(UserError, ValueError):
    """A UserError that scikit-learn's tools know as a ValueError."""


@contextlib.contextmanager
def as_value_errors():
    """UserErrors inside become ParameterErrors."""
    try:
        yield
    except UserError as error:
        raise ParameterError(str(error)) from error


class _Boosting(BaseEstimator):
    """The parameters are scikit-learn's where it has them, else CatBoost's or XGBoost's, as in configs/base.py.

    loss: "auto", or an objective, with options such as "quantile:alpha=0.8". borders: a kind of binning.find, or a list
    of arrays, one a feature. leaf_method "auto": as CatBoost's, see LEAVES. early_stopping: trees without a lower
    loss on fit's eval_set; 0: none. Fitting sets `ensemble_`. Mistakes raise ValueError or TypeError.
    """

    def __init__(
        self,
        *,
        loss="auto",
        n_estimators=100,
        learning_rate=0.1,
        max_depth=6,
        subsample=1.0,
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

    def fit(self, X, y, sample_weight=None, eval_set=None):
        """self, fitted to X [N, F], NaN where a value is missing, y [N] and weights [N]; eval_set = (X, y)."""
        for name, (kind, low, high, ends) in RANGES.items():
            check_scalar(getattr(self, name), name, kind, min_val=low, max_val=high, include_boundaries=ends)
        X, y = validate_data(self, X, y, y_numeric=self._numeric, **ROWS)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        with as_value_errors():
            objective = self._start(y, sample_weight)
            if eval_set is not None:
                eval_set = (validate_data(self, eval_set[0], reset=False, **ROWS), self._targets(eval_set[1]))
            key = jax.random.key(check_random_state(self.random_state).randint(2**31 - 1))
            rest = dict(key=key, sample_weight=sample_weight, eval_set=eval_set)
            found = fitting.fit(X, self._targets(y), self._config(objective), **rest)
        names = getattr(self, "feature_names_in_", None)
        self.ensemble_ = dataclasses.replace(found, names=None if names is None else tuple(names))
        return self

    def _config(self, objective):
        """What `fitting.fit` takes for a config."""
        leaf = self.leaf_method
        own = {
            "objective": objective,
            "num_trees": self.n_estimators,
            "depth": self.max_depth,
            "block": 10 if self.early_stopping else self.n_estimators,
            "leaf_method": LEAVES.get(objective.partition(":")[0], "gradient") if leaf == "auto" else leaf,
        }
        return types.SimpleNamespace(**self.get_params() | own)

    @property
    def feature_importances_(self):
        """[F], each feature's share of the gain."""
        check_is_fitted(self)
        with as_value_errors():
            return explain.importances(self.ensemble_)

    def _rows(self, X):
        check_is_fitted(self)
        return validate_data(self, X, reset=False, **ROWS)

    def _raw(self, X):
        """Scores [N, K]."""
        X = self._rows(X)
        with as_value_errors():
            return ensemble.predict_raw(self.ensemble_, X)

    def _link(self, raw):
        return np.asarray(fitting.get_objective(self.ensemble_.objective).link(raw))

    def predict(self, X):
        """[N]: numbers, or labels of `classes_`."""
        return self._of(self._raw(X))

    def staged_predict(self, X):
        """Yields the predictions [N] of the first tree, of the first two, and so on."""
        X = self._rows(X)
        with as_value_errors():
            yield from (self._of(np.asarray(raw)) for raw in ensemble.staged(self.ensemble_, X))

    def save_model(self, path, format="catboost_json"):
        """Writes a file that CatBoost or, with "xgboost_json", XGBoost loads."""
        check_is_fitted(self)
        with as_value_errors():
            model = _format(format)[0](self.ensemble_, getattr(self, "classes_", None))
        with replacing(path) as file:
            file.write(json.dumps(model).encode())

    def load_model(self, path, format="catboost_json"):
        """self, fitted: the trees of such a file. Gains are not in CatBoost's, labels not in XGBoost's own."""
        with as_value_errors():
            read, labels = _format(format)[1:]
            try:
                with open(path, "rb") as file:
                    model = json.load(file)
            except (OSError, ValueError) as error:
                raise UserError(f"{path} cannot be read as JSON: {error}.") from None
            self.ensemble_ = self._loaded(read(model), labels(model))
        self.n_features_in_ = len(self.ensemble_.counts)
        vars(self).pop("feature_names_in_", None)
        if self.ensemble_.names:
            self.feature_names_in_ = np.array(self.ensemble_.names, object)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "forbid"
        return tags


class ObliviousBoostingRegressor(RegressorMixin, _Boosting):
    __doc__ = f'Boosted oblivious trees that predict a number; loss "auto" is the squared error.\n\n{_Boosting.__doc__}'
    _numeric = True

    def _start(self, y, weight):
        """The objective's name."""
        name = LOSSES.get(self.loss, self.loss)
        return "squared" if name == "auto" else name

    def _targets(self, y):
        return y

    def _of(self, raw):
        return self._link(raw)

    def _loaded(self, of, labels):
        if len(of.start) > 1 or of.loss_name in ("logistic", "softmax"):
            raise UserError(f"the file holds {of.objective} trees with {len(of.start)} outputs; no regressor has them.")
        return of


class ObliviousBoostingClassifier(ClassifierMixin, _Boosting):
    __doc__ = f'Boosted oblivious trees that predict a class; loss "auto" is the log-loss.\n\n{_Boosting.__doc__}'
    _numeric = False

    def _start(self, y, weight):
        """The objective's name, once `classes_` are known."""
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise UserError("y has 1 class; give rows of two or more.")
        totals = np.bincount(self._targets(y), weight)
        if not totals.all():
            raise UserError(f"no row of class {self.classes_[totals.argmin()]!s} has a positive weight; drop its rows.")
        if LOSSES.get(self.loss, self.loss) == "auto":
            return "logistic" if len(totals) == 2 else f"softmax:classes={len(totals)}"
        if self.loss != "exponential":
            raise UserError(f"the loss of classes is '{self.loss}'; {nearest(self.loss, ('log_loss', 'exponential'))}")
        return self.loss

    def _targets(self, y):
        """Places among `classes_`."""
        y = np.asarray(y)
        for label in set(y.tolist()) - set(self.classes_.tolist()):
            raise UserError(f"the label {label!r} of the eval_set is not among those of y; leave its rows out.")
        return np.searchsorted(self.classes_, y)

    def _of(self, raw):
        return self.classes_[np.int32(raw[:, 0] > 0) if raw.shape[1] == 1 else raw.argmax(axis=1)]

    def decision_function(self, X):
        """Scores: [N], of the second of two classes, or [N, K]."""
        raw = self._raw(X)
        return raw[:, 0] if raw.shape[1] == 1 else raw

    def predict_proba(self, X):
        """[N, K], in the order of `classes_`."""
        p = self._link(self._raw(X))
        return np.stack([1 - p, p], axis=1) if p.ndim == 1 else p

    def _loaded(self, of, labels):
        if of.loss_name not in ("logistic", "softmax"):
            raise UserError(f"the file holds {of.objective} trees; a classifier needs logistic or softmax ones.")
        self.classes_ = np.arange(max(2, len(of.start))) if labels is None else np.asarray(labels)
        return of


def _to_xgboost(of, labels):
    model = interop_xgboost.to_xgboost(of)
    if labels is not None:
        model["learner"]["attributes"]["classes"] = json.dumps(labels.tolist())
    return model


FORMATS = {  # an Ensemble and its labels or None as a dict, the Ensemble of a dict, and its labels or None
    "catboost_json": (
        interop.to_catboost,
        interop.from_catboost,
        lambda model: model["model_info"].get("class_params", {}).get("class_names"),
    ),
    "xgboost_json": (
        _to_xgboost,
        interop_xgboost.from_xgboost,
        lambda model: json.loads(model["learner"]["attributes"].get("classes", "null")),
    ),
}


def _format(name):
    if name not in FORMATS:
        raise UserError(f"the format is '{name}'; {nearest(name, FORMATS)}")
    return FORMATS[name]
