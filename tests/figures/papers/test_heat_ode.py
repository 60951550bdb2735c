"""Heat and its ODE, on a single point where all is known by hand, and on the item's own three."""

import json

import jax
import numpy as np
import pytest

from research import noise, oracle
from research.figures.papers import heat_ode
from research.reproduce import records, verdict


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def one_point(monkeypatch):
    """One point at (1, -1): each path is a line from it, and p_t is N((1, -1), sigma^2 I)."""
    monkeypatch.setattr(heat_ode, "POINTS", ((1.0, -1.0),))
    monkeypatch.setattr(heat_ode, "DATA", oracle.dirac([[1.0, -1.0]]))


@pytest.fixture(scope="module")
def points():
    with jax.enable_x64(True):
        times = np.array([0.4, 0.9])
        parts = {"walks": heat_ode.walks(50), "carried": heat_ode.carried(times, 7)}
        return records.plain(parts | {"residuals": heat_ode.residuals(times, 30)})


def test_score_and_density_of_one_point(one_point):
    x, sigma = np.array([[1.5, 0.0], [1.0, -1.0]]), 3 * 0.4
    np.testing.assert_allclose(heat_ode.score(x, 0.4), -(x - [1, -1]) / sigma**2, atol=1e-12)
    square = np.sum((x - [1, -1]) ** 2, axis=1)
    np.testing.assert_allclose(heat_ode.log_prob(x, 0.4), -square / 2 / sigma**2 - np.log(2 * np.pi * sigma**2))


def test_paths_to_one_point_are_lines_as_long_as_sigma(one_point):
    found = heat_ode.walks(40)
    away = found["paths"] - [1, -1]
    sigma = np.geomspace(1, heat_ode.END, 25)[:, None]
    np.testing.assert_allclose(away, away[:, :1] * sigma, atol=2e-3)  # which are rounded to 3 digits
    assert found["share"].tolist() == [1.0] and set(found["ends"].tolist()) == {0}
    start = heat_ode.noised(0, 40, 1.0) - np.array([1, -1])
    assert found["distance"] == pytest.approx(np.linalg.norm(start, axis=1).max() / 3, rel=1e-4)


def test_the_density_of_one_point_falls_as_sigma_squared(one_point):
    found = heat_ode.carried(np.array([0.2, 0.4]), 6)
    assert found["sigma"] == pytest.approx([0.6, 1.2]) and found["error"] < 1e-6
    np.testing.assert_allclose(found["found"][:, 1] - found["found"][:, 0], -2 * np.log(2), atol=1e-6)


def test_draws_have_the_variance_of_points_and_noise():
    x = np.asarray(heat_ode.noised(3, 20000, 1.0))
    mean = np.average(heat_ode.POINTS, axis=0, weights=heat_ode.WEIGHTS)
    spread = np.average((np.array(heat_ode.POINTS) - mean) ** 2, axis=0, weights=heat_ode.WEIGHTS)
    np.testing.assert_allclose(x.mean(axis=0), mean, atol=0.1)
    np.testing.assert_allclose(x.var(axis=0), spread + 9, rtol=0.05)


def test_equations_hold_and_the_wrong_one_does_not(points):
    found = points["residuals"]
    for name in ("continuity", "heat", "Fokker-Planck"):
        assert max(found[name]) < 1e-10
    # Of twice the velocity the residual is minus d log p / dt.
    x = heat_ode.noised(2, 30, 0.9)
    step = 1e-5
    rate = (heat_ode.log_prob(x, 0.9 + step) - heat_ode.log_prob(x, 0.9 - step)) / 2 / step
    assert found["the factor 1/2 forgotten"][1] == pytest.approx(float(np.abs(rate).max()), rel=1e-6)


def test_paths_end_at_points_by_their_weights(points):
    assert sum(points["walks"]["share"]) == pytest.approx(1) and points["walks"]["distance"] < 6
    ends = np.array(points["walks"]["paths"])[:, -1]
    near = np.array(heat_ode.POINTS)[points["walks"]["ends"]]
    assert np.linalg.norm(ends - near, axis=1).max() < 0.05


def test_rows_turn_with_the_points(points):
    rows = heat_ode.rows(points)
    assert {row["verdict"] for row in rows} == {verdict.REPRODUCED} and len(rows) == 5
    bent = points | {
        "carried": points["carried"] | {"error": 1e-3},
        "residuals": points["residuals"] | {"heat": [1.0, 0.0]},
        "walks": points["walks"] | {"share": [0.9, 0.05, 0.05]},
    }
    differs = [row["what"] for row in heat_ode.rows(bent) if row["verdict"] == verdict.DIFFERS]
    assert len(differs) == 3 and "heat" in differs[1] and "share" in differs[2]


def test_drawn_from_json_with_labels(points):
    pytest.importorskip("matplotlib")
    axes = heat_ode.draw(json.loads(json.dumps(points))).axes
    assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_legend() for axis in axes) and len(axes) == 3
    assert len(axes[0].lines) == heat_ode.DRAWN
    assert [line.get_label() for line in axes[2].lines] == list(heat_ode.RESIDUALS)
    np.testing.assert_array_equal(axes[2].lines[1].get_ydata(), points["residuals"]["heat"])


def test_nothing_is_trained():
    assert heat_ode.runs("smoke") == heat_ode.runs("full") == {} and heat_ode.FULL is None
    assert isinstance(heat_ode.PROCESS, noise.Process)
