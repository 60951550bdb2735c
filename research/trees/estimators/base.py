"""What the estimators share: checked parameters and tables, fitting, predictions, files. Entry point: `Boosting`."""

import contextlib
import dataclasses
import json
import numbers
import types

import jax
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, check_scalar, column_or_1d
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from research.atomic import replacing
from research.errors import UserError
from research.trees import blocks, explain, fitting, objectives, prediction, watching, words
from research.trees.estimators import formats

WHOLE, REAL = numbers.Integral, numbers.Real
RANGES = {  # of parameters, as `check` takes them
    "n_estimators": (WHOLE, 1, None, "left"),
    "learning_rate": (REAL, 0, None, "neither"),
    "max_depth": (WHOLE, 1, 16, "both"),
    "subsample": (REAL, 0, 1, "right"),
    "colsample_bytree": (REAL, 0, 1, "right"),
    "colsample_bylevel": (REAL, 0, 1, "right"),
    "leaf_iterations": (WHOLE, 1, None, "left"),
    "early_stopping": (WHOLE, 0, None, "left"),
    "border_count": (WHOLE, 1, None, "left"),
}
ROWS = dict(dtype=np.float32, ensure_all_finite="allow-nan")  # of validate_data
WATCHED = "evals_result_", "best_iteration_", "best_score_"  # what a fit with an eval_set knows


class ParameterError(UserError, ValueError):
    """A UserError that scikit-learn's tools know as a ValueError."""


@contextlib.contextmanager
def as_value_errors():
    """UserErrors inside become ParameterErrors."""
    try:
        yield
    except UserError as error:
        raise ParameterError(str(error)) from error


def check(model, ranges):
    """Raises ParameterError unless parameters of an estimator are in their ranges, or their defaults, such as "auto".

    ranges: of a name the type, the least and the greatest value, and which of the two belong to it.
    """
    given, own = model.get_params(deep=False), type(model)().get_params(deep=False)
    for name, (kind, low, high, ends) in ranges.items():
        value, default = given.get(name), own.get(name)
        if value is default or (isinstance(value, str) and value == default):
            continue
        try:
            check_scalar(value, name, kind, min_val=low, max_val=high, include_boundaries=ends)
        except (TypeError, ValueError) as error:
            raise ParameterError(f"{str(error).rstrip('.')}; by default it is {default!r}.") from None


@contextlib.contextmanager
def located(x, y=None, weight=None, names=None):
    """scikit-learn's complaints inside begin with the row and column that they are about, where one can be told."""
    try:
        dtypes = np.ravel(getattr(x, "dtypes", getattr(x, "dtype", None)))
        if any(getattr(dtype, "kind", None) in ("m", "M") for dtype in dtypes):
            raise ValueError("times are not numbers")  # which scikit-learn takes them for where all columns are
        with np.errstate(over="ignore"):  # what overflows float32 is complained of
            yield
    except ValueError as error:
        try:
            for _ in blocks.read(x, names, weight):
                pass
            if y is not None:
                objectives.squared().check(y)
        except UserError as ours:
            raise ParameterError(f"{ours} ({error})") from error
        raise


def numbers_of(y, numeric):
    """y where it is numbers, or should be; None for labels. Raises ParameterError where a label is missing."""
    kind = getattr(getattr(y, "dtype", None), "kind", "O")  # not all that have a dtype have numpy's
    if numeric or kind == "f" or y is None:
        return y
    for row, label in enumerate(column_or_1d(y, dtype=object) if kind == "O" else ()):
        if words.is_missing(label):
            raise ParameterError(f"y is {label} in row {row}; give the row a label, or leave it out.")
    return None


