"""What estimators of numbers and of classes do differently, whatever their trees."""

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from research.errors import UserError, nearest
from research.trees.objectives import Objective

LOSSES = {"auto": "squared", "squared_error": "squared", "absolute_error": "absolute"}  # of numbers: ours
OF_CLASSES = ("logistic", "softmax", "exponential")


class Regression(RegressorMixin):
    """Predicts a number; loss "auto" is the squared error."""

    _numeric, _refused = True, OF_CLASSES  # losses of files

    def _start(self, y, weight):
        """The objective, or its name."""
        if isinstance(self.loss, Objective):
            return self.loss
        if str(self.loss).startswith("softmax"):
            raise UserError(f"the loss is '{self.loss}', whose labels are classes; take the classifier.")
        return LOSSES.get(str(self.loss), str(self.loss))

    def _targets(self, y):
        return y

    def _of(self, raw):
        return self._link(raw)

    def _loaded(self, of, labels):
        if (len(of.start) > 1 and of.loss_name != "multi_squared") or of.loss_name in self._refused:
            raise UserError(f"the file holds {of.objective} trees with {len(of.start)} outputs; no regressor has them.")
        return of


class Classification(ClassifierMixin):
    """Predicts a class; loss "auto" is the log-loss."""

    _numeric, _losses = False, OF_CLASSES

    def _start(self, y, weight):
        """The objective's name, once `classes_` are known."""
        classes = self._find_classes(y, weight)
        if self.loss in ("auto", "log_loss"):
            return "logistic" if classes == 2 else self._softmax(classes)
        if self.loss != "exponential":
            raise UserError(f"the loss of classes is '{self.loss}'; {nearest(self.loss, ('log_loss', 'exponential'))}")
        return self.loss

    def _find_classes(self, y, weight):
        """How many `classes_` there are, once they are known."""
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise UserError("y has 1 class; give rows of two or more.")
        totals = np.bincount(self._targets(y), weight)
        if not totals.all():
            raise UserError(f"no row of class {self.classes_[totals.argmin()]!s} has a positive weight; drop its rows.")
        return len(totals)

    def _softmax(self, classes):
        return f"softmax:classes={classes}"

    def _targets(self, y):
        """Places among `classes_`."""
        y = column_or_1d(y)
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
        return self._probabilities(self._raw(X))

    def staged_predict_proba(self, X):
        """Yields the probabilities [N, K] of the first tree, of the first two, and so on."""
        yield from map(self._probabilities, self._stages(X))

    def _probabilities(self, raw):
        p = self._link(raw)
        return np.stack([1 - p, p], axis=1) if p.ndim == 1 else p

    def _loaded(self, of, labels):
        if of.loss_name not in self._losses:
            known = " or ".join(self._losses)
            raise UserError(f"the file holds {of.objective} trees; a classifier needs {known} ones.")
        self.classes_ = np.arange(max(2, len(of.start))) if labels is None else np.asarray(labels)
        return of
