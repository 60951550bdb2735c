"""AdaBoost's figure: the textbook's weights of points in fractions, and rows that tell what was bent."""

import json

import numpy as np
import pytest

from research.figures.papers import adaboost as item
from research.reproduce import records, verdict
from research.trees.estimators import AdaBoostClassifier

X, Y = np.arange(10.0)[:, None], np.array([1, 1, 1, 0, 0, 0, 1, 1, 1, 0])


def test_weights_of_the_textbooks_points():
    """After the first stage the three wrong ones weigh 1/6 and others 1/14; after the second 1/6, 1/22 and 1/11 ..."""
    model = AdaBoostClassifier(n_estimators=3).fit(X, Y)
    w = item.weights(model, X, Y)
    np.testing.assert_allclose(w[0], 0.1)
    wrong = np.array([6, 7, 8])  # by the first split, at 2.5
    np.testing.assert_allclose(w[1], np.where(np.isin(np.arange(10), wrong), 1 / 6, 1 / 14), rtol=1e-5)
    third = [1 / 22] * 3 + [1 / 6] * 3 + [7 / 66] * 3 + [1 / 22]  # the second, at 8.5, is wrong of 3, 4 and 5
    np.testing.assert_allclose(w[2], third, rtol=1e-5)
    np.testing.assert_allclose(
        [w[t][model_wrong].sum() for t, model_wrong in enumerate(([6, 7, 8], [3, 4, 5]))], item.ERRORS[:2], rtol=1e-5
    )
    assert w.shape == (4, 10)
    np.testing.assert_allclose(w.sum(axis=1), 1)


def test_each_new_weight_makes_the_last_stage_a_coin():
    """A stage errs on half of the weight that it leaves behind."""
    rng = np.random.default_rng(0)
    x = rng.random((80, 3))
    y = (x[:, 0] + x[:, 1] + 0.3 * rng.normal(size=80) > 1).astype(int)
    model = AdaBoostClassifier(n_estimators=6).fit(x, y)
    w, scores = item.weights(model, x, y), [np.zeros(80), *model.staged_decision_function(x)]
    totals = np.cumsum([0, *model.estimator_weights_])
    for t in range(6):
        said = totals[t + 1] * scores[t + 1] - totals[t] * scores[t]
        assert w[t + 1][(said > 0) != y].sum() == pytest.approx(0.5, abs=1e-3)
        assert w[t][(said > 0) != y].sum() == pytest.approx(model.estimator_errors_[t], abs=1e-3)


@pytest.mark.parametrize(("w", "number"), [([0.1] * 10, 5), ([0.7, 0.1, 0.1, 0.1], 1), ([0.3, 0.3, 0.2, 0.2], 2)])
def test_carriers(w, number):
    assert item.carriers(w) == number


def test_curves_of_few_stages():
    found = item.curves(0, stages=4, rows=300, shown=(2, 4))
    assert {len(found[name]) for name in ("train", "held_out", "bound", "least")} == {4}
    assert (found["train"] <= found["bound"]).all() and list(found["margins"]) == [2, 4]
    last = found["margins"][4]
    assert len(last) == 201 and (np.diff(last) >= 0).all() and last[0] == pytest.approx(found["least"][-1], abs=1e-3)
    assert (np.array(last) <= 0).mean() == pytest.approx(found["train"][-1], abs=0.01)


def test_moons_of_few_rounds():
    found = item.moons(rows=80, rounds=(1, 3))
    assert list(found["weight"]) == [1, 3] and np.shape(found["x"]) == (80, 2)
    np.testing.assert_allclose(found["weight"][1], 1 / 80, atol=1e-6)
    assert np.sum(found["weight"][3]) == pytest.approx(1, abs=1e-4) and np.ptp(found["weight"][3]) > 0
    assert 0 < np.sum(found["flipped"]) < 20


def test_scale_full_reads_errors_and_bounds_of_a_run(tmp_path, monkeypatch):
    lines = [
        {"step": 1, "train_error": 0.2, "bound": 0.9},
        {"step": 1, "eval/loss": 0.3},
        {"step": 2, "train_error": 0.1, "bound": 0.8},
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setattr(item, "curves", lambda seed: seed)
    monkeypatch.setattr(item, "moons", dict)
    found = item.load({"adult": tmp_path}, "full")
    assert found["runs"] == [{"train": [0.2, 0.1], "bound": [0.9, 0.8]}] and found["digits"] == [0, 1, 2]
    np.testing.assert_allclose(found["ten"]["weights"][2], np.log(4.5) / 2, rtol=1e-6)
    assert list(item.runs("full")) == ["adult"] and item.runs("smoke") == {}


def made():
    """Points as they should be; no training row is wrong from the third stage on."""
    one = {"train": [0.2, 0.1, 0, 0, 0], "bound": [0.9, 0.7, 0.5, 0.4, 0.3], "held_out": [0.3, 0.25, 0.2, 0.18, 0.15]}
    one |= {
        "least": [-0.2, -0.1, 0.01, 0.05, 0.1],
        "margins": {"5": np.linspace(-0.1, 0.5, 201), "30": np.linspace(0, 0.6, 201)},
    }
    w = np.array([[0.1] * 10, [0.3, 0.3] + [0.05] * 8, [0.55] + [0.05] * 9])
    moons = {"x": np.random.default_rng(0).normal(size=(10, 2)), "y": [0, 1] * 5, "flipped": [1] + [0] * 9}
    moons["weight"] = dict(zip(("1", "10", "100"), w))
    weights = [np.log((1 - e) / e) / 2 for e in item.ERRORS]
    points = {"ten": {"weights": weights, "wrong": 0}, "digits": [one, one], "moons": moons, "runs": []}
    return records.plain(points)


def test_rows_of_good_points():
    found = item.rows(made())
    assert [row["verdict"] for row in found] == [verdict.REPRODUCED] * 5 + [verdict.TREND] * 3
    assert found[2]["paper"] == pytest.approx(0.7520387, abs=1e-7)  # ln(4.5) / 2
    assert found[5]["ours"] == pytest.approx(-0.05) and found[6]["ours"] == pytest.approx(0.09)
    assert found[7]["ours"].startswith("5, 2, 1 of 10")


@pytest.mark.parametrize(
    ("bend", "row"),
    [
        (lambda p: p["ten"]["weights"].__setitem__(2, 0.7514), 2),  # what the book prints
        (lambda p: p["ten"].update(wrong=1), 3),
        (lambda p: p["digits"][1].update(train=[0.2, 0.8, 0, 0, 0]), 4),
        (lambda p: p.update(runs=[{"train": [0.5], "bound": [0.4]}]), 4),
        (lambda p: p["digits"][0].update(held_out=[0.3, 0.2, 0.1, 0.1, 0.12]), 5),
        (lambda p: p["digits"][0].update(train=[0.2] * 5), 6),
        (lambda p: p["moons"].update(flipped=[0] * 10), 7),
    ],
)
def test_a_bent_point_flips_its_row(bend, row):
    points = made()
    bend(points)
    assert item.rows(points)[row]["verdict"] == verdict.DIFFERS


def test_all_axes_have_labels():
    pytest.importorskip("matplotlib")
    figure = item.draw(made())
    assert len(figure.axes) == 6
    assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_legend() for axis in figure.axes)
