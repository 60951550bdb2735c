"""Noise in steps: the tables of the papers, the process made of one, and the times at which samplers stop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise
from research.errors import UserError

LINEAR = noise.alpha_bar()
PROCESS = noise.discrete(LINEAR)


def betas(table):
    return 1 - table[1:] / table[:-1]


def test_the_tables_start_at_one_and_fall():
    for schedule in ("linear", "scaled_linear", "cosine", "sigmoid"):
        table = noise.alpha_bar(schedule, num_steps=100)
        assert table.shape == (101,) and table[0] == 1 and (np.diff(table) < 0).all() and table[-1] > 0


def test_betas_of_each_schedule():
    np.testing.assert_allclose(betas(LINEAR)[[0, 499, -1]], [1e-4, 1e-4 + 0.0199 * 499 / 999, 0.02], rtol=1e-9)
    scaled = betas(noise.alpha_bar("scaled_linear", beta_start=0.00085, beta_end=0.012))
    np.testing.assert_allclose(scaled[[0, -1]], [0.00085, 0.012], rtol=1e-9)
    np.testing.assert_allclose(np.diff(np.sqrt(scaled)), (0.012**0.5 - 0.00085**0.5) / 999, rtol=1e-6)
    sigmoid = betas(noise.alpha_bar("sigmoid", num_steps=3))
    np.testing.assert_allclose(sigmoid[1], (1e-4 + 0.02) / 2, rtol=1e-9)  # the middle of the ramp
    np.testing.assert_allclose(sigmoid[0], 1e-4 + 0.0199 / (1 + np.exp(6)), rtol=1e-9)
    cosine = betas(noise.alpha_bar("cosine"))
    assert cosine[-1] == pytest.approx(0.999) and (cosine <= 0.999 + 1e-12).all()
    # Where no beta is cut off, the table is the continuous process's.
    np.testing.assert_allclose(
        np.sqrt(noise.alpha_bar("cosine"))[[1, 500, 900]], noise.cosine().alpha(np.array([0.001, 0.5, 0.9])), rtol=1e-5
    )


def test_zero_terminal_snr_keeps_the_first_step_and_loses_the_last():
    table = noise.alpha_bar(zero_terminal_snr=True)
    assert table[-1] == 0 and table[0] == 1 and table[1] == pytest.approx(LINEAR[1])
    roots, old = np.sqrt(table[1:]), np.sqrt(LINEAR[1:])
    np.testing.assert_allclose((roots[1] - roots[500]) / roots[1], (old[1] - old[500]) / (old[1] - old[-1]), rtol=1e-9)


def test_the_process_is_the_table_at_its_steps_in_float32():
    t = jnp.arange(1001) / 1000
    np.testing.assert_allclose(PROCESS.alpha(t), np.sqrt(LINEAR), rtol=1e-6)
    np.testing.assert_allclose(PROCESS.sigma(t), np.sqrt(1 - LINEAR), rtol=1e-5)  # 1 - x in float32 would miss by 1e-3
    assert PROCESS.sigma(0.0) == 0 and PROCESS.alpha(0.0) == 1


def test_every_step_is_found_from_its_time():
    n = np.arange(1001)
    np.testing.assert_array_equal(noise.step(PROCESS, jnp.asarray(n / 1000, jnp.float32)), n)
    assert (np.int32(np.float32(n / 1000) * np.float32(1000)) < n).any()  # truncation would not


def test_an_euler_step_between_neighbours_is_the_difference_of_the_table():
    # alpha and sigma are linear in between, so t + dt x' is exact for fixed x0 and eps.
    x0, eps = 0.7, -1.3
    for n in (1, 2, 50, 501, 999, 1000):  # at the step itself the slope is the one towards the data
        t = np.float32(n / 1000)
        slope = PROCESS.d_alpha(t) * x0 + PROCESS.d_sigma(t) * eps
        x = PROCESS.alpha(t) * x0 + PROCESS.sigma(t) * eps - slope / 1000
        want = np.sqrt(LINEAR[n - 1]) * x0 + np.sqrt(1 - LINEAR[n - 1]) * eps
        np.testing.assert_allclose(x, want, rtol=1e-5, atol=1e-6)


SPACED = {  # ten steps as ten libraries count them
    "uniform": [1000, 900, 800, 700, 600, 500, 400, 300, 200, 100, 0],
    "leading": [901, 801, 701, 601, 501, 401, 301, 201, 101, 1, 0],
    "linspace": [1000, 889, 778, 667, 556, 445, 334, 223, 112, 1, 0],
}


@pytest.mark.parametrize("spacing", SPACED)
def test_steps_of_a_discrete_process(spacing):
    np.testing.assert_allclose(noise.times(PROCESS, 10, spacing), np.array(SPACED[spacing]) / 1000)
    stops = noise.times(PROCESS, 10, spacing, end=1 / 1000)
    assert stops[-1] == 1 / 1000 and len(stops) == 11
    np.testing.assert_allclose(noise.times(PROCESS, 1000, spacing) * 1000, np.arange(1000, -1, -1))


def test_offset_moves_leading_steps():
    np.testing.assert_allclose(noise.times(PROCESS, 10, "leading", offset=1)[[0, 9]] * 1000, [902, 2])


def test_quadratic_steps_are_even_in_the_root():
    roots = np.sqrt(noise.times(PROCESS, 10, "quadratic")[:-1] * 1000)
    np.testing.assert_allclose(np.diff(roots), (1 - 1000**0.5) / 9, atol=0.2)  # rounded to steps
    np.testing.assert_allclose(np.diff(np.sqrt(noise.times(noise.vp(), 8, "quadratic"))), -(1 - 1e-5**0.5) / 8)


@pytest.mark.parametrize("process", [noise.edm(), noise.vp(), PROCESS], ids=["edm", "vp", "discrete"])
def test_karras_and_log_snr_are_even_in_their_variable(process):
    with jax.enable_x64(True):
        for spacing, variable in (("karras", lambda l: np.exp(-l / 14)), ("log_snr", lambda l: l)):
            t = noise.times(process, 12, spacing)
            body = t if process.end is None else t[:-1]
            even = np.diff(variable(np.asarray(process.log_snr(body))))
            np.testing.assert_allclose(even, even.mean(), rtol=1e-6)
            assert t[0] == process.t_max and t[-1] == (process.t_min if process.end is None else 0)


def test_karras_is_the_papers_formula():
    i = np.arange(18)
    sigma = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7  # eq. 5
    t = noise.times(noise.edm(), 18, "karras")
    np.testing.assert_allclose(80 * t[:-1], sigma, rtol=1e-5)
    assert t[-1] == 0


def test_a_list_of_ones_own():
    np.testing.assert_allclose(noise.times(PROCESS, 7, [1000, 500, 20, 0]), [1, 0.5, 0.02, 0])
    np.testing.assert_allclose(noise.times(noise.vp(), 7, (0.9, 0.5, 1e-3)), [0.9, 0.5, 1e-3])


def test_one_step():
    np.testing.assert_array_equal(noise.times(PROCESS, 1), [1, 0])
    np.testing.assert_array_equal(noise.times(noise.edm(), 1, "karras"), [1, 0])
    np.testing.assert_array_equal(noise.times(noise.rectified(), 1), [1, 0])


MISTAKES = {
    "at least 1 step, not num_steps=0": lambda: noise.times(PROCESS, 0),
    "num_steps=1001 is more than the 1000": lambda: noise.times(PROCESS, 1001),
    "no spacing 'trailing'": lambda: noise.times(PROCESS, 10, "trailing"),
    "no spacing 'leading' of continuous times": lambda: noise.times(noise.vp(), 10, "leading"),
    "fall on the same of 1000 steps": lambda: noise.times(PROCESS, 900, "quadratic"),
    "karras spacing needs noise and signal": lambda: noise.times(noise.rectified(), 10, "karras"),
    "times must fall.*step 1000": lambda: noise.times(PROCESS, 10, [500, 600, 0]),
    r"times must fall.*t = 1.*\[1.5, 0.2\]": lambda: noise.times(noise.vp(), 10, [1.5, 0.2]),
    "end=-1 is where the last step goes: from 0 to 1 / 1000": lambda: noise.times(PROCESS, 10, end=-1),
    "end=0.5 is where the last step goes": lambda: noise.times(noise.edm(), 10, end=0.5),
    "offset=200 leads beyond the 1000": lambda: noise.times(PROCESS, 10, "leading", offset=200),
    "times must fall.*not 3": lambda: noise.times(PROCESS, 10, 3),
    r"times must fall.*not \['a', 'b'\]": lambda: noise.times(PROCESS, 10, ["a", "b"]),
    "s from 0 to below 1, not s=-1": lambda: noise.alpha_bar("cosine", s=-1),
    "whole number, not num_steps=10.5": lambda: noise.alpha_bar(num_steps=10.5),
    "no schedule 'linaer'.*'linear'": lambda: noise.alpha_bar("linaer"),
    "schedule needs at least 1 step": lambda: noise.alpha_bar(num_steps=0),
    "betas rise within 0 .. 1": lambda: noise.alpha_bar(beta_start=0.5, beta_end=0.1),
    "alpha_bar must be a list that starts at 1": lambda: noise.discrete([0.9, 0.5]),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes(message):
    with pytest.raises(UserError, match=message):
        MISTAKES[message]()
