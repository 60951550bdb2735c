"""The figure of Score SDE: what it measures with the exact score is exact, and its rows follow the points."""

import jax
import numpy as np
import pytest

from launch import figures
from research import reproduce
from research.figures.papers import score_sde
from research.reproduce import records, verdict


def test_the_cdf_is_that_of_the_density():
    process = score_sde.PROCESSES["vp"]
    for t in (0.0, 0.3, 0.8):
        x = np.linspace(-3, 3, 2001)
        p = np.exp(np.asarray(score_sde.LINE.log_prob(x[:, None].astype(np.float32), t, process), float))
        mass = np.concatenate([[0], np.cumsum((p[1:] + p[:-1]) / 2)]) * (x[1] - x[0])
        cdf = score_sde._cdf(t, process)
        np.testing.assert_allclose(cdf(x) - cdf(x[0]), mass, atol=2e-4)


def test_exact_draws_are_within_the_critical_distance_and_others_are_not():
    process, n = score_sde.PROCESSES["vp"], score_sde.MANY
    x0, z = score_sde.LINE.sample(jax.random.key(0), n), jax.random.normal(jax.random.key(1), (n, 1))
    x = np.asarray(process.alpha(0.3) * x0 + process.sigma(0.3) * z)[:, 0]
    assert score_sde._kolmogorov(x, score_sde._cdf(0.3, process)) < score_sde.CRITICAL
    assert score_sde._kolmogorov(1.1 * x, score_sde._cdf(0.3, process)) > score_sde.CRITICAL


def test_marginals_of_few_samples_have_paths_and_distances():
    found = records.plain(score_sde.marginals(count=500, steps=200, paths=3))
    assert len(found["density"]) == len(found["t"]) == 41 and len(found["density"][0]) == len(found["x"]) == 61
    for name in ("ODE", "SDE"):
        paths = np.array(found[name]["paths"])
        assert paths.shape == (3, len(found[name]["times"])) and max(found[name]["distance"]) < 1.95 / np.sqrt(500)
    steps = [abs(np.diff(found[name]["paths"], axis=1, n=2)).max() for name in ("ODE", "SDE")]
    assert steps[0] < 0.5 * steps[1]  # the ODE is smooth


def test_samplers_come_near_and_take_the_calls_they_are_given():
    table, floor = score_sde.sampled(count=1024, seeds=1, calls=(64,))
    assert set(table) == {"vp", "ve"} and all(set(rows) == set(score_sde.METHODS) for rows in table.values())
    for rows in table.values():
        assert 0.2 * floor < rows["probability flow, P"][64][0] < 6 * floor
        assert rows["corrector alone, C"][64][0] > 1.5 * rows["reverse diffusion, PC"][64][0]


@pytest.mark.parametrize(("method", "calls"), [(m, 1 if m.endswith("P") else 2) for m in list(score_sde.METHODS)[:5]])
def test_what_a_method_calls_a_step(method, calls):
    predictor, corrector = score_sde.METHODS[method]
    assert corrector + (predictor != "none") == calls


def test_adaptive_steps_meet_their_tolerance():
    found = score_sde.adaptive(count=64)
    assert (np.diff(found["calls"]) > 0).all() and found["error"][-1] < 1e-5 < found["error"][2]
    assert (np.diff(found["error"]) < 0).all() and found["distance"][-1] == pytest.approx(
        found["distance"][-2], abs=1e-3
    )


def test_the_likelihood_of_the_exact_score_is_exact():
    for ours, truth in score_sde.exact(count=50).values():
        assert ours == pytest.approx(truth, abs=3e-3)


@pytest.fixture
def points():
    numbers = dict(zip(score_sde.METHODS, (0.05, 0.03, 0.04, 0.02, 0.03, 0.5)))
    table = {m: {str(c): [v * 64 / c, v * 64 / c] for c in score_sde.CALLS} for m, v in numbers.items()}
    path = {"times": [1.0, 0.5, 0.0], "paths": [[0.1, 0.2, 0.3]] * 5, "distance": [0.005] * len(score_sde.STOPS)}
    grid = {"x": [-3.0, 0.0, 3.0], "t": [1.0, 0.0], "density": [[0.1, 0.4, 0.1], [0.0, 0.8, 0.0]]}
    return {
        "table": {"vp": table, "ve": table},
        "floor": 0.01,
        "marginals": {"ODE": path, "SDE": path, "stops": list(score_sde.STOPS), **grid},
        "adaptive": {"tolerance": [0.1, 0.001], "calls": [30.0, 90.0], "error": [0.1, 0.01], "distance": [0.02, 0.02]},
        "exact": {name: [-1.70, -1.701] for name in score_sde.PROCESSES},
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
    points["exact"] = {name: [-1.75, -1.70] for name in score_sde.PROCESSES}
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
        assert set(lines) == {*score_sde.METHODS, "exact samples"}
        np.testing.assert_allclose(lines["ancestral, P"].get_ydata(), [0.1, 0.05, 0.025, 0.0125])
    figure.draw_without_rendering()


@pytest.mark.parametrize("scale", reproduce.SCALES)
def test_a_run_a_process(scale):
    for name, run in score_sde.runs(scale).items():
        assert figures.configured(run).model.process == name
