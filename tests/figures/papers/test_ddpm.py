"""DDPM's figure: its curve against Gaussian data, whose errors and bits are known, and what its rows say of points."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import config_dict

from configs import base, ddpm_digits
from launch import figures
from research import experiment, likelihood, oracle, reproduce
from research.encoding import decode, encode, quantize
from research.figures.papers import ddpm
from research.models import ddpm as model
from research.reproduce import records, verdict

STD = 0.3


def gaussian(levels=256):
    """An Experiment, as far as `curve` looks, of images whose pixels are N(0, STD^2) on the net's scale, T = 1000."""
    config = config_dict.ConfigDict({"data": {"levels": levels}, "model": base.ddpm()})
    field = oracle.gaussian_mixture([1.0], np.zeros((1, 64)), [STD]).field(model.process(config))

    def images(x, t):
        found = field(x.reshape(len(x), -1), t)
        return jax.tree.map(lambda a: a.reshape(x.shape), found)

    return types.SimpleNamespace(config=config, model=types.SimpleNamespace(field=lambda params, n, told: images))


@pytest.fixture(scope="module")
def found():
    x = STD * jax.random.normal(jax.random.key(0), (48, 8, 8, 1))
    return records.plain(ddpm.curve(gaussian(), {}, np.asarray(quantize(decode(x, 256), 256)), None))


def test_the_distortion_is_the_standard_deviation_of_what_is_not_known_yet(found):
    table = np.asarray(jnp.asarray(model.process(gaussian().config).alpha(np.array(found["n"]) / 1000)))
    left = np.sqrt(1 / (1 / STD**2 + table**2 / (1 - table**2)))
    np.testing.assert_allclose(found["distortion"], 127.5 * left, rtol=0.05)


def test_the_rate_rises_to_the_entropy_of_the_data(found):
    rate, bits = np.array(found["rate"]), found["bits"]
    assert found["n"][0] == 1000 and found["n"][-1] == 1 and (np.diff(rate) > 0).all() and rate[0] < 1e-3
    # Of N(0, STD^2) in bins of 2 / 256 on [-1, 1], where the steps are fine; the bound is a little above.
    entropy = np.log2(STD * np.sqrt(2 * np.pi * np.e) * 128)
    assert entropy - 0.05 < bits < entropy + 0.1
    # What is known of a Gaussian behind n steps: log SNR's worth of bits.
    alpha = float(model.process(gaussian().config).alpha(found["n"][15] / 1000))
    known = 0.5 * np.log2(1 + STD**2 * alpha**2 / (1 - alpha**2))
    assert rate[15] == pytest.approx(known, abs=0.05)


def test_the_end_of_the_curve_is_the_bound(found):
    built, x = gaussian(), np.full((4, 8, 8, 1), 130, np.uint8)
    noise, key = model.process(built.config), jax.random.key(0)
    ours = ddpm.curve(built, {}, x, None)
    options = {"levels": 256, "variance": "beta"}
    bound = likelihood.variational_bound(built.model.field({}, 4, None), noise, encode(x, 256, 0.5), key, **options)
    assert ours["bits"] == pytest.approx(float(-bound.nats.mean()) / 64 / np.log(2), rel=1e-4)


def test_a_forming_sample_ends_in_the_sample():
    built = experiment.build(ddpm_digits.get_config("tiny"))
    params = built.model.init(jax.random.key(0), built.dataset.train.gather(np.arange(4)))
    images = ddpm.forming(built, params, 2)
    assert images.shape == (2, len(ddpm.TIMES), 8, 8, 1) and np.isfinite(images).all()
    x = built.model.sample(params, jax.random.key(0), 2, np.array([0, 1]), sampler="ddpm", num_steps=20)
    np.testing.assert_array_equal(np.clip(np.round(images[:, -1]), 0, 16), np.asarray(x.x))


@pytest.fixture
def points(found):
    one = {"bits": 2.5, "ours": 12.0, "floor": 10.0}
    return {
        "top": 16,
        "forming": np.zeros((2, len(ddpm.TIMES), 8, 8), int).tolist(),
        "curve": {"n": [9, 5, 1], "rate": [0.0, 0.3, 1.0], "distortion": [90.0, 30.0, 5.0], "bits": 3.0},
        "weights": {"simple": one, "bound": one | {"bits": 2.4, "ours": 14.0}},
        "frechet": 11.0,
    }


def test_rows_follow_the_points(points):
    rows = ddpm.rows(points)
    assert [row["verdict"] for row in rows] == [verdict.TREND] * 4 + [verdict.METRIC]
    assert rows[0]["ours"] == pytest.approx(0.1) and rows[1]["ours"] == pytest.approx(2 / 3)
    assert rows[4]["paper"] == 3.17 and rows[4]["ours"] == 11.0
    assert ddpm.rows(points | {"fid": 3.2})[4]["verdict"] == verdict.REPRODUCED
    points["weights"]["simple"], points["weights"]["bound"] = points["weights"]["bound"], points["weights"]["simple"]
    points["curve"]["distortion"][1], points["curve"]["bits"] = 80.0, 1.5
    assert [row["verdict"] for row in ddpm.rows(points)] == [verdict.DIFFERS] * 4 + [verdict.METRIC]


def test_every_panel_has_labels_and_both_weights_are_drawn(points):
    pytest.importorskip("matplotlib")
    figure = ddpm.draw(points)
    assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_title() for axis in figure.axes)
    dots = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[-1].lines}
    assert dots[ddpm.WEIGHTS["simple"]] == [[12.0, 2.5]] and dots[ddpm.WEIGHTS["bound"]] == [[14.0, 2.4]]
    assert figure.axes[2].lines[0].get_xdata().tolist() == points["curve"]["rate"]
    figure.draw_without_rendering()


@pytest.mark.parametrize("scale", reproduce.SCALES)
def test_runs_differ_in_what_they_weigh_alone(scale):
    simple, bound = (figures.configured(ddpm.runs(scale)[name]).to_dict() for name in ddpm.WEIGHTS)
    assert simple["model"].pop("weight") == "score" and bound["model"].pop("weight") == "likelihood"
    assert simple == bound and figures.configured(ddpm.runs(scale)["ddpm"]).model.name == "ddpm"
