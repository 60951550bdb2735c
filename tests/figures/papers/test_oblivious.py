"""CatBoost's figure: the paper's leak is exact, probabilities are known, and rows that tell what was bent."""

import json

import numpy as np
import pytest
from sklearn.metrics import log_loss

from research.figures.papers import oblivious as item
from research.reproduce import records, verdict


def test_the_papers_leak_is_exact():
    assert item.leak(100) == [1.0, 0.5]


def test_true_probabilities_are_those_of_the_labels():
    """No other probabilities have a lower log-loss, up to chance, and it is their mean entropy."""
    (x, y), (test, truth), p = item.categories(0, rows=20000)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()
    assert log_loss(truth, p) == pytest.approx(entropy, abs=0.01)
    assert log_loss(truth, p**0.8) > log_loss(truth, p) < log_loss(truth, p**1.2)
    assert x.shape == test.shape == (20000, 3) and y.mean() == pytest.approx(p.mean(), abs=0.02)
    assert [len(np.unique(x[:, f])) for f in (1, 2)] == list(item.LEVELS)


def test_categories_of_the_second_column_say_nothing():
    (x, y), _, _ = item.categories(1, rows=20000, levels=(50, 50))
    spread = [np.var([y[x[:, f] == level].mean() for level in range(50)]) for f in (1, 2)]
    assert spread[1] == pytest.approx(0.25 / 400, rel=0.6) and spread[0] > 20 * spread[1]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(item, "EVERY", 5)
    return item.categories(0, rows=400, levels=(30, 200))


def test_codings_of_few_rows(small):
    found = {name: item.coded(name, *small[:2], 0, trees=10) for name in item.WORDS}
    assert all(np.shape(of[part]) == (2,) for of in found.values() for part in ("train", "test"))
    assert all(of["train"][-1] < np.log(2) for of in found.values())
    gap = {name: of["test"][-1] - of["train"][-1] for name, of in found.items()}
    assert gap["greedy"] > gap["ordered"] + 0.1  # it has seen its own labels


def test_ordered_statistics_depend_on_the_order_and_greedy_ones_do_not(small):
    for name, same in (("ordered", False), ("greedy", True)):
        one, other = (item.coded(name, *small[:2], seed, trees=10) for seed in (0, 1))
        assert (one["train"][-1] == other["train"][-1]) == same


@pytest.mark.parametrize("kind", ["oblivious", "level by level"])
def test_shapes_of_few_rows(monkeypatch, kind):
    for name, value in (("SEEDS", 1), ("SIZE", 100), ("TREES", 10), ("DEPTH", 3)):
        monkeypatch.setattr(item, name, value)
    found = item.shaped(kind)
    assert np.shape(found["error"]) == (1, 2) and found["error"][0][1] < found["error"][0][0] < 30
    assert found["fit"] > 0 and found["predict"] > 0


def test_scale_full_reads_curves_of_runs(tmp_path, monkeypatch):
    lines = [{"step": 1, "trees": 10, "loss": 2.0}, {"step": 1, "eval/loss": 0.4}, {"step": 2, "eval/loss": 0.3}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setattr(item, "shaped", str)
    monkeypatch.setattr(item, "leak", list)
    monkeypatch.setattr(item, "categories", lambda seed: (None, (None, np.array([1, 0])), np.array([0.5, 0.5])))
    monkeypatch.setattr(item, "coded", lambda *args: {"train": [0.1], "test": [0.2]})
    found = item.load({"ordered statistics": tmp_path}, "full")
    assert found["runs"] == {"ordered statistics": {"trees": [10, 20], "value": [0.4, 0.3]}}
    assert found["least"] == pytest.approx([np.log(2)] * 3) and found["codings"]["greedy"]["test"] == [[0.2]] * 3
    assert list(item.runs("full")) == list(item.RUNS) and item.runs("smoke") == {}


def made():
    """Points as they should be, of two tables."""

    def curve(last, trees=item.ROUNDS):
        return [np.linspace(0.7, last, trees // item.EVERY).tolist()] * 2

    codings = {
        name: {"train": curve(a), "test": curve(b)} for name, a, b in zip(item.WORDS, (0.45, 0.1, 0.4), (0.5, 0.6, 0.6))
    }
    shapes = {"oblivious": {"error": curve(0.3, item.TREES), "fit": 0.4, "predict": 0.1}}
    shapes["level by level"] = {"error": curve(0.31, item.TREES), "fit": 0.8, "predict": 0.2}
    return records.plain({"shapes": shapes, "codings": codings, "least": [0.45] * 2, "leak": [1.0, 0.5], "runs": {}})


def test_rows_of_good_points():
    found = item.rows(made())
    assert [row["verdict"] for row in found] == [verdict.REPRODUCED] * 2 + [verdict.TREND] * 5
    assert (
        found[2]["ours"] == pytest.approx(0.1) and found[6]["ours"] == 0.5 and found[4]["ours"] == pytest.approx(0.45)
    )


@pytest.mark.parametrize(
    ("bend", "row"),
    [
        (lambda p: p.update(leak=[1.0, 0.6]), 1),
        (lambda p: p.update(leak=[0.9, 0.5]), 0),
        (lambda p: p["codings"]["greedy"]["test"].__setitem__(1, [0.4] * 20), 2),
        (lambda p: p["codings"]["codes"]["test"].__setitem__(1, [0.4] * 20), 3),
        (lambda p: p["codings"]["greedy"].update(train=[[0.58] * 20] * 2), 4),
        (lambda p: p["shapes"]["oblivious"].update(error=[[0.4] * 40] * 2), 5),
        (lambda p: p["shapes"]["oblivious"].update(predict=0.9), 6),
        (lambda p: p.update(runs={"ordered statistics": {"trees": [10], "value": [0.2768]}}), 7),
    ],
)
def test_a_bent_point_flips_its_row(bend, row):
    points = made()
    bend(points)
    assert item.rows(points)[row]["verdict"] == verdict.DIFFERS


@pytest.mark.parametrize("runs", [{}, {"ordered statistics": {"trees": [10, 20], "value": [0.3, 0.27]}}])
def test_all_axes_have_labels(runs):
    pytest.importorskip("matplotlib")
    figure = item.draw(made() | {"runs": runs})
    assert len(figure.axes) == 2 + bool(runs)
    assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_legend() for axis in figure.axes)
