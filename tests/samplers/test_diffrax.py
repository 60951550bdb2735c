"""The adaptive sampler: its tolerance, its count of calls, its own steps per sample, and running out of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle
from research.errors import UserError
from research.samplers.diffrax import SOLVERS, sample

PAIR = oracle.gaussian_pair(1.0, 0.2, 0.0, 1.0)
PROCESS, TIMES = noise.rectified(), (1.0, 0.4, 0.0)
X = jnp.array([[0.0], [1.0], [-3.0]])


def draw(x, field=None, **options):
    return sample(field or PAIR.field(), PROCESS, x, TIMES, **options)


@pytest.mark.parametrize("solver", SOLVERS)
def test_error_follows_the_tolerance(solver):
    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(X), float)
        flow = jax.jit(lambda tol: draw(x, solver=solver, rtol=tol, atol=tol))
        loose, tight = flow(1e-3), flow(1e-8)
        errors = [float(abs(out.x - PAIR.flow_map(x, 1.0, 0.0)).max()) for out in (loose, tight)]
    assert errors[1] < 1e-7 < errors[0] < 1e-2
    assert loose.nfe < tight.nfe


@pytest.mark.parametrize(
    ("solver", "tol", "per_sample"), [("tsit5", 1e-6, False), ("dopri5", 1e-3, False), ("tsit5", 1e-3, True)]
)
def test_nfe_is_the_number_of_calls(solver, tol, per_sample):
    # A narrow target makes the solver reject steps too, whose calls count.
    calls, pair = [], oracle.gaussian_pair(1.0, 0.01, 0.0, 1.0)

    def field(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return pair.field()(x, t)

    x = X[2:] if per_sample else X  # under vmap all samples are called until the last is done: count one
    nfe = jax.jit(lambda x: draw(x, field, solver=solver, rtol=tol, atol=tol, per_sample=per_sample).nfe)(x)
    jax.effects_barrier()
    assert len(calls) == nfe


def test_a_straight_flow_at_even_speed_takes_few_calls():
    # Data at one point: every path is straight, which the solver notices however tight the tolerance.
    point = oracle.gaussian_pair(2.0, 1e-4, 0.0, 1.0)
    out = sample(point.field(), PROCESS, X, (1.0, 0.1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(out.x, 1.8 + 0.1 * X, atol=1e-4)
    assert out.nfe <= 1 + 6 * 6


def test_each_sample_can_have_its_own_steps():
    solo = jax.jit(draw)
    alone = [solo(x[None]) for x in X]
    own = draw(X, per_sample=True, trajectory=True)
    np.testing.assert_allclose(own.x, jnp.concatenate([a.x for a in alone]), rtol=1e-5)
    np.testing.assert_allclose(own.nfe, np.mean([a.nfe for a in alone]))
    assert own.trajectory.shape == (3, 3, 1)
    np.testing.assert_allclose(own.trajectory[1], PAIR.flow_map(X, 1.0, 0.4), atol=1e-3)
    assert len({float(a.nfe) for a in alone}) > 1


@pytest.mark.parametrize("per_sample", [False, True])
def test_running_out_of_steps_is_said(per_sample):
    with pytest.raises(UserError, match="max_steps=2"):
        draw(X, max_steps=2, per_sample=per_sample)
    out = jax.jit(lambda x: draw(x, max_steps=2, per_sample=per_sample))(X)
    assert jnp.isnan(out.x).all() and jnp.isnan(out.nfe)


def test_slopes_that_are_not_finite_end_it_soon():
    calls = []

    def broken(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return jax.tree.map(lambda a: jnp.where(t < 0.5, jnp.nan, a), PAIR.field()(x, t))

    out = jax.jit(lambda x: draw(x, broken))(X)
    jax.effects_barrier()
    assert jnp.isnan(out.x).all() and jnp.isnan(out.nfe) and len(calls) < 600


def test_an_unknown_solver_is_named():
    with pytest.raises(UserError, match=r"solver='rk45'.*tsit5, dopri5"):
        draw(X, solver="rk45")
