"""Inpainting of a correlated Gaussian, whose unknown coordinate has a known conditional law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, parameterize
from research.errors import UserError
from research.samplers import ddim, ddpm, dpm_solver_pp, euler_maruyama, inpainting, predictor_corrector

PROCESS = noise.discrete(noise.alpha_bar())
MEAN, COVARIANCE = np.array([0.5, -0.3]), np.array([[1.0, 0.8], [0.8, 1.0]])
WIDTHS, AXES = np.linalg.eigh(COVARIANCE)
KNOWN, MASK = np.array([1.5, np.nan]), np.array([True, False])
CONDITIONAL = -0.3 + 0.8 * (1.5 - 0.5)


def field(x, t):
    """The exact field of N(MEAN, COVARIANCE), t []."""
    alpha, sigma = PROCESS.alpha(t), PROCESS.sigma(t)
    score = -(((x - alpha * MEAN) @ AXES) / (alpha**2 * WIDTHS + sigma**2)) @ AXES.T
    return parameterize.from_eps(-sigma * score, x, t, PROCESS)


def draw(sampler=ddpm, steps=40, n=1000, **options):
    x = jax.random.normal(jax.random.key(0), (n, 2))
    options = {"known": jnp.broadcast_to(KNOWN, (n, 2)), "mask": MASK} | options
    times = noise.times(PROCESS, steps)
    return jax.jit(lambda key: inpainting.sample(sampler.sample, field, PROCESS, x, times, key, **options))(
        jax.random.key(1)
    )


def test_resampling_brings_the_unknown_to_the_conditional_mean():
    # 2000 draws know the mean to .013.
    once, often = (draw(n=2000, resample=r, variance="beta") for r in (1, 10))
    assert abs(float(once.x[:, 1].mean()) - CONDITIONAL) > 0.2
    assert abs(float(often.x[:, 1].mean()) - CONDITIONAL) < 0.08
    np.testing.assert_allclose(often.x[:, 1].std(), 0.6, atol=0.06)
    assert once.nfe == 40 and often.nfe == 400


@pytest.mark.parametrize(
    ("sampler", "options", "calls"),
    [
        (ddpm, {"variance": "beta"}, 1),
        (ddim, {}, 1),
        (ddim, {"eta": 1.0}, 1),
        (dpm_solver_pp, {"sde": True}, 1),
        (euler_maruyama, {}, 1),
        (predictor_corrector, {}, 2),
    ],
    ids=str,
)
def test_known_entries_are_kept_by_every_sampler(sampler, options, calls):
    out = draw(sampler, steps=5, n=3, trajectory=True, resample=2, **options)
    np.testing.assert_array_equal(out.x[:, 0], 1.5)
    assert jnp.isfinite(out.trajectory).all()
    np.testing.assert_array_equal(out.trajectory[-1], out.x)
    assert out.trajectory.shape == (6, 3, 2) and out.nfe == 10 * calls


def test_nothing_known_is_the_sampler_itself_in_law():
    # Noise on all steps but the last: without it the variance would collapse.
    out = draw(mask=np.array([False, False]), steps=100)
    np.testing.assert_allclose(jnp.cov(out.x.T), COVARIANCE, atol=0.15)
    np.testing.assert_allclose(out.x.mean(0), MEAN, atol=0.12)


def test_all_known_is_returned():
    known = jax.random.normal(jax.random.key(5), (3, 2))
    np.testing.assert_array_equal(draw(n=3, steps=3, known=known, mask=True).x, known)


def test_mistakes_are_said():
    with pytest.raises(UserError, match="resample=0"):
        draw(resample=0)
    with pytest.raises(UserError, match="give it a key"):
        inpainting.sample(
            ddpm.sample, field, PROCESS, jnp.ones((1, 2)), [0.9, 0.1], None, known=jnp.ones((1, 2)), mask=True
        )
