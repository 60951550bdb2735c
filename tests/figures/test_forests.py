"""Figures of random forests: errors out of bag beside held-out ones, and importances with their deviations."""

import json

import numpy as np
import pytest

from research.errors import UserError
from research.figures import importances, oob
from research.trees.estimators import RandomForestClassifier, RandomForestRegressor

ROWS = [
    {"step": 1, "loss": 0.5, "oob_error": 0.4, "trees": 5},
    {"step": 1, "eval/accuracy": 0.75, "eval/loss": 0.3},
    {"step": 2, "loss": 0.4, "oob_error": 0.2, "trees": 10},
    {"step": 2, "eval/accuracy": 0.875, "eval/loss": 0.2},
]


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def test_errors_by_trees(workdir):
    pytest.importorskip("matplotlib")
    points = oob.load([workdir])
    want = {"oob": {"trees": [5, 10], "value": [0.4, 0.2]}, "test": {"trees": [5, 10], "value": [0.25, 0.125]}}
    assert points == {workdir.name: want}
    lines = {line.get_linestyle(): line for line in oob.draw(points).axes[0].lines}
    assert list(lines["--"].get_ydata()) == [0.4, 0.2] and list(lines["-"].get_xdata()) == [5, 10]


def test_errors_of_numbers_are_squares(tmp_path):
    rows = [{"step": 1, "oob_error": 4.0, "trees": 5}, {"step": 1, "eval/mse": 3.0, "eval/loss": 3.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert oob.load([tmp_path])[tmp_path.name]["test"]["value"] == [3.0]


@pytest.mark.parametrize("text", [None, '{"step": 1, "loss": 2.0, "trees": 5}\n', '{"step'])
def test_other_runs_are_named(tmp_path, text):
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(UserError, match=f"{tmp_path} holds no out-of-bag errors of a random forest"):
        oob.load([tmp_path])


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_importances_with_deviations(kind):
    pytest.importorskip("matplotlib")
    x = np.random.default_rng(0).normal(size=(150, 3)).astype(np.float32)
    y = x[:, 1] + 0.1 * x[:, 0]
    make, y = (RandomForestClassifier, y > 0) if kind == "classes" else (RandomForestRegressor, y)
    model = make(8, random_state=0, max_features=None).fit(x, y)
    points = importances.points(model, x, y, repeats=3)
    assert next(iter(points)) == "feature 1"
    mean, deviation = zip(*(points[f"feature {f}"]["impurity"] for f in range(3)))
    np.testing.assert_allclose(mean, model.feature_importances_, rtol=1e-5)
    assert min(deviation) > 0 and sum(mean) == pytest.approx(1)
    shuffled = x.copy()
    falls = []
    random = np.random.default_rng(1)
    for _ in range(20):
        shuffled[:, 1] = random.permutation(x[:, 1])
        falls.append(model.score(x, y) - model.score(shuffled, y))
    assert points["feature 1"]["permutation"][0] == pytest.approx(np.mean(falls), rel=0.25)
    left, right = importances.draw(points).axes
    bars = [bar.get_width() for bar in left.patches]
    assert bars == pytest.approx([of["impurity"][0] for of in points.values()])
    assert [label.get_text() for label in left.get_yticklabels()] == list(points) and len(right.patches) == 3
