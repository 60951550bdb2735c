"""Langevin steps: their size, the law they settle in, and the levels they visit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle, samplers
from research.errors import UserError
from research.samplers.predictor_corrector import sample

PROCESS = noise.ve(sigma_max=5.0)
MIXTURE = oracle.gaussian_mixture([1.0], [[0.7]], [0.5])
FIELD, T = MIXTURE.field(PROCESS), 0.6
VAR = float(0.25 + PROCESS.variance(T))


def stay(x, steps, snr, field=FIELD, process=PROCESS, key=0):
    return sample(
        field, process, x, [T, T - 1e-3], jax.random.key(key), predictor="none", corrector_steps=steps, snr=snr
    )


def test_a_step_is_that_of_algorithm_5():
    x, key, process = jnp.array([[0.3, -0.4], [2.0, 1.0]]), jax.random.key(2), noise.vp()
    field = oracle.gaussian_mixture([1.0], [[0.7, 0.0]], [0.5]).field(process)
    score, z = np.asarray(field(x, T).score), np.asarray(samplers.normal(key, 0, x))
    alpha = float(process.alpha(T) / process.alpha(T - 0.01)) ** 2  # 1 - beta of this step
    size = 2 * alpha * (0.2 * np.linalg.norm(z, axis=1).mean() / np.linalg.norm(score, axis=1).mean()) ** 2
    got = sample(field, process, x, [T, T - 0.01], key, predictor="none", snr=0.2)
    np.testing.assert_allclose(got.x, x + size * score + np.sqrt(2 * size) * z, rtol=1e-4)
    # Algorithm 3's predictor, from there.
    after, beta = sample(field, process, x, [T, T - 0.01], key, snr=0.2), 1 - alpha
    want = (2 - (1 - beta) ** 0.5) * got.x + beta * field(got.x, T).score
    np.testing.assert_allclose(after.x, want, rtol=1e-4)


@pytest.mark.parametrize("snr", [0.05, 0.4])
def test_the_corrector_keeps_a_marginal_and_finds_it(snr):
    # |z| / |score| is the marginal's std, so a step has size 2 snr^2 VAR, and its law settles at VAR / (1 - snr^2).
    n = 8000
    x = 0.7 + VAR**0.5 * jax.random.normal(jax.random.key(1), (n, 1))
    kept = stay(x, 30, snr).x
    want = VAR / (1 - snr**2)
    np.testing.assert_allclose(kept.mean(), 0.7, atol=4 * (want / n) ** 0.5)
    np.testing.assert_allclose(kept.var(), want, rtol=4 * (2 / n) ** 0.5 + (0.01 if snr < 0.1 else 0))
    if snr > 0.1:
        found = stay(0 * x + 3, 150, snr).x  # far off, where scores are long, steps are small
        np.testing.assert_allclose([found.mean(), found.var()], [0.7, want], atol=0.05)


def test_annealed_langevin_dynamics_alone_samples():
    two = oracle.gaussian_mixture([1.0, 1.0], [[-1.0], [1.0]], [0.3, 0.3])
    x, times = PROCESS.prior(jax.random.key(0), (2000, 1)), noise.times(PROCESS, 60, end=0.0)
    out = sample(two.field(PROCESS), PROCESS, x, times, jax.random.key(1), predictor="none", corrector_steps=5)
    assert abs(float((out.x > 0).mean()) - 0.5) < 0.06
    np.testing.assert_allclose(jnp.abs(out.x).mean(), 1, atol=0.05)
    assert out.nfe == 300


def test_the_corrector_mends_a_coarse_predictor():
    process = noise.vp(t_min=1e-3)
    x, times = jax.random.normal(jax.random.key(0), (8000, 1)), noise.times(process, 20)
    draws = [
        sample(MIXTURE.field(process), process, x, times, jax.random.key(1), corrector_steps=c, snr=0.1) for c in (0, 8)
    ]
    without, mended = (abs(float(d.x.std()) - 0.5) for d in draws)
    assert mended < without / 3


def test_an_unknown_predictor_is_named():
    with pytest.raises(UserError, match=r"predictor='euler'.*reverse_diffusion, ancestral, none"):
        sample(FIELD, PROCESS, jnp.ones((1, 1)), [0.9, 0.1], jax.random.key(0), predictor="euler")
