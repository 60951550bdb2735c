"""Orders of solvers: on one Gaussian, whose flow and whose Euler steps are known; slopes by hand; what rows say."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle
from research.figures.papers import sampler_order
from research.reproduce import verdict

MEAN, STD = 0.7, 0.5
GAUSSIAN = oracle.gaussian_mixture([1.0], [[MEAN]], [STD])


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def found():
    with jax.enable_x64(True):
        return sampler_order.measured(noise.rectified(), (20, 40, 80), (1e-3, 1e-7), GAUSSIAN, 8)


def falling(power, factor=1.0):
    """What `measured` gives of a solver whose error falls as calls to that power."""
    nfe = np.array([10.0, 20, 40, 80, 160])
    return {"nfe": nfe.tolist(), "error": (factor * nfe**-power).tolist()}


def test_the_order_is_a_slope():
    assert sampler_order.order(falling(2.0, 7.0)) == pytest.approx(2)
    coarse = falling(1.5)
    coarse["error"][0] = 100.0  # far from the limit; not fitted
    assert sampler_order.order(coarse) == pytest.approx(1.5)


def test_calls_are_counted(found):
    calls = {"Euler": 1, "Heun": 2, "DPM-Solver++(2M)": 1, "RK4": 4}
    for name, times in calls.items():
        assert found[name]["nfe"] == [20 * times, 40 * times, 80 * times]
    few, many = found["adaptive (Tsit5)"]["nfe"]
    assert 1 < few < many


def test_euler_is_off_by_its_closed_form(found):
    # On x_t = (1 - t) x_0 + t eps a step multiplies x - mean by 1 - h d log std / dt, and the mean is carried exactly.
    t = np.linspace(0.9, 0.3, 21)
    std = lambda t: np.sqrt((1 - t) ** 2 * STD**2 + t**2)  # noqa: E731
    rate = lambda t: (t - (1 - t) * STD**2) / std(t) ** 2  # noqa: E731
    factor = np.prod(1 - (t[:-1] - t[1:]) * rate(t[:-1])) - std(0.3) / std(0.9)
    x = np.asarray(GAUSSIAN.sample(jax.random.key(0), 8)) * 0.1
    x = x + 0.9 * np.asarray(jax.random.normal(jax.random.key(1), x.shape)) - 0.1 * MEAN
    assert found["Euler"]["error"][0] == pytest.approx(abs(factor) * np.sqrt(np.mean(x**2)) / 0.7, rel=1e-6)


def test_orders_on_one_gaussian(found):
    # DPM-Solver++ takes its first and its last step at first order, whose share falls with the steps.
    for name, want in (("Euler", 1), ("Heun", 2), ("RK4", 4)):
        assert sampler_order.order(found[name]) == pytest.approx(want, abs=0.15), name
    assert found["DPM-Solver++(2M)"]["error"][-1] < found["Euler"]["error"][-1] / 5
    assert found["adaptive (Tsit5)"]["error"][1] < 1e-6 < found["adaptive (Tsit5)"]["error"][0]


def test_rk4_integrates_a_cubic_exactly():
    class Field:
        velocity = None

    def field(x, t):
        one = Field()
        one.velocity = 4 * t**3 + 0 * x
        return one

    out = sampler_order.rk4(field, None, jnp.ones((1, 1)), np.array([1.0, 0.5, 0.0]))
    np.testing.assert_allclose(out.x, 0, atol=1e-12)
    assert int(out.nfe) == 8


def points(**powers):
    """Points with the published orders, but for those given."""
    orders = sampler_order.ORDERS | powers
    one = {name: falling(power) for name, power in orders.items()} | {"adaptive (Tsit5)": falling(5)}
    return {"rectified": one, "vp": one}


def test_rows_turn_with_the_points():
    rows = sampler_order.rows(points())
    assert len(rows) == 8 and {row["verdict"] for row in rows} == {verdict.REPRODUCED}
    assert [row["ours"] for row in rows[:4]] == pytest.approx([1.00, 2.02, 2.02, 4.01])
    bent = sampler_order.rows(points(Heun=1.0))
    wrong = [row["what"] for row in bent if row["verdict"] == verdict.DIFFERS]
    assert wrong == ["order of Heun, rectified", "order of Heun, vp"]


def test_a_panel_a_process_with_all_solvers():
    pytest.importorskip("matplotlib")
    figure = sampler_order.draw(json.loads(json.dumps(points())))
    assert len(figure.axes) == 2 and all(axis.get_xlabel() for axis in figure.axes) and figure.axes[0].get_ylabel()
    for axis in figure.axes:
        assert [line.get_label().split(", order")[0] for line in axis.lines] == list(sampler_order.STYLES)
        assert axis.get_xscale() == axis.get_yscale() == "log"
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
    assert len(looks) == 5 and "order 2.02" in figure.axes[0].lines[1].get_label()


def test_nothing_is_trained():
    assert sampler_order.runs("smoke") == sampler_order.runs("full") == {} and sampler_order.FULL is None
