"""The bound's figure: its numbers are the classifier's, and each becomes a line."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from research.errors import UserError
from research.figures import adaboost_bound
from research.trees.estimators import AdaBoostClassifier


def test_points_and_lines():
    x, y = load_breast_cancer(return_X_y=True)
    model = AdaBoostClassifier(n_estimators=10).fit(x[:400], y[:400])
    points = adaboost_bound.points(model, (x[:400], y[:400]), (x[400:], y[400:]), (1, 4, 50))
    assert list(points["margins"]) == [1, 4, 10] and all(isinstance(value, float) for value in points["bound"])
    np.testing.assert_allclose(points["margins"][10], np.sort(model.margins(x[:400], y[:400])), atol=1e-5)
    assert points["train"][-1] == pytest.approx(1 - model.score(x[:400], y[:400]))
    assert points["held_out"][-1] == pytest.approx(1 - model.score(x[400:], y[400:]))
    assert (np.array(points["bound"]) >= points["train"]).all()
    pytest.importorskip("matplotlib")
    left, right = adaboost_bound.draw(points).axes
    lines = {line.get_label(): line.get_ydata() for line in left.lines}
    assert {name: list(lines[name]) for name in ("bound", "held out")} == {
        "bound": points["bound"],
        "held out": points["held_out"],
    }
    steps = {line.get_label(): line for line in right.lines}
    wrong = sum(margin <= 0 for margin in points["margins"][1]) / 400
    at = np.searchsorted(steps["1 stage"].get_xdata(), 0, "right") - 1
    assert steps["1 stage"].get_ydata()[at] == pytest.approx(wrong) and wrong == pytest.approx(points["train"][0])


def test_more_classes_have_no_bound():
    x, y = np.arange(30.0).reshape(30, 1), np.arange(30) // 10
    with pytest.raises(UserError, match="that of two classes; the model has 3"):
        adaboost_bound.points(AdaBoostClassifier(n_estimators=2).fit(x, y), (x, y), (x, y))
