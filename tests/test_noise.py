"""Laws of every process; a new one is a line in PROCESSES."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise

PROCESSES = {
    "rectified": noise.rectified(),
    "trigonometric": noise.trigonometric(),
    "vp": noise.vp(),
    "vp, constant beta": noise.vp(3.0, 3.0),
    "sub_vp": noise.sub_vp(),
    "ve": noise.ve(),
    "cosine": noise.cosine(),
    "edm": noise.edm(),
    "heat": noise.heat(lambda t: 3 * t**1.5),
    "pair": noise.pair(lambda t: jnp.cos(t * jnp.pi / 2), lambda t: jnp.sin(t * jnp.pi / 2)),
    "discrete": noise.discrete(noise.alpha_bar(num_steps=10, beta_end=0.5)),
}
T = np.linspace(0.053, 0.953, 7)  # none of them on a step of the discrete one, where it has a corner


@pytest.fixture(params=PROCESSES)
def process(request):
    with jax.enable_x64(True):
        yield PROCESSES[request.param]


@pytest.mark.parametrize("name", ["alpha", "sigma", "variance"])
def test_derivatives_are_difference_quotients(process, name):
    function, h = getattr(process, name), 1e-5
    quotient = (function(T + h) - function(T - h)) / (2 * h)
    np.testing.assert_allclose(getattr(process, f"d_{name}")(T), quotient, rtol=1e-6)


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
    np.testing.assert_allclose(
        process.log_snr(T), 2 * np.log(process.alpha(T) / process.sigma(T)), rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(process.time(process.log_snr(T)), T, rtol=1e-10)


@pytest.mark.parametrize("function", ["alpha", "sigma", "d_alpha", "d_variance", "d_sigma", "f", "g", "log_snr"])
def test_scalars_batches_integers_and_transformations(process, function):
    function = getattr(process, function)
    batch = function(T)
    assert batch.shape == T.shape and function(float(T[2])).shape == ()
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(T), batch, rtol=1e-10)
    np.testing.assert_allclose(function(float(T[2])), batch[2], rtol=1e-10)
    assert function(1).dtype == batch.dtype


def test_the_noise_end_is_the_prior(process):
    # What is left of the signal is small beside the noise, whose deviation is the prior's.
    np.testing.assert_allclose(process.sigma(process.t_max), process.prior_std, rtol=0.03)
    assert process.alpha(process.t_max) < 0.4 * process.prior_std


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


def test_trigonometric_ends_in_float32():
    process, ends = noise.trigonometric(), jnp.array([0.0, 1.0])
    np.testing.assert_array_equal(process.alpha(ends), [1, 0])
    np.testing.assert_array_equal(process.sigma(ends), [0, 1])
    np.testing.assert_array_equal(process.log_snr(ends), [np.inf, -np.inf])
    np.testing.assert_array_equal(process.time(jnp.array([np.inf, -np.inf])), ends)
    np.testing.assert_allclose(process.f(ends), [0, -np.inf], atol=1e-6)
    np.testing.assert_array_equal(process.g(ends), [0, np.inf])


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


SONG = {  # beta or sigma written out, in float64 numpy: (drift, diffusion) of dx = f x dt + g dw
    "vp": lambda t: (-(0.1 + 19.9 * t) / 2, np.sqrt(0.1 + 19.9 * t)),
    "sub_vp": lambda t: (
        -(0.1 + 19.9 * t) / 2,
        np.sqrt(-(0.1 + 19.9 * t) * np.expm1(-2 * (0.1 * t + 19.9 * t**2 / 2))),
    ),
    "ve": lambda t: (0 * t, 0.01 * 5000.0**t * np.sqrt(2 * np.log(5000.0))),
    "edm": lambda t: (0 * t, np.sqrt(2 * t) * 80.0),
    "heat": lambda t: (0 * t, np.sqrt(2 * 3 * t**1.5 * 4.5 * t**0.5)),
}


@pytest.mark.parametrize("name", SONG)
def test_drift_and_diffusion_are_the_papers_in_float32_at_both_ends(name):
    # Song et al. 2021, appendices B and C; sigma = t of EDM in units of 80.
    t = np.array([0, 1e-5, 1e-3, 0.3, 1])
    f, g = SONG[name](t)
    np.testing.assert_allclose(PROCESSES[name].f(np.float32(t)), f, rtol=2e-5, atol=1e-9)
    np.testing.assert_allclose(PROCESSES[name].g(np.float32(t)), g, rtol=2e-5, atol=1e-9)


def test_cosine_is_that_of_nichol_and_dhariwal():
    t = np.array([0, 1e-5, 0.2, 0.7, 0.999])
    f = lambda t: np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2  # noqa: E731
    process, bar = noise.cosine(), f(t) / f(0)
    np.testing.assert_allclose(process.alpha(np.float32(t)) ** 2, bar, rtol=1e-4)
    np.testing.assert_allclose(process.variance(np.float32(t)), 1 - bar, rtol=1e-4)
    assert process.alpha(1.0) == 0 and process.sigma(0.0) == 0 and process.f(1.0) == -np.inf
    np.testing.assert_allclose(process.f(0.0), -np.pi / 2 / 1.008 * np.tan(0.008 / 1.008 * np.pi / 2), rtol=1e-4)


def test_vp_keeps_its_small_variance_in_float32():
    # 1 - exp(-1e-6) written out loses half its digits in float32; expm1 does not.
    np.testing.assert_allclose(noise.vp().variance(jnp.float32(1e-5)), 1.000995e-6 - 5e-13, rtol=1e-5)


def test_expand_adds_the_axes_of_x():
    x = jnp.zeros((3, 4, 5))
    assert noise.expand(jnp.ones(3), x).shape == (3, 1, 1) and noise.expand(2.0, x).shape == ()
