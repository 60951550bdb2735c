"""A drawn tree: its nodes as plain numbers, the text, the picture."""

import json

import numpy as np
import pytest
from sklearn import datasets

from research.figures import tree
from research.trees.estimators import DecisionTreeClassifier, DecisionTreeRegressor

X = np.array([[0.0, 5], [1, 5], [2, 5], [2, 7]], np.float32)
LABELS = np.array(["a", "b", "c", "b"])


@pytest.fixture(scope="module")
def model():
    return DecisionTreeClassifier().fit(X, LABELS)


def test_points_of_a_tree_by_hand(model):
    """Row 0 is parted first, then row 3 by the second column (a tie with the first), then rows 1 and 2."""
    points = tree.points(model.forest_, names=("u", "v"), classes=model.classes_, impurity=model.impurity_)
    assert json.loads(json.dumps(points)) == points
    assert [(p["x"], p["y"], p["parent"], p["answer"], p["question"]) for p in points] == [
        (0, 0.875, None, None, "u <= 0.5"),
        (1, 0.0, 0, "yes", None),
        (1, 1.75, 0, "no", "u <= 1.5"),
        (2, 1.0, 2, "yes", None),
        (2, 2.5, 2, "no", "v <= 6"),
        (3, 2.0, 4, "yes", None),
        (3, 3.0, 4, "no", None),
    ]
    assert [p["cover"] for p in points] == [4, 1, 3, 1, 2, 1, 1]
    np.testing.assert_allclose(points[0]["value"], [0.25, 0.5, 0.25])
    np.testing.assert_allclose([p["impurity"] for p in points], [0.625, 0, 4 / 9, 0, 0.5, 0, 0], rtol=1e-6)
    assert [p["label"] for p in points] == ["b", "a", "b", "b", "b", "c", "b"]


def test_below_a_depth_questions_are_counted(model):
    points = tree.points(model.forest_, max_depth=1)
    assert [(p["question"], p["hidden"]) for p in points] == [("x[0] <= 0.5", 0), (None, 0), (None, 2)]
    assert "impurity" not in points[0] and "label" not in points[0]


def test_text_of_a_tree(model):
    points = tree.points(model.forest_, names=("u", "v"), classes=model.classes_, max_depth=2)
    assert tree.text(points).splitlines() == [
        "u <= 0.5; b 50.0%; n = 4",
        "    yes: a 100.0%; n = 1",
        "    no: u <= 1.5; b 66.7%; n = 3",
        "        yes: b 100.0%; n = 1",
        "        no: b 50.0%; n = 2, 1 below",
    ]


def test_what_is_missing_is_asked_in_words():
    x = np.array([[np.nan], [np.nan], [1], [1]])
    of = DecisionTreeRegressor().fit(x, [0.0, 0, 1, 1]).forest_
    root, yes, no = tree.points(of)
    assert (root["question"], yes["value"], no["value"]) in (("x[0] is known", [1], [0]), ("x[0] is missing", [0], [1]))


def test_the_picture():
    pytest.importorskip("matplotlib")
    data = datasets.load_iris()
    model = DecisionTreeClassifier(max_depth=3).fit(data.data, data.target)
    points = tree.points(model.forest_, names=data.feature_names, classes=data.target_names, impurity=model.impurity_)
    figure = tree.draw(points)
    (axes,) = figure.axes
    boxes = [t for t in axes.texts if t.get_text() not in ("yes", "no")]
    assert len(boxes) == len(points) and len(axes.texts) == 2 * len(points) - 1
    figure.draw_without_rendering()
    frames = [t.get_bbox_patch().get_window_extent() for t in boxes]
    assert not any(a.overlaps(b) for i, a in enumerate(frames) for b in frames[:i])
    page = figure.bbox
    assert all(page.x0 <= f.x0 and f.x1 <= page.x1 and page.y0 <= f.y0 and f.y1 <= page.y1 for f in frames)
    setosa = boxes[1].get_bbox_patch().get_facecolor()
    assert boxes[1].get_text().startswith("setosa 100.0%") and setosa[2] > setosa[0]  # blue


def test_the_picture_of_numbers():
    pytest.importorskip("matplotlib")
    model = DecisionTreeRegressor(max_depth=2).fit(*datasets.load_diabetes(return_X_y=True))
    points = tree.points(model.forest_)
    axes = tree.draw(points).axes[0]
    boxes = [t for t in axes.texts if t.get_text() not in ("yes", "no")]
    red = [box.get_bbox_patch().get_facecolor()[0] for box in boxes]
    assert np.argsort(red).tolist() == np.argsort([-p["value"][0] for p in points]).tolist()  # the greater the darker
