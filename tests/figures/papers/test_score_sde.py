"""The figure of Score SDE: its rows and panels follow the points."""

import numpy as np
import pytest

from launch import figures
from research import exact_score, reproduce
from research.figures.papers import score_sde
from research.reproduce import verdict


@pytest.fixture
def points():
    numbers = dict(zip(exact_score.METHODS, (0.05, 0.03, 0.04, 0.02, 0.03, 0.5)))
    table = {m: {str(c): [v * 64 / c, v * 64 / c] for c in exact_score.CALLS} for m, v in numbers.items()}
    path = {"times": [1.0, 0.5, 0.0], "paths": [[0.1, 0.2, 0.3]] * 5, "distance": [0.005] * len(exact_score.STOPS)}
    grid = {"x": [-3.0, 0.0, 3.0], "t": [1.0, 0.0], "density": [[0.1, 0.4, 0.1], [0.0, 0.8, 0.0]]}
    return {
        "table": {"vp": table, "ve": table},
        "floor": 0.01,
        "marginals": {"ODE": path, "SDE": path, "stops": list(exact_score.STOPS), **grid},
        "adaptive": {"tolerance": [0.1, 0.001], "calls": [30.0, 90.0], "error": [0.1, 0.01], "distance": [0.02, 0.02]},
        "exact": {name: [-1.70, -1.701] for name in exact_score.PROCESSES},
        "trained": {"what": "likelihood/kl", "values": {"vp": 0.05, "sub_vp": 0.04, "ve": 0.06}},
    }


def test_rows_follow_the_points(points):
    rows = score_sde.rows(points)
    want = [verdict.TREND] * 6 + [verdict.REPRODUCED] * 2 + [verdict.TREND] + [verdict.REPRODUCED] * 3 + [verdict.TREND]
    assert [row["verdict"] for row in rows] == want
    assert rows[0]["ours"] == "0.0200 / 0.0400" and rows[8]["ours"] == 30.0
    for table in points["table"].values():
        table["reverse diffusion, P"] = {calls: [1.0] for calls in table["reverse diffusion, P"]}
        table["reverse diffusion, PC"] = {calls: [2.0] for calls in table["reverse diffusion, PC"]}
    points["marginals"]["ODE"] = points["marginals"]["ODE"] | {"distance": [0.02]}
    points["marginals"]["SDE"] = points["marginals"]["SDE"] | {"distance": [0.5]}
    points["adaptive"] |= {"calls": [30.0, 190.0], "distance": [0.03, 0.02]}
    points["exact"] = {name: [-1.75, -1.70] for name in exact_score.PROCESSES}
    points["trained"]["values"]["sub_vp"] = 0.07
    assert {row["verdict"] for row in score_sde.rows(points)} == {verdict.DIFFERS}


def test_at_full_scale_bits_are_beside_the_papers(points):
    points["trained"] = {"what": "likelihood/bits_per_dim", "values": {"vp": 3.2, "sub_vp": 3.2, "ve": 3.5}}
    last = score_sde.rows(points)[-2:]
    assert [(row["paper"], row["verdict"]) for row in last] == [(3.21, verdict.REPRODUCED), (3.05, verdict.DIFFERS)]
    pytest.importorskip("matplotlib")
    assert score_sde.draw(points).axes[5].get_ylabel() == "bits/dim"


def test_every_panel_has_labels_and_every_method_a_line(points):
    pytest.importorskip("matplotlib")
    figure = score_sde.draw(points)
    assert all(axis.get_ylabel() and (axis.get_xlabel() or i == 6) for i, axis in enumerate(figure.axes))
    for axis in figure.axes[:2]:
        lines = {line.get_label(): line for line in axis.lines}
        assert set(lines) == {*exact_score.METHODS, "exact samples"}
        np.testing.assert_allclose(lines["ancestral, P"].get_ydata(), [0.1, 0.05, 0.025, 0.0125])
    figure.draw_without_rendering()


@pytest.mark.parametrize("scale", reproduce.SCALES)
def test_a_run_a_process(scale):
    for name, run in score_sde.runs(scale).items():
        assert figures.configured(run).model.process == name
