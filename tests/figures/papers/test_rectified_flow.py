"""Rounds of reflow as an item, from tables written by hand: what is read, what rows say, what is drawn."""

import copy
import json

import pytest

from launch import figures
from research import reproduce
from research.figures import trajectories
from research.figures.papers import rectified_flow
from research.reproduce import records, verdict

LINES = [[[0, 0], [2, 2]], [[2, 0], [0, 2]]]


def table(nfe, distances):
    """A few-step table of {steps: distance}, as few_steps.load has it."""
    floor = {"sliced_wasserstein/floor": 0.02, "frechet/floor": 0.01}
    return {
        k: {"nfe": nfe.get(k) or float(k), "sliced_wasserstein/ours": x, "frechet/ours": 10 * x} | floor
        for k, x in distances.items()
    }


def moved(straightness, cost):
    costs = {"cost_1": cost, "cost_2": cost**2, "independent_1": 2.0, "independent_2": 4.0}
    return {"straightness": straightness, "times": [1.0, 0.5, 0.0], "curve": [straightness] * 3} | costs


@pytest.fixture
def points():
    """Two rounds and a student: 1.0 straightens to 0.01, one step goes from 1.2 to 0.03, costs fall from 2 to 1.5."""
    many = {"1": 1.2, "2": 0.8, "4": 0.4, "8": 0.2, "16": 0.1, "adaptive": 0.03}
    few = {"1": 0.03, "2": 0.03, "4": 0.03, "8": 0.03, "16": 0.03, "adaptive": 0.03}
    run = {"pairs": 1, "detour": 0.2, "lines": LINES, "paths": LINES}
    return {
        "runs": {
            "round_1": {"rows": table({"adaptive": 60.0}, many)} | moved(1.0, 1.5),
            "round_2": {"rows": table({"adaptive": 20.0}, few)} | moved(0.01, 1.5),
            "student_1": {"rows": table({}, {"1": 0.03, "2": 0.5})},
        },
        "plane": {"round_1": run | {"crossings": 40}, "round_2": run | {"crossings": 1}},
    }


def test_a_fid_is_the_papers_measure_and_another_distance_is_not(points):
    points["plane"] = None
    assert [row["verdict"] for row in rectified_flow.rows(points)[4:]] == [verdict.METRIC] * 4
    points["runs"]["round_1"]["rows"]["adaptive"]["fid/ours"] = 2.6
    points["runs"]["student_1"]["rows"]["1"]["fid/ours"] = 6.0
    rows = rectified_flow.rows(points)[4:]
    assert [row["verdict"] for row in rows] == [verdict.METRIC] * 2 + [verdict.DIFFERS, verdict.REPRODUCED]
    assert [row["ours"] for row in rows[2:]] == [6.0, 2.6]


def test_claims_that_hold(points):
    rows = rectified_flow.rows(points)
    assert {row["verdict"] for row in rows} == {verdict.TREND}
    assert [row["ours"] for row in rows] == pytest.approx([0.01, 0.03 / 1.2, 0.03 / 0.4, 1.0, 1 / 40])


@pytest.mark.parametrize(
    ("which", "bend"),
    [
        ([0], lambda p: p["runs"]["round_2"].update(straightness=0.5)),
        ([1], lambda p: p["runs"]["round_2"]["rows"]["1"].update({"sliced_wasserstein/ours": 0.5})),
        ([1, 2], lambda p: p["runs"]["round_2"]["rows"]["1"].update({"sliced_wasserstein/ours": 1.5})),
        ([2], lambda p: p["runs"]["round_2"]["rows"]["4"].update({"sliced_wasserstein/ours": 0.41})),
        ([3], lambda p: p["runs"]["round_1"].update(cost_2=4.2)),
        ([3], lambda p: p["runs"]["round_2"].update(cost_1=1.6)),
        ([4], lambda p: p["plane"]["round_2"].update(crossings=10)),
    ],
)
def test_claims_that_do_not_hold(points, which, bend):
    bend(points)
    rows = rectified_flow.rows(points)
    assert [i for i, row in enumerate(rows) if row["verdict"] == verdict.DIFFERS] == which


