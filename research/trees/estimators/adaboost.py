"""AdaBoost as scikit-learn's, with the weights of the papers: `AdaBoostClassifier` and `AdaBoostRegressor`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from research.errors import UserError
from research.trees import adaboost, binning, weak
from research.trees.cart import ONE_THREAD
from research.trees.estimators import plain
from research.trees.estimators.base import REAL, WHOLE, as_value_errors

EVERY = 65534  # borders: all midpoints of as many values as codes of 16 bits tell apart
RANGES = {
    "n_estimators": (WHOLE, 1, None, "left"),
    "learning_rate": (REAL, 0, None, "neither"),
    "max_depth": (WHOLE, 1, 16, "both"),
    "border_count": (WHOLE, 1, EVERY, "both"),
}


class _AdaBoost(plain.Plain):
    """estimator: None, trees of max_depth, or an `adaboost.Weak` on rows [N, F] f32 and, of a classifier, places of
    labels among `classes_`. border_count: of a feature's splits; None: all midpoints. Fitting sets `stages_`, an
    `adaboost.Stages` of those that are used, `estimator_weights_` [T] and `estimator_errors_` [T].
    """

    __doc__ += plain.Plain.__doc__
    _ranges = RANGES

    def fit(self, X, y, sample_weight=None):
        """self, fitted to X [N, F], NaN where a value is missing (of trees: below all numbers), y [N], weights [N]."""
        X, y, weight = self._given(X, y, sample_weight)
        with as_value_errors():
            if weight is not None and not weight.any():
                raise UserError("all weights are 0; give at least one row a positive weight.")
            if not (self.estimator is None or isinstance(self.estimator, adaboost.Weak)):
                raise UserError(f"estimator is {self.estimator!r}; it must be an adaboost.Weak, or None for trees.")
            self._borders = None if self.estimator else binning.find(X, count=self.border_count or EVERY)
            options, drawn = self._options(), self._drawn(len(X))
            self._learner = self.estimator  # what `_weak` makes a Weak of, hashable; kept, as parameters may change
            if self._borders:
                self._learner = self._kind, self._borders.bins, *self._classes(), self.max_depth
            boost = _boost(self._learner, *options, self.n_estimators, self.resample is True)
            counts = self._borders.counts if self._borders else None
            with jax.enable_x64(True):
                found = boost(counts, self._read(X), y, weight, self._key(), self.learning_rate, drawn)
        used = int(found.used.sum())
        self.stages_ = jax.tree.map(lambda a: np.asarray(a)[:used], found)
        self.estimator_weights_, self.estimator_errors_ = self.stages_.weight, self.stages_.error
        return self

    def _drawn(self, rows):
        """How often each stage draws each row [T, N], or None."""
        if isinstance(self.resample, bool):
            return None
        shape, given = (self.n_estimators, rows), np.asarray(self.resample)
        if not self._numeric or given.shape != shape or given.dtype.kind not in "iuf":
            third = f", or an array {list(shape)} of how often each stage draws each row" if self._numeric else ""
            raise UserError(f"resample is neither True nor False{third}; give one of these.")
        bad = ~((given >= 0) & np.isfinite(given)).all(axis=1) | ~given.any(axis=1)
        if bad.any():
            stage = bad.argmax()
            raise UserError(
                f"resample is negative, not finite or 0 for all rows in stage {stage}; give how often each is drawn."
            )
        return given

    def _read(self, X):
        """X as the learner takes it."""
        if self._borders:
            return jnp.asarray(binning.apply(self._borders, X))
        if np.isnan(X).any():
            raise UserError("values are missing among the rows, and the estimator takes numbers only; fill them.")
        return jnp.asarray(X)

    @property
    def feature_importances_(self):
        """[F], each feature's share of the gain, its mean over the trees by their weights."""
        check_is_fitted(self)
        if not self._borders:
            raise AttributeError("only trees have feature importances.")
        feature, _, gain, _ = self.stages_.params
        of_tree = np.stack([np.bincount(np.maximum(f, 0), g, self.n_features_in_) for f, g in zip(feature, gain)])
        total = of_tree.sum(1, keepdims=True)
        return np.average(of_tree / np.where(total > 0, total, 1), axis=0, weights=self.estimator_weights_)


