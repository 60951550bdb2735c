"""NICE's figure: the density it climbs is the model's, known pixels stay, its rows follow the points."""

import jax
import numpy as np
import pytest

from configs import nice_digits
from launch import figures
from research import experiment, reproduce
from research.figures.papers import nice
from research.reproduce import verdict


@pytest.fixture(scope="module")
def started():
    """An Experiment of digits and params that were measured on a batch."""
    built = experiment.build(nice_digits.get_config("tiny"))
    return built, built.model.init(jax.random.key(0), built.dataset.train.gather(np.arange(128)))


def test_the_density_is_the_models_own(started):
    built, params = started
    x = built.dataset.test.gather(np.arange(5))["x"]
    key = jax.random.key(3)
    ours = nice.log_density(built, params)(x + jax.random.uniform(key, x.shape))
    # The flow's is a density on [-1, 1]: a level is 2 / 17 of its unit, for each of 64 pixels.
    want = built.model.log_prob(params, key, x).nats - 64 * np.log(2 / 17)
    np.testing.assert_allclose(ours, want, rtol=1e-4)


def test_scales_are_the_reciprocals_sorted():
    log_scale = np.array([0.0, -np.log(4.0), np.log(2.0)])
    found = nice.scales({"params": {"scale": {"log_scale": log_scale}}})
    np.testing.assert_allclose(found, [4, 1, 0.5], atol=1e-6)


def test_masks_hide_a_half_each():
    found = nice.masks(8, 8)
    assert len(found) == 4 and all(mask.shape == (8, 8, 1) and mask.sum() == 32 for mask in found.values())
    assert found["top"][:4].all() and found["left"][:, :4].all() and found["even rows"][::2].all()


def test_known_pixels_stay_and_the_density_rises(started):
    built, params = started
    images, numbers = nice.inpainting(built, params, steps=60)
    assert images.shape == (4, 15, 8, 8, 1) and np.isfinite(images).all()
    truth = built.dataset.test.gather(np.arange(5))["x"]
    for rows, known in zip(images, nice.masks(8, 8).values()):
        np.testing.assert_allclose(rows[2::3], truth, atol=1e-4)
        np.testing.assert_allclose((rows[1::3] - truth)[:, known], 0, atol=1e-4)
        assert ((rows[0::3] + 0.5)[:, ~known] == 0).all() and abs((rows[1::3] - truth)[:, ~known]).max() > 1
    assert all(len(one) == 3 and one[2] > 0 and 0 < one[1] < 0.5 for one in numbers.values())


@pytest.fixture
def points():
    names = list(nice.masks(8, 8))
    return {
        "top": 16,
        "samples": np.zeros((len(nice.TEMPERATURES), nice.SHOWN, 8, 8), int).tolist(),
        "scales": [3.0, 1.0, 0.1],
        "inpainting": np.zeros((4, 15, 8, 8), int).tolist(),
        "inpainted": {name: [0.2, 0.3, 50.0] for name in names},
        "nats": 1975.0,
        "bits": 2.7,
        "gaussian": 2.95,
        "is_mnist": False,
    }


def test_rows_follow_the_points(points):
    rows = nice.rows(points)
    assert [row["verdict"] for row in rows] == [verdict.METRIC] + [verdict.TREND] * 5
    assert rows[0]["paper"] == 1980.5 and rows[1]["ours"] == pytest.approx(30)
    points["scales"], points["inpainted"]["top"], points["inpainted"]["left"] = (
        [3.0, 1.0],
        [0.4, 0.3, 5.0],
        [0.2, 0.3, -5],
    )
    assert [row["verdict"] for row in nice.rows(points)[1:4]] == [verdict.DIFFERS] * 3


def test_on_mnist_the_papers_number_is_to_be_met(points):
    assert nice.rows(points | {"is_mnist": True})[0]["verdict"] == verdict.REPRODUCED
    assert nice.rows(points | {"is_mnist": True, "nats": 1950.0})[0]["verdict"] == verdict.DIFFERS


def test_every_panel_has_labels_and_the_spectrum_is_drawn(points):
    pytest.importorskip("matplotlib")
    figure = nice.draw(points)
    assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_title() for axis in figure.axes)
    assert figure.axes[1].lines[0].get_ydata().tolist() == points["scales"]
    figure.draw_without_rendering()


@pytest.mark.parametrize("scale", reproduce.SCALES)
def test_the_run_is_a_nice_with_a_scaling_layer(scale):
    config = figures.configured(nice.runs(scale)["nice"])
    assert config.model.name == "nice" and config.model.diagonal