class Boosting(BaseEstimator):
    """loss: "auto", an objective's name, with options such as "quantile:alpha=0.8", or of a regressor one that
    objectives.from_loss made. borders: a kind of binning.find, or a list of arrays, one a feature. leaf_method "auto":
    what suits the loss. early_stopping: trees without a lower loss on fit's eval_set; 0: none. Fitting sets
    `ensemble_`. Mistakes raise ValueError or TypeError.
    """

    _several = False  # y may be [N, K]

    def fit(self, X, y, sample_weight=None, eval_set=None):
        """self, fitted to X [N, F], NaN where a value is missing, y [N] and weights [N]; eval_set: a pair (X, y), or a
        list of pairs, of which the last one is watched.
        """
        check(self, RANGES | self._ranges)
        with located(X, numbers_of(y, self._numeric), None if np.isscalar(sample_weight) else sample_weight):
            several = self._several and getattr(y, "ndim", 1) > 1 and y.shape[1] > 1
            X, y = validate_data(self, X, y, y_numeric=self._numeric, multi_output=several, **ROWS)
            if sample_weight is not None:
                sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        with as_value_errors():
            objective = self._start(y, sample_weight)
            held = [(self._rows(x), self._targets(truth)) for x, truth in watching.pairs(eval_set)]
            key = jax.random.key(check_random_state(self.random_state).randint(2**31 - 1))
            rest = dict(key=key, sample_weight=sample_weight, eval_set=held or None)
            found = self._grow(self._filled(X), self._targets(y), objective, **rest)
        self._forget(*WATCHED)
        self.evals_result_ = {f"validation_{i}": values for i, values in enumerate(found.evals)}
        if found.best is not None:
            self.best_iteration_ = found.best
            self.best_score_ = list(found.evals[-1].values())[-1][found.best]
        return self

    def _grow(self, X, y, objective, **rest):
        """fitting.Fitted to checked rows and targets."""
        found = fitting.run(X, y, self._config(objective), metrics=self._metrics(objective), **rest)
        self.ensemble_ = dataclasses.replace(found.of, names=self._names())
        return found

    def _names(self):
        return tuple(getattr(self, "feature_names_in_", ())) or None

    def _filled(self, X):
        """X with NaN where a value is missing."""
        return X

    def _metrics(self, objective):
        """What is watched on eval sets, as fitting.run takes it; None: the loss."""
        return None

    def _config(self, objective):
        """What `fitting.fit` takes for a config."""
        given, loss = self._fields(objective), getattr(objective, "name", objective).partition(":")[0]
        leaf = str(given["leaf_method"])
        if not hasattr(given["borders"], "__len__"):
            raise UserError(f"borders is {given['borders']!r}; give the name of a kind, or a list of arrays.")
        own = {
            "name": self._name,
            "objective": objective,
            "num_trees": self.n_estimators,
            "depth": self.max_depth,
            "block": 10 if given["early_stopping"] else self.n_estimators,
            "leaf_method": self._leaves.get(loss, "gradient") if leaf == "auto" else leaf,
        }
        return types.SimpleNamespace(**given | own)

    def _fields(self, objective):
        """The parameters by the names that a config has."""
        return self.get_params()

    @property
    def feature_importances_(self):
        """[F], each feature's share of the gain."""
        check_is_fitted(self)
        with as_value_errors():
            return explain.importances(self.ensemble_)

    def _rows(self, X):
        with located(X, names=self._names()):
            return self._filled(validate_data(self, X, reset=False, **ROWS))

    def _raw(self, X):
        """Scores [N, K]."""
        check_is_fitted(self)
        X = self._rows(X)
        with as_value_errors():
            return prediction.predict_raw(self.ensemble_, X)

    def _link(self, raw):
        return np.asarray(fitting.link(self.ensemble_, raw))

    def predict(self, X):
        """[N]: numbers, or labels of `classes_`."""
        return self._of(self._raw(X))

    def staged_predict(self, X):
        """Yields the predictions [N] of the first tree, of the first two, and so on."""
        yield from map(self._of, self._stages(X))

    def _stages(self, X):
        """Yields the scores [N, K] of each stage."""
        check_is_fitted(self)
        X = self._rows(X)
        with as_value_errors():
            yield from map(np.asarray, prediction.staged(self.ensemble_, X))

    def save_model(self, path, format=None):
        """Writes a file: "catboost_json", that of oblivious trees, loads in CatBoost, "xgboost_json" in XGBoost."""
        check_is_fitted(self)
        with as_value_errors():
            model = self._written(format or self._format)
        with replacing(path) as file:
            file.write(json.dumps(model).encode())

    def load_model(self, path, format=None):
        """self, fitted: the trees of such a file. Gains are not in CatBoost's, labels not in XGBoost's own."""
        with as_value_errors():
            self.ensemble_ = self._loaded(*formats.read(path, format or self._format))
        return self._known(self.ensemble_.columns, self.ensemble_.names)

    def _written(self, format):
        """The dict of the file of a format."""
        return formats.get(format).write(self.ensemble_, getattr(self, "classes_", None))

    def _known(self, columns, names):
        """self, fitted to so many columns, with names or None."""
        self.n_features_in_ = columns
        self._forget("feature_names_in_", *WATCHED)
        if names:
            self.feature_names_in_ = np.array(names, object)
        return self

    def _forget(self, *names):
        for name in names:
            vars(self).pop(name, None)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "forbid"
        return tags
