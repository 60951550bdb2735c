"""Reports of a made sweep, by hand: rows, means over seeds with their intervals, filters, tables and the picture."""

import csv
import io
import json

import numpy as np
import pytest

from research import halving, sweep_report, sweep_tables
from research.errors import UserError
from research.figures import sweep as figure

RATE = "optimizer.learning_rate"


@pytest.fixture
def folder(tmp_path):
    """Rates 1e-4, 1e-3, 1e-2 with seeds 0, 1, 2: losses rate * 100 + seed; the last trial is not finished."""
    trials = {}
    for rate in (1e-4, 1e-3, 1e-2):
        for seed in range(3):
            name = f"r={rate},seed={seed}"
            trials[name] = {RATE: rate, "seed": seed}
            config = {"optimizer": {"learning_rate": rate}, "seed": seed, "data": {"name": "x"}}
            (tmp_path / name).mkdir()
            (tmp_path / name / "frozen.json").write_text(json.dumps(config))
            loss = rate * 100 + seed
            lines = [{"step": 1, "loss": 9.0}, {"step": 2, "eval/loss": loss - 0.5}, {"step": 3, "loss": loss}]
            (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
            if name != "r=0.01,seed=2":
                (tmp_path / name / "evaluation.json").write_text(json.dumps({"loss": loss, "accuracy": 1 - rate}))
    sweep_report.record(tmp_path, trials)
    return tmp_path


def test_rows_and_means(folder):
    report = sweep_report.load(folder)
    assert report["metric"] == "loss" and report["fields"] == [RATE, "seed"]
    assert report["best"] == "r=0.0001,seed=0" and len(report["trials"]) == 9
    row = report["trials"][4]
    assert row == {
        **{"trial": "r=0.001,seed=1", "state": "finished", "step": 3, RATE: 1e-3, "seed": 1},
        **{"loss": 1.1, "best": 1.1, "accuracy": 0.999},
    }
    assert report["trials"][8]["state"] == "begun" and "accuracy" not in report["trials"][8]
    first = report["over_seeds"][0]
    assert (first[RATE], first["count"], first["mean"]) == (1e-4, 3, pytest.approx(1.01))
    assert first["interval"] == pytest.approx(4.3026527 / np.sqrt(3), rel=1e-6)  # t of 2 degrees; the deviation is 1
    assert [row[RATE] for row in report["over_seeds"]] == [1e-4, 1e-3, 1e-2]


@pytest.mark.parametrize("distill, last", [([], "round_3"), ([4, 1], "student_1")])
def test_of_rounds_of_reflow_the_last_counts(tmp_path, distill, last):
    for name, loss in {"a": 1.0, "b": 2.0}.items():
        (tmp_path / name / last).mkdir(parents=True)
        (tmp_path / name / "frozen.json").write_text(json.dumps({"reflow": {"rounds": 2, "distill": distill}}))
        for folder, value in ((tmp_path / name, 3 - loss), (tmp_path / name / last, loss)):
            (folder / "metrics.jsonl").write_text(json.dumps({"step": 7, "loss": value}) + "\n")
            (folder / "evaluation.json").write_text(json.dumps({"loss": value}))
    (tmp_path / "b" / last / "evaluation.json").unlink()
    sweep_report.record(tmp_path, {name: {"reflow.rounds": 2} for name in "ab"})
    report = sweep_report.load(tmp_path)
    assert [(row["loss"], row["state"]) for row in report["trials"]] == [(1.0, "finished"), (2.0, "begun")]
    tables = sweep_tables.write(tmp_path)
    assert [row["value"] for row in tables["metrics"].to_pylist()] == [1.0, 2.0]
    assert tables["trials"].to_pylist()[0]["loss"] == 1.0


def test_rows_come_in_the_order_of_their_values(tmp_path):
    values = {"a": 10, "b": 9.0, "c": "adam", "d": True, "e": 1e-4}
    for name in values:
        (tmp_path / name).mkdir()
        (tmp_path / name / "frozen.json").write_text("{}")
    sweep_report.record(tmp_path, {name: {"x": value} for name, value in values.items()})
    assert [row["trial"] for row in sweep_report.load(tmp_path)["trials"]] == ["e", "b", "a", "d", "c"]


def test_the_best_of_a_metric_along_the_run(folder):
    report = sweep_report.load(folder, "eval/loss")
    assert report["trials"][0]["eval/loss"] == pytest.approx(-0.49)
    high = sweep_report.load(folder, "accuracy")
    assert high["best"] == "r=0.0001,seed=0" and high["over_seeds"][0][RATE] == 1e-4
    with pytest.raises(UserError, match="no trial has the metric 'los'; did you mean 'loss'"):
        sweep_report.load(folder, "los")


@pytest.mark.parametrize(
    "where, count",
    [
        ([f"{RATE}>1e-4"], 6),
        ([f"{RATE} >= 1e-3", "seed=0"], 2),
        (["data.name==x", "seed != 1"], 6),
        (["data.name=y", "seed=1"], 0),
        (["loss<1"], 2),
    ],
)
def test_filters(folder, where, count):
    if count:
        assert len(sweep_report.load(folder, where=where)["trials"]) == count
    else:
        with pytest.raises(UserError, match="no trial of .* fulfils data.name=y and seed=1"):
            sweep_report.load(folder, where=where)


def test_mistakes(folder, tmp_path):
    with pytest.raises(UserError, match="--where=seed~1 is no condition"):
        sweep_report.load(folder, where=["seed~1"])
    with pytest.raises(UserError, match="no trial has 'optimizer.rate'"):
        sweep_report.load(folder, where=["optimizer.rate>1"])
    with pytest.raises(UserError, match="holds no sweep"):
        sweep_report.load(folder / "r=0.01,seed=2")


def test_what_was_stopped_says_so(folder):
    halving.decide(folder, ["r=0.01,seed=2", "r=0.001,seed=0"], "eval/loss", 2)
    assert sweep_report.load(folder)["trials"][8]["state"] == "stopped at 2"


def test_tables(folder):
    report = sweep_report.load(folder)
    lines = sweep_report.text(report).splitlines()
    assert lines[0].split() == ["trial", "state", "step", RATE, "seed", "loss", "best", "accuracy"]
    assert lines[1].split() == ["r=0.0001,seed=0", "finished", "3", "0.0001", "0", "0.01", "0.01", "0.9999"]
    assert lines[-1] == "best loss: r=0.0001,seed=0" and "loss over seeds, 95 % t intervals:" in lines
    rows = list(csv.DictReader(io.StringIO(sweep_report.as_csv(report))))
    assert len(rows) == 9 and float(rows[8]["loss"]) == 3.0 and rows[8]["accuracy"] == ""
    assert json.loads(json.dumps(report)) == report


def test_a_second_sweep_in_the_folder_is_added(folder):
    sweep_report.record(folder, {"seed=9": {"seed": 9}})
    report = sweep_report.load(folder)
    assert len(report["trials"]) == 10 and report["trials"][9]["state"] == "to do"


def test_the_picture_shows_the_means(folder):
    points = figure.load(sweep_report.load(folder), RATE)
    assert points["lines"][""]["x"] == [1e-4, 1e-3, 1e-2] and len(points["trials"]["x"]) == 9
    axis = figure.draw(points).axes[0]
    assert axis.get_xscale() == "log" and axis.get_xlabel() == RATE and axis.get_ylabel() == "loss"
    line = next(line for line in axis.get_lines() if line.get_linestyle() == "-")
    np.testing.assert_allclose(line.get_ydata(orig=False), points["lines"][""]["mean"])
    with pytest.raises(UserError, match="the sweep does not vary 'data.name'"):
        figure.load(sweep_report.load(folder), "data.name")