def test_of_images_the_papers_fid_is_another_metric(points):
    points["plane"] = None
    rows = rectified_flow.rows(points)[-4:]
    assert [row["paper"] for row in rows] == [378, 12.21, 4.85, 2.58]
    assert [row["ours"] for row in rows] == pytest.approx([12.0, 0.3, 0.3, 0.3])
    assert {row["verdict"] for row in rows} == {verdict.METRIC}


def test_what_is_read_of_a_finished_command(points, tmp_path, monkeypatch):
    def write(folder, run):
        folder.mkdir(exist_ok=True)
        lines = [{"trial": k} | row for k, row in run["rows"].items()]
        (folder / "sweep_few_steps.json").write_text(json.dumps({"rows": lines}))
        if "curve" in run:
            (folder / "transport.json").write_text(json.dumps(run))

    for name, run in points["runs"].items():
        write(tmp_path if name == "round_1" else tmp_path / name, run)
    config = {"data": {"shape": [3, 3, 1]}, "reflow": {"rounds": 1, "distill": [1]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = records.plain(rectified_flow.load({"reflow": tmp_path}, "smoke"))
    assert found["plane"] is None and list(found["runs"]) == ["round_1", "round_2", "student_1"]
    assert found["runs"]["round_2"]["curve"] == [0.01] * 3
    assert found["runs"]["round_1"]["rows"]["adaptive"]["nfe"] == 60.0
    walks = {"lines": [[[0.12345, 0], [1, 1]]], "paths": [[[i, 0.00004] for i in range(33)]], "crossings": 3}
    monkeypatch.setattr(trajectories, "load", lambda folders, number: {name: dict(walks) for name in folders})
    (tmp_path / "config.json").write_text(json.dumps(config | {"data": {"shape": [2]}}))
    found = records.plain(rectified_flow.load({"reflow": tmp_path}, "smoke"))["plane"]
    assert found["round_2"]["lines"] == [[[0.123, 0], [1, 1]]] and found["round_1"]["crossings"] == 3
    assert found["round_1"]["paths"] == [[[i, 0] for i in range(0, 33, 4)]]


def test_both_scales_resolve_to_configs():
    small, full = (figures.configured(rectified_flow.runs(scale)["reflow"]) for scale in reproduce.SCALES)
    assert small.reflow.round.train.num_steps == 1000 and small.data.name == "8gaussians"
    assert full.data.name == "cifar10" and full.reflow.rounds == 1 and tuple(full.reflow.distill) == (1,)
    assert {name for _, name, _ in rectified_flow.PAPER} == {"round_1", "round_2", "student_1"}


def test_six_panels_in_the_plane_and_three_of_images(points):
    pytest.importorskip("matplotlib")
    points = json.loads(json.dumps(points))
    axes = rectified_flow.draw(points).axes
    assert len(axes) == 6 and all(axis.get_xlabel() and axis.get_ylabel() for axis in axes)
    assert "40 of 1 pairs" in axes[0].get_title() and len(axes[1].lines) == 2
    lines = {line.get_label(): line for line in axes[3].lines}
    assert lines["round 1"].get_ydata().tolist() == [1.2, 0.8, 0.4, 0.2, 0.1]
    assert lines["student 1"].get_ydata().tolist() == [0.03]  # what it gives by other steps means nothing
    assert lines["floor: training data"].get_ydata()[0] == 0.02
    assert axes[4].lines[0].get_ydata().tolist() == [1.0, 0.01] and axes[4].get_yscale() == "log"
    assert axes[5].lines[1].get_ydata().tolist() == pytest.approx([1, 0.5625, 0.5625])
    images = rectified_flow.draw(copy.deepcopy(points) | {"plane": None}).axes
    assert len(images) == 3 and images[0].get_ylabel() == "Frechet distance"
