"""DDIM's figure: its walks are the samplers' own, its arcs end where they should, its rows follow the points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import ddpm_digits
from launch import figures
from research import experiment, noise, reproduce
from research.encoding import decode, encode, quantize
from research.figures.papers import ddim, ddpm
from research.models import ddpm as model
from research.reproduce import verdict
from research.samplers import ddim as sampler

COUNT = 6


@pytest.fixture(scope="module")
def trained():
    """An Experiment of 20 steps, its untrained params, and the two ways."""
    built = experiment.build(ddpm_digits.get_config("tiny"))
    params = built.model.init(jax.random.key(0), built.dataset.train.gather(np.arange(4)))
    return built, params, *ddim.ways(built, params, COUNT)


def latents(key=0):
    return jax.random.normal(jax.random.key(key), (COUNT, 8, 8, 1))


TOLD = np.arange(COUNT, dtype=np.int32)


def test_the_way_down_is_the_samplers_own(trained):
    built, params, down, _ = trained
    z, levels = latents(), built.config.data.levels
    out = built.model.sample(params, jax.random.key(1), COUNT, TOLD, sampler="ddim", num_steps=5, noise=z, eta=0.0)
    np.testing.assert_array_equal(quantize(decode(down(z, 5, TOLD), levels), levels), out.x)


def test_noise_depends_on_eta_and_the_seed(trained):
    down, z = trained[2], latents()
    still, some, other, hat = (
        np.asarray(down(z, 4, TOLD, eta, seed)) for eta, seed in (("0", 1), ("1", 0), ("1", 1), (ddim.HAT, 0))
    )
    np.testing.assert_array_equal(still, down(z, 4, TOLD))
    assert abs(some - other).max() > 0.1 and abs(some - hat).max() > 1e-3 and abs(some - still).max() > 0.1


def test_there_and_back_is_reconstruct(trained):
    built, params, down, up = trained
    x, process = encode(built.dataset.test.gather(np.arange(COUNT))["x"], 17, 0.5), model.process(built.config)
    times = noise.times(process, 10)
    want = sampler.reconstruct(built.model.field(params, COUNT, TOLD), process, x, times).x
    np.testing.assert_allclose(down(up(x, 10, TOLD), 10, TOLD), want, atol=1e-4)


def test_arcs_go_from_one_latent_to_the_other_and_keep_their_length():
    a, b = latents(0), latents(1)
    arcs = np.asarray(ddim.between(a, b)).reshape(ddim.PAIRS, ddim.BETWEEN, 8, 8, 1)
    np.testing.assert_allclose(arcs[:, 0], a[: ddim.PAIRS], atol=1e-5)
    np.testing.assert_allclose(arcs[:, -1], b[: ddim.PAIRS], atol=1e-5)
    middle = arcs[:, ddim.BETWEEN // 2]
    assert jnp.sqrt((middle**2).mean()) == pytest.approx(1, abs=0.15)  # on a line it would be 0.7
    np.testing.assert_allclose(
        middle[0] / (a[0] + b[0]), np.full((8, 8, 1), middle[0, 0, 0] / (a + b)[0, 0, 0]), rtol=1e-2
    )


@pytest.fixture
def points():
    def row(first):
        return {"5": [first, first], "10": [first - 0.01, first + 0.01], "20": [0.03, 0.03], "50": [0.03, 0.03]}

    return {
        "table": {eta: row(0.04 + 0.01 * i) for i, eta in enumerate(ddim.ETAS)},
        "floor": 0.03,
        "between": np.zeros((ddim.PAIRS, ddim.BETWEEN, 8, 8), int).tolist(),
        "top": 16,
        "inversion": {"10": 0.01, "50": 0.004, "100": 0.001},
    }


def test_rows_follow_the_points(points):
    rows = ddim.rows(points)
    assert [row["verdict"] for row in rows] == [verdict.METRIC] * 6 + [verdict.TREND] * 5
    assert [row["paper"] for row in rows[:6]] == [13.36, 367.43, 6.84, 133.37, 4.67, 32.72]
    assert rows[0]["ours"] == pytest.approx(0.04) and rows[0]["seeds"] == 2
    points["table"]["0"], points["table"][ddim.HAT] = points["table"][ddim.HAT], points["table"]["0"]
    points["inversion"]["50"] = 0.02
    assert [row["verdict"] for row in ddim.rows(points)] == [verdict.METRIC] * 6 + [verdict.DIFFERS] * 5


def test_every_panel_has_labels_and_every_eta_a_line(points):
    pytest.importorskip("matplotlib")
    figure = ddim.draw(points)
    assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_title() for axis in figure.axes)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert [label for label in lines if label.startswith("eta")] == ["eta = 0", "eta = 0.2", "eta = 0.5", "eta = 1"]
    np.testing.assert_allclose(lines["eta = 0.2"].get_ydata(), [0.05, 0.05, 0.03, 0.03])
    assert figure.axes[1].lines[0].get_xdata().tolist() == [10, 50, 100]
    figure.draw_without_rendering()


@pytest.mark.parametrize("scale", reproduce.SCALES)
def test_it_shares_the_training_of_figure_ddpm(scale):
    assert ddim.runs(scale) == {"ddpm": ddpm.runs(scale)["ddpm"]}
    assert max(ddim.BACK[scale] + ddim.STEPS[scale]) <= figures.configured(ddim.runs(scale)["ddpm"]).model.num_steps
