"""Forests and boundaries of small settings, the noise that is known, and what the rows say."""

import numpy as np
import pytest
from sklearn import ensemble, tree

from research.data import friedman
from research.figures.papers import cart_forest as item
from research.reproduce import records, verdict


def test_the_truth_leaves_noise_of_variance_one():
    (x, y), _ = friedman.tables(3, 20000)
    rest = y - friedman.truth(x)
    assert rest.var() == pytest.approx(1, abs=0.04) and abs(rest.mean()) < 0.03
    assert abs(np.corrcoef(rest, x[:, 3])[0, 1]) < 0.03


def test_forests_of_a_small_setting():
    found = item.forests(3, sets=4, rows=50, trees=20, test=300)
    assert {len(found[name]) for name in ("oob", "test", "bias2", "variance")} == {20}
    assert found["variance"][-1] < found["variance"][0] and 0 < found["correlation"] < 1
    left = found["test"] - found["bias2"] - found["variance"]
    np.testing.assert_allclose(left, 1, atol=0.5)  # the noise's variance
    assert found["each"]["test"].mean() == pytest.approx(found["test"][-1], abs=1e-3)


def test_labels_in_the_plane_are_turned_round():
    given = item.toy2d.load(item.types.SimpleNamespace(name="two_moons", size=5000, seed=0)).train
    x, y = item.flipped(given, 5000)
    assert x.shape == (5000, 2) and set(y) == {0, 1}
    wrong = (y != given.gather(np.arange(5000))["condition"]).mean()
    assert wrong == pytest.approx(item.FLIPPED, abs=0.02)


def test_the_plane_says_what_classifiers_say(monkeypatch):
    """scikit-learn's stand in for ours, which compile."""
    monkeypatch.setattr(item, "DecisionTreeClassifier", tree.DecisionTreeClassifier)
    monkeypatch.setattr(item, "RandomForestClassifier", ensemble.RandomForestClassifier)
    found = item.plane(rows=60, trees=4, size=5)
    assert list(found["p"]) == list(found["error"]) and len(found["p"]) == 4
    p = np.array([*found["p"].values()])
    assert p.shape == (4, 5, 5) and p.min() >= 0 and p.max() <= 1 and "probability" not in found
    pure = found["p"]["CART, pure leaves"]
    assert set(np.unique(pure)) == {0, 1} and min(found["error"].values()) > item.FLIPPED / 2


def made():
    """Points as they should be: ten trees, the noise's variance 1, k of 1 and 4."""
    trees = np.arange(1, 11)

    def forest(rho):
        variance = 8 * (rho + (1 - rho) / trees)
        curves = {"bias2": np.full(10, 2.0), "variance": variance, "test": 3 + variance, "oob": 3.1 + variance}
        each = {name: np.full(4, curves[name][-1]) for name in ("oob", "test")}
        return curves | {"correlation": rho, "each": each}

    names = ("CART, depth 2", "CART, pure leaves", "forest of 100")
    plane = {"x": [[0, 0], [1, 1]], "label": [0, 1], "extent": [0, 1, 0, 1]}
    plane |= {"p": {name: [[0.0, 0.2], [0.8, 1.0]] for name in names}, "error": dict(zip(names, (0.2, 0.19, 0.12)))}
    return records.plain({"plane": plane, "tried": {"1": forest(0.2), "4": forest(0.3)}})


def test_rows_of_good_points():
    found = item.rows(made())
    verdicts = [verdict.TREND] * 2 + [verdict.REPRODUCED] + [verdict.TREND] * 2
    assert [row["verdict"] for row in found] == verdicts
    assert found[0]["ours"] == pytest.approx(0.07) and found[2]["ours"] == pytest.approx(1)
    assert found[1]["ours"] == pytest.approx((3.1 + 8 * 0.37) / (3 + 8 * 0.37)) and found[1]["seeds"] == 4


@pytest.mark.parametrize(
    ("bend", "row"),
    [
        (lambda p: p["plane"]["error"].update({"forest of 100": 0.3}), 0),
        (lambda p: p["tried"]["4"]["each"].update(oob=[9.0] * 4), 1),
        (lambda p: p["tried"]["4"].update(test=[9.0] * 10), 2),
        (lambda p: p["tried"]["4"].update(variance=[5.0] * 10), 3),
        (lambda p: p["tried"]["4"].update(bias2=[2.0] * 9 + [4.0]), 3),
        (lambda p: p["tried"]["4"].update(correlation=0.1), 4),
    ],
)
def test_a_bent_point_flips_its_row(bend, row):
    points = made()
    bend(points)
    assert item.rows(points)[row]["verdict"] == verdict.DIFFERS


def test_all_axes_have_labels():
    pytest.importorskip("matplotlib")
    figure = item.draw(made())
    shown = [axis for axis in figure.axes if axis.has_data()]
    assert len(shown) == 7 and all(axis.get_xlabel() and axis.get_ylabel() for axis in shown)
    assert [axis.get_title() for axis in shown[:3]] == [
        f"{name}: error {e:.3f}" for name, e in made()["plane"]["error"].items()
    ]
