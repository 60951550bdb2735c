"""RealNVP's figure: densities on their cells, ways of the latent, and rows that follow the points."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from launch import figures
from research import bijectors as bj
from research import reproduce
from research.contracts import LogProb
from research.figures.papers import realnvp
from research.reproduce import records, verdict

ENDS = np.random.default_rng(0).normal(size=(2 * realnvp.PAIRS, 2)).astype(np.float32)


def normal(x):
    return -0.5 * jnp.sum(x**2, axis=1) - jnp.log(2 * jnp.pi)


def test_densities_are_parts_of_the_truths_peak_with_the_second_coordinate_upwards():
    model = types.SimpleNamespace(log_prob=lambda params, key, x: LogProb(normal(x - jnp.array([1.0, 0.0]))))
    built = types.SimpleNamespace(model=model, dataset=types.SimpleNamespace(log_prob=normal))
    found = realnvp.density(built, {}, np.array([[-3.0, 3.0], [3.0, -3.0]]))
    ours, truth = np.array(found["ours"]), np.array(found["truth"])
    assert truth.shape == ours.shape == (realnvp.CELLS,) * 2 and truth.max() == realnvp.SHOWN
    np.testing.assert_array_equal(truth, truth.T)
    right = realnvp.CELLS * (1 - found["extent"][0]) / (found["extent"][1] - found["extent"][0])
    row, column = np.unravel_index(ours.argmax(), ours.shape)
    assert abs(column - right) <= 1 and abs(row - realnvp.CELLS / 2) <= 1
    np.testing.assert_allclose(found["extent"], [-3.45, 3.45], atol=1e-6)


def test_ways_in_a_linear_latent_are_the_straight_lines():
    flow = bj.invertible_conv("plu")
    found = realnvp.between(flow, flow.init(jax.random.key(0), ENDS), normal, ENDS)
    paths = np.array(found["paths"])
    assert paths.shape == (realnvp.PAIRS, realnvp.BETWEEN, 2)
    np.testing.assert_allclose(paths[:, 0], ENDS[: realnvp.PAIRS], atol=2e-3)
    np.testing.assert_allclose(paths[:, -1], ENDS[realnvp.PAIRS :], atol=2e-3)
    assert found["on_path"] == pytest.approx(found["on_line"], abs=1e-4)


def test_ways_keep_to_the_data_where_the_latent_is_bent():
    """The latent of a ring in polar coordinates: its straight ways keep their radius, lines cut through the middle."""

    def forward(params, x, condition=None):
        return jnp.stack([jnp.linalg.norm(x, axis=-1), jnp.arctan2(x[..., 1], x[..., 0])], -1), None

    def inverse(params, z, condition=None):
        return z[..., :1] * jnp.stack([jnp.cos(z[..., 1]), jnp.sin(z[..., 1])], -1), None

    polar = types.SimpleNamespace(forward=forward, inverse=inverse)
    ring = lambda x: -50 * (jnp.linalg.norm(x, axis=1) - 2) ** 2  # noqa: E731
    ends = 2 * ENDS / np.linalg.norm(ENDS, axis=1, keepdims=True)
    found = realnvp.between(polar, {}, ring, ends)
    assert found["on_path"] == pytest.approx(0, abs=1e-3) and found["on_line"] < -5
    np.testing.assert_allclose(np.linalg.norm(found["paths"], axis=2), 2, atol=2e-3)


@pytest.fixture
def points():
    table = np.zeros((realnvp.CELLS, realnvp.CELLS), int)
    one = {
        **{"kl": 0.02, "mass": 1.001, "inverse": 1e-5, "on_path": -1.0, "on_line": -3.0},
        **{"ours": table, "truth": table, "extent": [-2.0, 2.0], "paths": np.zeros((3, 4, 2))},
    }
    return records.plain({"toys": {name: dict(one) for name in realnvp.TOYS}, "bits": None})


def test_rows_follow_the_points(points):
    good = [verdict.REPRODUCED] * 2 + [verdict.TREND] * 2
    assert [row["verdict"] for row in realnvp.rows(points)] == good * 2
    bent = {"kl": 0.2, "mass": 0.98, "inverse": 0.1, "on_path": -3.0, "on_line": -1.0}
    points["toys"][realnvp.TOYS[0]] |= bent
    assert [row["verdict"] for row in realnvp.rows(points)] == [verdict.DIFFERS] * 4 + good


def test_at_full_scale_bits_are_beside_the_papers(points):
    row = realnvp.rows(points | {"bits": 3.5})[-1]
    assert (row["paper"], row["verdict"]) == (3.49, verdict.REPRODUCED)
    assert realnvp.rows(points | {"bits": 3.6})[-1]["verdict"] == verdict.DIFFERS


def test_every_panel_has_labels_and_the_ways_are_drawn(points):
    pytest.importorskip("matplotlib")
    points["toys"]["two_moons"]["paths"] = [[[0.0, 0.0], [1.0, 1.0], [1.0, 2.0]]]
    figure = realnvp.draw(points)
    rows = np.reshape(figure.axes, (-1, 3))
    assert all(axis.get_xlabel() and axis.get_title() for axis in rows.ravel())
    assert all(row[0].get_ylabel() for row in rows)
    assert rows[0, 2].lines[0].get_xydata().tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 2.0]]
    assert all(len(axis.images) == 1 for axis in rows.ravel())
    figure.draw_without_rendering()


@pytest.mark.parametrize("scale", reproduce.SCALES)
def test_a_run_a_toy_and_in_full_that_of_the_papers_number(scale):
    found = {name: figures.configured(run) for name, run in realnvp.runs(scale).items()}
    assert {config.model.name for config in found.values()} == {"realnvp"}
    assert all(config.data.name == name for name, config in found.items())
    assert ("cifar10" in found) == (scale == "full")
