"""Gradient boosting's figure: errors by trees are those of shorter fits, and rows that tell what was bent."""

import json

import numpy as np
import pytest

from research.data import friedman
from research.figures.papers import gbdt as item
from research.reproduce import records, verdict
from research.trees import prediction
from research.trees.estimators import GradientBoostingRegressor


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(item, "SEEDS", 2)
    monkeypatch.setattr(item, "EVERY", 2)
    monkeypatch.setattr(item, "DEPTH", 1)
    monkeypatch.setattr(item, "ROWS", 60)


def test_tables_differ_by_seed_and_have_noise_of_variance_one():
    (x, y), (test, truth) = friedman.tables(0, item.ROWS)
    assert x.shape == test.shape == (60, 10) and y.shape == truth.shape == (60,)
    assert not np.array_equal(y, friedman.tables(1, item.ROWS)[0][1]) and not np.array_equal(x, test)


def test_errors_by_trees_are_those_of_shorter_fits():
    found = item.shrunk(0.5, trees=6)
    assert np.shape(found) == (2, 3)
    train, (x, y) = friedman.tables(1, item.ROWS)
    model = GradientBoostingRegressor(n_estimators=6, max_depth=1, learning_rate=0.5).fit(*train)
    said = prediction.predict_raw(model.ensemble_, x, 4)[:, 0]
    assert found[1][1] == pytest.approx(((said - y) ** 2).mean(), abs=1e-3)


def test_a_share_of_the_rows_changes_the_trees():
    assert item.shrunk(0.5, 0.5, trees=6) != item.shrunk(0.5, trees=6)


def test_no_wrong_targets_are_the_plain_fit_and_wrong_ones_cost_squares_most():
    train, (x, y) = friedman.tables(0, item.ROWS)
    plain = GradientBoostingRegressor(n_estimators=6, max_depth=1).fit(*train)
    assert item.spoilt("squared", 0.0, 0, trees=6) == pytest.approx(((plain.predict(x) - y) ** 2).mean(), rel=1e-4)
    squared, robust = (item.spoilt(loss, 0.3, 0, trees=6) for loss in ("squared", "huber:delta=2"))
    assert squared > robust


def test_hubers_loss_of_a_wide_delta_is_the_squared_one():
    squared, huber = (item.spoilt(loss, 0.0, 0, trees=6) for loss in ("squared", "huber:delta=1000"))
    assert huber == pytest.approx(squared, rel=1e-3)


def test_scale_full_reads_curves_of_runs(tmp_path, monkeypatch):
    lines = [{"step": 1, "trees": 10, "loss": 2.0}, {"step": 1, "eval/mse": 4.0}, {"step": 2, "eval/mse": 3.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setattr(item, "shrunk", lambda *args: [[1.0]])
    monkeypatch.setattr(item, "spoilt", lambda *args: 1.0)
    found = item.load({"rate 1": tmp_path}, "full")
    assert found["runs"] == {"rate 1": {"trees": [10, 20], "value": [4.0, 3.0]}} and len(found["rates"]) == 6
    assert np.shape(found["losses"]["squared"]) == (4, 2)
    full = item.runs("full")
    assert [run.changes["model.learning_rate"] for run in full.values()] == list(item.RATES) and item.runs(
        "smoke"
    ) == {}


def made():
    """Points as they should be: of smaller rates a lower error, with more trees."""
    trees = [10, 20, 30, 40, 50, 60]
    curves = {}
    for i, rate in enumerate(item.RATES):
        curve = [3.0 - 0.2 * i + 0.1 * abs(place - i) for place in range(6)]
        curves[f"rate {rate:g}"] = [curve, [value + 0.01 for value in curve]]
    curves["rate 0.1, 0.5 of the rows a tree"] = [[2.0] * 6, [2.02] * 6]
    losses = {
        "squared": [[3, 3.1], [6, 6], [9, 9], [12, 12]],
        "absolute": [[3.5, 3.5]] * 4,
        "huber:delta=2": [[3.1, 3.1]] * 4,
    }
    return records.plain({"trees": trees, "rates": curves, "losses": losses, "runs": {}})


def test_rows_of_good_points():
    found = item.rows(made())
    assert len(found) == 6 and {row["verdict"] for row in found} == {verdict.TREND}
    assert found[0]["ours"] == pytest.approx(0.8) and found[1]["ours"] == "10, 20, 30, 40, 50"
    assert found[2]["ours"] == pytest.approx((2.0 + 2.02 - 2.4 - 2.41) / 2) and found[3]["seeds"] == 2


@pytest.mark.parametrize(
    ("bend", "row"),
    [
        (lambda p: p["rates"]["rate 1"].__setitem__(1, [1.0] * 6), 0),
        (lambda p: p["rates"].update({"rate 0.25": [[1, 9, 9, 9, 9, 9]] * 2}), 1),
        (lambda p: p["rates"].update({"rate 0.1, 0.5 of the rows a tree": [[4.0] * 6] * 2}), 2),
        (lambda p: p["losses"]["absolute"].__setitem__(3, [11.0, 3.0]), 3),
        (lambda p: p["losses"]["huber:delta=2"].__setitem__(3, [11.0, 3.0]), 4),
        (lambda p: p["losses"]["huber:delta=2"].__setitem__(0, [4.0, 4.0]), 5),
    ],
)
def test_a_bent_point_flips_its_row(bend, row):
    points = made()
    bend(points)
    assert item.rows(points)[row]["verdict"] == verdict.DIFFERS


@pytest.mark.parametrize("runs", [{}, {"rate 1": {"trees": [10, 20], "value": [2.0, 1.0]}}])
def test_all_axes_have_labels(runs):
    pytest.importorskip("matplotlib")
    figure = item.draw(made() | {"runs": runs})
    assert len(figure.axes) == 2 + bool(runs)
    assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_legend() for axis in figure.axes)
