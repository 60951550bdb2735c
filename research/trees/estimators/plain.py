"""What estimators share that boost no gradient: checked input, classes and their weights, parameters of CART."""

import math

import jax
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from research.errors import UserError, nearest
from research.trees import cart
from research.trees.estimators.base import REAL, ROWS, WHOLE, as_value_errors, check, located, numbers_of
from research.trees.impurity import CRITERIA

RANGES = {  # see base.check; parameters that may be shares of rows or features are looked at in `options`
    "max_depth": (WHOLE, 1, None, "left"),
    "min_weight_fraction_leaf": (REAL, 0, 0.5, "both"),
    "min_impurity_decrease": (REAL, 0, None, "left"),
    "ccp_alpha": (REAL, 0, None, "left"),
}


class Plain(BaseEstimator):
    """Mistakes raise ValueError or TypeError. A subclass has `_ranges` of its parameters (see base.check)."""

    _ranges = RANGES

    def _given(self, X, y, sample_weight=None):
        """(X [N, F] f32, y [N] f32 or places among `classes_`, weights [N] or None), of what `fit` was given."""
        check(self, self._ranges)
        with located(X, numbers_of(y, self._numeric), None if np.isscalar(sample_weight) else sample_weight):
            X, y = validate_data(self, X, y, y_numeric=self._numeric, **ROWS)
            if sample_weight is not None:
                sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        with as_value_errors():
            return X, *self._encoded(y, sample_weight)

    def _rows(self, X):
        with located(X, names=self._names()):
            return validate_data(self, X, reset=False, **ROWS)

    def _names(self):
        return tuple(getattr(self, "feature_names_in_", ())) or None

    def _key(self):
        return jax.random.key(check_random_state(self.random_state).randint(2**31 - 1))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class Numbers(RegressorMixin):
    """Predicts a number."""

    _numeric = True

    def _encoded(self, y, weight):
        return y.astype(np.float32), weight


class Classes(ClassifierMixin):
    """Predicts a class; a subclass has `predict_proba`. class_weight: None, {label: weight} or "balanced"."""

    _numeric = False

    def _encoded(self, y, weight):
        """(Places among `classes_`, weights times those of classes, or None)."""
        check_classification_targets(y)
        self.classes_, places = np.unique(y, return_inverse=True)
        if getattr(self, "class_weight", None) is not None:
            of_class = compute_sample_weight(self.class_weight, y).astype(np.float32)
            weight = of_class if weight is None else weight * of_class
        return places, weight

    def predict(self, X):
        """[N] labels of `classes_`; of equally likely ones the first."""
        likely = self.predict_proba(X)
        return self.classes_[likely.argmax(axis=1)]


def options(model, rows, features):
    """The cart.Options of a model's parameters, with shares made numbers as scikit-learn does. Raises UserError."""

    def number(name, of, make):
        value = getattr(model, name)
        if name == "max_features" and value in ("sqrt", "log2"):
            return max(1, int(getattr(np, value)(of)))
        if isinstance(value, REAL) and not isinstance(value, WHOLE) and 0 < value <= 1:
            return make(value * of)
        if value is None or isinstance(value, WHOLE):
            return value
        raise UserError(f"{name} is {value!r}; it must be a whole number, or a share above 0 and up to 1.")

    known = [name for name, of in CRITERIA.items() if of.classes is not model._numeric]
    if model.criterion not in known:  # one of the other kind would take numbers for classes, or classes for numbers
        raise UserError(f"the criterion is '{model.criterion}'; {nearest(model.criterion, known)}")
    given = {name: getattr(model, name) for name in cart.Options._fields} | {
        "min_samples_split": number("min_samples_split", rows, lambda n: max(2, math.ceil(n))),
        "min_samples_leaf": number("min_samples_leaf", rows, math.ceil),
        "max_features": number("max_features", features, lambda n: max(1, int(n))),
    }
    return cart.Options(**given)
