"""XGBoost's figure: leaves of equation 5, gains of equation 7, sides of missing values, and what rows say."""

import json

import numpy as np
import pytest

from research.figures.papers import xgboost as item
from research.reproduce import records, verdict

RNG = np.random.default_rng(0)
X = RNG.random((90, 2)).astype(np.float32)
Y = (3 * (X[:, 0] > 0.5) + RNG.normal(size=90)).astype(np.float32)


@pytest.fixture(scope="module")
def grow():
    return item.grower(X, Y, depth=1)


@pytest.mark.parametrize(("l2", "l1"), [(0.0, 0.0), (5.0, 0.0), (0.0, 4.0), (7.0, 3.0)])
def test_leaves_are_those_of_equation_5(grow, l2, l1):
    """w = -sign(G) max(|G| - alpha, 0) / (H + lambda), of squared errors G = sum (mean - y), H the number of rows."""
    tree = grow(l2, l1, 0.0)
    cover, leaves = (np.asarray(a).ravel() for a in (tree.cover, tree.leaves))
    order = np.argsort(X[:, int(tree.feature[0, 0, 0])])
    left = int(cover[1])
    for place, rows in ((1, order[:left]), (2, order[left:])):
        G = (Y.mean() - Y[rows]).sum()
        assert leaves[place] == pytest.approx(-np.sign(G) * max(abs(G) - l1, 0) / (len(rows) + l2), rel=1e-4)


def test_a_gain_below_gamma_is_no_split(grow):
    """The gain is sum G^2 / H of the children less that of the root, which is 0 here, without its half."""
    tree = grow(0.0, 0.0, 0.0)
    G = np.asarray(tree.cover).ravel()[1:] * np.asarray(tree.leaves).ravel()[1:]
    gain = float((G**2 / np.asarray(tree.cover).ravel()[1:]).sum())
    assert float(tree.gain[0, 0, 0]) == pytest.approx(gain, rel=1e-4)
    for gamma, splits in ((0.99 * gain, True), (1.01 * gain, False)):
        assert (int(grow(0.0, 0.0, gamma).feature[0, 0, 0]) >= 0) == splits


def test_paths_shrink(grow):
    for place, what in ((0, "weights"), (1, "weights"), (2, "leaves")):
        found = item.path(grow, place, (0.0, 10.0, 1e6))
        assert found["leaves"][0] == 2 and (np.diff(found[what]) < 0).any() and (np.diff(found[what]) <= 0).all()
    assert found["leaves"][-1] == 1 and found["weights"][-1] == pytest.approx(0, abs=1e-6)


def test_what_is_missing_is_large_in_two_columns_and_small_in_the_others():
    x, y = item.hidden(0, 20000)
    missing = np.isnan(x)
    assert missing.mean(axis=0) == pytest.approx(0.2, abs=0.02) and set(y) == {0, 1}
    up = [y[missing[:, f]].mean() - y.mean() for f in range(4)]
    assert min(up[:2]) > 0.1 and max(up[2:]) < -0.1
    assert np.nanmin(x) >= 0 and np.nanmax(x) <= 1


def test_sides_that_are_learned_are_the_true_ones(monkeypatch):
    whole = item.hidden
    monkeypatch.setattr(item, "hidden", lambda seed: whole(seed, 400))
    losses, share = item.sided("learn", 0, trees=4)
    assert len(losses) == 4 and losses[-1] < losses[0] < np.log(2)
    assert min(share["x1"], share["x2"]) > 0.5 > max(share["x3"], share["x4"])
    for side, right in (("min", 0.0), ("max", 1.0)):
        assert item.sided(side, 0, trees=4)[1] == dict.fromkeys(share, right)


@pytest.mark.parametrize("name", item.METHODS)
def test_rounds_of_all_methods_rank_better_than_chance(name):
    found = item.rounds(item.METHODS[name] | {"max_depth": 2}, 0, size=120, trees=3)
    assert len(found) == 3 and 0.6 < found[-1] < 1


def test_scale_full_reads_curves_of_runs(tmp_path, monkeypatch):
    lines = [{"step": 1, "trees": 10, "loss": 2.0}, {"step": 1, "eval/loss": 0.4}, {"step": 2, "eval/loss": 0.3}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for name, value in (("sided", ([0.5], {})), ("rounds", [0.9]), ("path", {}), ("grower", None)):
        monkeypatch.setattr(item, name, lambda *args, value=value: value)
    found = item.load({"learn": tmp_path}, "full")
    assert (
        found["runs"] == {"learn": {"trees": [10, 20], "value": [0.4, 0.3]}} and found["missing"]["min"] == [[0.5]] * 3
    )
    assert {run.changes["model.missing"] for run in item.runs("full").values()} == set(item.SIDES) and not item.runs(
        "smoke"
    )


def made():
    """Points as they should be."""
    missing = {side: [[0.6, last], [0.6, last + 0.01]] for side, last in zip(item.SIDES, (0.3, 0.35, 0.34))}
    down = np.linspace(9, 1, len(item.SIZES))
    paths = {name: {"leaves": down, "weights": down / 10} for name in item.PENALTIES}
    auc = {name: [[0.8, last], [0.8, last]] for name, last in zip(item.METHODS, (0.97, 0.95, 0.968, 0.969))}
    right = {"x1": 1.0, "x2": 0.95, "x3": 0.05, "x4": 0.0}
    return records.plain({"missing": missing, "right": right, "paths": paths, "auc": auc, "runs": {}})


def test_rows_of_good_points():
    found = item.rows(made())
    assert len(found) == 8 and {row["verdict"] for row in found} == {verdict.TREND}
    assert found[0]["ours"] == pytest.approx(0.04) and found[5]["ours"] == pytest.approx(0.018)


@pytest.mark.parametrize(
    ("bend", "row"),
    [
        (lambda p: p["missing"]["max"].__setitem__(1, [0.6, 0.2]), 0),
        (lambda p: p["right"].update(x3=0.5), 1),
        (lambda p: p["right"].update(x1=0.5), 1),
        (lambda p: p["paths"]["lambda"]["weights"].__setitem__(3, 2.0), 2),
        (lambda p: p["paths"]["alpha"]["weights"].__setitem__(3, 2.0), 3),
        (lambda p: p["paths"]["gamma"]["leaves"].__setitem__(3, 20), 4),
        (lambda p: p["auc"]["global, 3 buckets"].__setitem__(0, [0.8, 0.969]), 5),
        (lambda p: p["auc"].update({"local, 3 buckets": [[0.8, 0.96]] * 2}), 6),
        (lambda p: p["auc"].update({"global, 20 buckets": [[0.8, 0.96]] * 2}), 7),
    ],
)
def test_a_bent_point_flips_its_row(bend, row):
    points = made()
    bend(points)
    assert item.rows(points)[row]["verdict"] == verdict.DIFFERS


@pytest.mark.parametrize("runs", [{}, {"learn": {"trees": [10, 20], "value": [0.4, 0.3]}}])
def test_all_axes_have_labels(runs):
    pytest.importorskip("matplotlib")
    figure = item.draw(made() | {"runs": runs})
    assert len(figure.axes) == 4
    assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_legend() for axis in figure.axes)