class AdaBoostClassifier(plain.Classes, _AdaBoost):
    """algorithm: None, which is "adaboost" for two classes and "samme" for more, "samme" or "samme.r" (see
    adaboost.py); "samme" has scikit-learn's weights, which for two classes are twice those of "adaboost". resample:
    learners see rows that were drawn by their weights. `bound_` [T]: on the training error of each stage, of two
    classes.
    """

    __doc__ = f"{plain.Classes.__doc__} {__doc__} {_AdaBoost.__doc__}"

    def __init__(
        self,
        estimator=None,
        *,
        max_depth=1,
        n_estimators=50,
        learning_rate=1.0,
        algorithm=None,
        resample=False,
        border_count=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.max_depth = max_depth
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.algorithm = algorithm
        self.resample = resample
        self.border_count = border_count
        self.random_state = random_state

    def _options(self):
        if len(self.classes_) < 2:
            raise UserError("y has 1 class; give rows of two or more.")
        self._algorithm = str(self.algorithm or ("adaboost" if len(self.classes_) == 2 else "samme"))
        return self._algorithm, len(self.classes_)

    def _classes(self):
        return (len(self.classes_),)

    @property
    def _kind(self):
        return "probabilities" if self._algorithm == "samme.r" else "classifier"

    @property
    def bound_(self):
        """[T], never below the share of the training rows, by weight, that the first stages get wrong."""
        check_is_fitted(self)
        return self.stages_.bound

    def _votes(self, X, stages):
        """[N, K] of some stages, summed by weight."""
        return np.asarray(_decide(self._learner, self._algorithm, len(self.classes_))(stages, X))

    def _decision(self, votes, weight):
        """scikit-learn's, of votes of so much weight in all."""
        found = votes / weight
        if self._algorithm != "samme.r":
            found = (len(self.classes_) * found - 1) / (len(self.classes_) - 1)
        return found[:, 1] - found[:, 0] if len(self.classes_) == 2 else found

    def decision_function(self, X):
        """Scores: [N] in [-2, 2], of the second of two classes, or [N, K]; means over votes, as scikit-learn's."""
        check_is_fitted(self)
        with as_value_errors():
            return self._decision(self._votes(self._read(self._rows(X)), self.stages_), self.stages_.weight.sum())

    def staged_decision_function(self, X):
        """Yields the scores of the first stage, of the first two, and so on."""
        check_is_fitted(self)
        X, votes = self._read(self._rows(X)), 0.0
        for t, weight in enumerate(np.cumsum(self.stages_.weight)):
            votes = votes + self._votes(X, jax.tree.map(lambda a, t=t: a[t : t + 1], self.stages_))
            yield self._decision(votes, weight)

    def _of(self, decision):
        return self.classes_[np.int32(decision > 0) if decision.ndim == 1 else decision.argmax(axis=1)]

    def predict(self, X):
        """[N] labels of `classes_`."""
        return self._of(self.decision_function(X))

    def staged_predict(self, X):
        """Yields the labels [N] of the first stage, of the first two, and so on."""
        yield from map(self._of, self.staged_decision_function(X))

    def staged_score(self, X, y, sample_weight=None):
        """Yields the accuracy of the first stage, of the first two, and so on."""
        for found in self.staged_predict(X):
            yield accuracy_score(y, found, sample_weight=sample_weight)

    def predict_proba(self, X):
        """[N, K]: the softmax of decisions / (K - 1), as scikit-learn's."""
        found = self.decision_function(X)
        found = np.stack([-found, found], 1) / 2 if found.ndim == 1 else found / (len(self.classes_) - 1)
        return np.asarray(jax.nn.softmax(found))

    def margins(self, X, y):
        """[N] in [-1, 1]: the share of votes for the label, less the greatest share of another."""
        check_is_fitted(self)
        with as_value_errors():
            if self._algorithm == "samme.r":
                raise UserError("margins are shares of votes, and 'samme.r' sums logarithms; choose 'samme'.")
            if not np.isin(y, self.classes_).all():
                raise UserError("y has labels that are not among `classes_`; leave their rows out.")
            votes = self._votes(self._read(self._rows(X)), self.stages_)
            if np.shape(y) != votes.shape[:1]:
                raise UserError(f"X has {len(votes)} rows and y the shape {list(np.shape(y))}; give each row a label.")
            return np.asarray(adaboost.margins(votes, jnp.asarray(np.searchsorted(self.classes_, y))))


class AdaBoostRegressor(plain.Numbers, _AdaBoost):
    """AdaBoost.R2 (Drucker 1997). loss: "linear", "square" or "exponential". resample: learners see rows that were
    drawn by their weights; an array [T, N] of how often each is drawn takes the place of drawing.
    """

    __doc__ = f"{plain.Numbers.__doc__} {__doc__} {_AdaBoost.__doc__}"
    _kind = "regressor"

    def __init__(
        self,
        estimator=None,
        *,
        max_depth=3,
        n_estimators=50,
        learning_rate=1.0,
        loss="linear",
        resample=True,
        border_count=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.max_depth = max_depth
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.loss = loss
        self.resample = resample
        self.border_count = border_count
        self.random_state = random_state

    def _options(self):
        return self.loss, None

    def _classes(self):
        return ()

    def predict(self, X):
        """[N], the median of the stages' numbers by their weights."""
        check_is_fitted(self)
        with as_value_errors():
            return np.asarray(_median(self._learner)(self.stages_, self._read(self._rows(X))))

    def staged_predict(self, X):
        """Yields the numbers [N] of the first stage, of the first two, and so on."""
        check_is_fitted(self)
        X, weight = self._read(self._rows(X)), self.stages_.weight
        for t in range(len(weight)):
            first = self.stages_._replace(weight=np.where(np.arange(len(weight)) <= t, weight, 0))
            yield np.asarray(_median(self._learner)(first, X))


def _weak(learner, counts=0):
    if isinstance(learner, adaboost.Weak):
        return learner
    kind, *rest = learner
    return getattr(weak, kind)(counts, *rest)


@functools.lru_cache(maxsize=64)
def _boost(learner, name, classes, stages, resample):
    """A jitted function that gives Stages, of an algorithm by name or, where classes is None, of a loss."""

    def run(counts, x, y, w, key, rate, drawn):
        rest = {"rate": rate, "w": w, "resample": resample if drawn is None else drawn}
        if classes:
            labels = y.astype(jnp.int32)
            return adaboost.boost(_weak(learner, counts), x, labels, classes, stages, key, algorithm=name, **rest)[1]
        return adaboost.boost_r2(_weak(learner, counts), x, y, stages, key, loss=name, **rest)[1]

    return jax.jit(run, compiler_options=ONE_THREAD)


@functools.lru_cache(maxsize=64)
def _decide(learner, algorithm, classes):
    return jax.jit(lambda stages, x: adaboost.decide(_weak(learner), stages, x, classes, algorithm))


@functools.lru_cache(maxsize=64)
def _median(learner):
    return jax.jit(lambda stages, x: adaboost.median(_weak(learner), stages, x))
