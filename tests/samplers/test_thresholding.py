"""Thresholding: x0 within its bound, and the other readings in line with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, parameterize, samplers
from research.samplers.thresholding import dynamic, static

PROCESS = noise.discrete(noise.alpha_bar())
X = 3 * jax.random.normal(jax.random.key(0), (4, 5, 2))
T = jnp.array([0.1, 0.4, 0.7, 1.0])
FIELD = parameterize.field(lambda x, t: 0.3 * x, PROCESS, "eps")


def assert_consistent(read, x, t):
    alpha, sigma, d_alpha, d_sigma = (
        noise.expand(c(t), x) for c in (PROCESS.alpha, PROCESS.sigma, PROCESS.d_alpha, PROCESS.d_sigma)
    )
    np.testing.assert_allclose(alpha * read.x0 + sigma * read.eps, x, atol=1e-4)
    np.testing.assert_allclose(-sigma * read.score, read.eps, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(d_alpha * read.x0 + d_sigma * read.eps, read.velocity, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("t", [0.4, T], ids=["scalar", "batch"])
def test_static_clips_and_rebuilds(t):
    old, read = FIELD(X, t), static(FIELD, PROCESS, bound=1.5)(X, t)
    np.testing.assert_array_equal(read.x0, np.clip(old.x0, -1.5, 1.5))
    assert (read.x0 != old.x0).any() and (read.eps != old.eps).any()
    assert_consistent(read, X, t)


def test_keep_eps_leaves_the_others():
    old, read = FIELD(X, T), static(FIELD, PROCESS, keep_eps=True)(X, T)
    np.testing.assert_array_equal(read.x0, np.clip(old.x0, -1, 1))
    for got, want in zip(read[1:], old[1:]):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("t", [0.4, T], ids=["scalar", "batch"])
def test_dynamic_scales_each_sample_by_its_own_quantile(t):
    old, read = FIELD(X, t), dynamic(FIELD, PROCESS, quantile=0.8, bound=1.0)(X, t)
    s = np.maximum(np.quantile(np.abs(np.asarray(old.x0)).reshape(4, -1), 0.8, axis=1), 1)[:, None, None]
    np.testing.assert_allclose(read.x0, np.clip(old.x0, -s, s) / s, rtol=1e-5)
    assert jnp.abs(read.x0).max() <= 1 + 1e-6
    assert_consistent(read, X, t)


def test_what_is_within_the_bound_stays():
    for limit in (static(FIELD, PROCESS, bound=1e6), dynamic(FIELD, PROCESS, bound=1e6)):
        for got, want in zip(limit(X, 0.4), FIELD(X, 0.4)):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_readings_stay_finite_without_noise():
    read = static(FIELD, PROCESS)(X, 0.0)
    np.testing.assert_array_equal(read.eps, FIELD(X, 0.0).eps)
    assert jnp.isfinite(read.velocity).all() and jnp.abs(read.x0).max() <= 1
    half = jnp.array([0.0, 0.0, 0.5, 0.5])
    np.testing.assert_array_equal(dynamic(FIELD, PROCESS)(X, half).eps[:2], FIELD(X, half).eps[:2])


def test_samples_are_bounded():
    out = samplers.find("ddpm")(static(FIELD, PROCESS), PROCESS, X, noise.times(PROCESS, 10), jax.random.key(0))
    assert jnp.abs(out.x).max() <= 1
