"""Laws of every process; a new one is a line in PROCESSES."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise

PROCESSES = {"rectified": noise.rectified(), "vp": noise.vp(), "vp, constant beta": noise.vp(3.0, 3.0)}
T = np.linspace(0.05, 0.95, 7)


@pytest.fixture(params=PROCESSES)
def process(request):
    with jax.enable_x64(True):
        yield PROCESSES[request.param]


@pytest.mark.parametrize("name", ["alpha", "sigma", "variance"])
def test_derivatives_are_difference_quotients(process, name):
    function, h = getattr(process, name), 1e-5
    quotient = (function(T + h) - function(T - h)) / (2 * h)
    np.testing.assert_allclose(getattr(process, f"d_{name}")(T), quotient, rtol=1e-7)


def test_the_sde_carries_the_stated_mean_and_variance(process):
    # alpha' = f alpha; and the variance of dx = f x dt + g dW obeys Fokker-Planck's V' = 2 f V + g^2.
    np.testing.assert_allclose(process.f(T) * process.alpha(T), process.d_alpha(T), rtol=1e-10)
    variance = process.variance(T)
    np.testing.assert_allclose(2 * process.f(T) * variance + process.g(T) ** 2, process.d_variance(T), rtol=1e-10)


def test_exact_forms_agree_with_the_derived_ones(process):
    derived = process._replace(exact_alpha=None, exact_sigma=None, exact_time=None)
    for name in ("alpha", "sigma", "d_alpha", "d_sigma"):
        np.testing.assert_allclose(getattr(process, name)(T), getattr(derived, name)(T), rtol=1e-10)
    log_snr = process.log_snr(T)
    np.testing.assert_allclose(derived.time(log_snr), process.time(log_snr), rtol=1e-10)


def test_log_snr_falls_and_time_inverts_it(process):
    assert np.all(np.diff(process.log_snr(T)) < 0)
    np.testing.assert_allclose(process.log_snr(T), np.log(process.alpha(T) ** 2 / process.sigma(T) ** 2), rtol=1e-10)
    np.testing.assert_allclose(process.time(process.log_snr(T)), T, rtol=1e-10)


@pytest.mark.parametrize("function", ["alpha", "sigma", "d_alpha", "d_variance", "d_sigma", "f", "g", "log_snr"])
def test_scalars_batches_integers_and_transformations(process, function):
    function = getattr(process, function)
    batch = function(T)
    assert batch.shape == T.shape and function(float(T[2])).shape == ()
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(T), batch, rtol=1e-10)
    np.testing.assert_allclose(function(float(T[2])), batch[2], rtol=1e-10)
    assert function(1).dtype == batch.dtype


def test_the_prior_has_the_stated_deviation(process):
    draws = process._replace(prior_std=3.0).prior(jax.random.key(0), (20000,))
    np.testing.assert_allclose(draws.std(), 3.0, rtol=0.03)


def test_rectified_ends_are_exact_in_float32():
    process = noise.rectified()
    ends = jnp.array([0.0, 1.0])
    np.testing.assert_array_equal(process.alpha(ends), [1, 0])
    np.testing.assert_array_equal(process.sigma(ends), [0, 1])
    np.testing.assert_array_equal(process.d_alpha(ends), [-1, -1])
    np.testing.assert_array_equal(process.d_sigma(ends), [1, 1])
    np.testing.assert_array_equal(process.log_snr(ends), [np.inf, -np.inf])
    np.testing.assert_array_equal(process.time(jnp.array([np.inf, -np.inf])), ends)


def test_rectified_drift_and_diffusion_closed_form():
    t = jnp.asarray(T)
    np.testing.assert_allclose(noise.rectified().f(t), -1 / (1 - t), rtol=1e-5)
    np.testing.assert_allclose(noise.rectified().g(t) ** 2, 2 * t / (1 - t), rtol=1e-5)
    assert noise.rectified().g(0.0) == 0


def test_vp_drift_and_diffusion_closed_form():
    # dx = -beta x / 2 dt + sqrt(beta) dW, beta linear from .1 to 20 (Song et al. 2021); at t = 0 too.
    t = jnp.linspace(0, 1, 9)
    beta = 0.1 + t * 19.9
    process = noise.vp()
    np.testing.assert_allclose(process.f(t), -beta / 2, rtol=1e-5)
    np.testing.assert_allclose(process.g(t) ** 2, beta, rtol=1e-5)
    np.testing.assert_allclose(process.alpha(t) ** 2 + process.sigma(t) ** 2, 1, rtol=1e-6)
    assert process.alpha(0) == 1 and process.sigma(0) == 0 and process.d_variance(0) == pytest.approx(0.1)


def test_vp_keeps_its_small_variance_in_float32():
    # 1 - exp(-1e-6) written out loses half its digits in float32; expm1 does not.
    np.testing.assert_allclose(noise.vp().variance(jnp.float32(1e-5)), 1.000995e-6 - 5e-13, rtol=1e-5)


def test_expand_adds_the_axes_of_x():
    x = jnp.zeros((3, 4, 5))
    assert noise.expand(jnp.ones(3), x).shape == (3, 1, 1) and noise.expand(2.0, x).shape == ()
