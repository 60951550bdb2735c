"""The reverse SDE by diffrax: its law, its count of calls, its tolerance, and its mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle
from research.errors import UserError
from research.samplers.reverse_sde import sample

PROCESS, N = noise.vp(t_min=1e-3), 1500
GAUSSIAN = oracle.gaussian_mixture([1.0], [[0.7]], [0.5])
FIELD = GAUSSIAN.field(PROCESS)
X = jax.random.normal(jax.random.key(0), (N, 1))
TIMES = noise.times(PROCESS, 40)


def draw(field=FIELD, x=X, times=TIMES, **options):
    return jax.jit(lambda key: sample(field, PROCESS, x, times, key, **options))(jax.random.key(1))


@pytest.mark.parametrize(
    "options",
    [{"lam": 0.5, "solver": "heun", "trajectory": True}, {"solver": "shark"}],
    ids=str,
)
def test_the_law_is_exact_within_error_bars_and_nfe_counts_the_calls(options):
    calls = []

    def field(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return FIELD(x, t)

    out = draw(field, **options)
    jax.effects_barrier()
    assert len(calls) == out.nfe
    var = float(PROCESS.alpha(1e-3) ** 2 * 0.25 + PROCESS.variance(1e-3))
    np.testing.assert_allclose(out.x.mean(), 0.7, atol=4 * (var / N) ** 0.5)
    np.testing.assert_allclose(out.x.var(), var, rtol=4 * (2 / N) ** 0.5)
    if "trajectory" in options:
        t = float(TIMES[20])
        want = PROCESS.alpha(t) ** 2 * 0.25 + PROCESS.variance(t)
        np.testing.assert_allclose(out.trajectory[20].var(), want, rtol=4 * (2 / N) ** 0.5)
        np.testing.assert_array_equal(out.trajectory[0], X)


def test_a_tighter_tolerance_takes_more_calls_and_follows_one_path():
    # One key is one Brownian path, whatever the steps: solutions of one path come together.
    calls = []

    @jax.jit
    def path(tol):
        def field(x, t):
            jax.debug.callback(lambda: calls.append(1))
            return FIELD(x, t)

        key = jax.random.key(1)
        return sample(field, PROCESS, X[:8], [0.9, 0.1], key, solver="heun", adaptive=True, sde_rtol=tol, sde_atol=tol)

    loose, tight, tighter = (path(tol) for tol in (1e-1, 1e-2, 1e-3))
    jax.effects_barrier()
    assert len(calls) == loose.nfe + tight.nfe + tighter.nfe  # rejected steps too
    assert loose.nfe < tight.nfe < tighter.nfe
    assert jnp.abs(tight.x - tighter.x).mean() < jnp.abs(loose.x - tighter.x).mean() < 0.2


def test_without_noise_it_is_the_probability_flow():
    got = draw(x=X[:8], times=np.linspace(1, 0.1, 101), lam=0.0, solver="heun")
    np.testing.assert_allclose(got.x, GAUSSIAN.flow_map(X[:8], 1.0, 0.1, PROCESS), atol=2e-3)


def test_a_last_step_that_stands_still_is_left_out():
    # As a grid of T steps that ends at step 1 has it.
    process = noise.discrete(noise.alpha_bar(num_steps=5, beta_start=0.1, beta_end=0.6))
    field, times = GAUSSIAN.field(process), noise.times(process, 5, end=1 / 5)
    assert times[-1] == times[-2]
    draw = jax.jit(lambda key: [sample(field, process, X, t, key, solver="heun") for t in (times, times[:-1])])
    twice, once = draw(jax.random.key(1))
    np.testing.assert_array_equal(twice.x, once.x)
    assert jnp.isfinite(twice.x).all() and twice.nfe == once.nfe


def test_mistakes_are_said():
    with pytest.raises(UserError, match=r"solver='rk45'.*euler, heun, shark"):
        draw(solver="rk45")
    with pytest.raises(UserError, match="no error estimate"):
        draw(adaptive=True)
