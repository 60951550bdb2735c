"""Diffusion from an ODE: the equations hold for the exact pair of field and density, and only for that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import continuity, noise, oracle

DATA = {
    "gaussian": oracle.gaussian_mixture([1.0], [[0.5, -0.2]], [0.7]),
    "mixture": oracle.gaussian_mixture([1.0, 2.0], [[-1.0, 0.0], [1.0, 0.5]], [0.5, 0.3]),
    "dirac": oracle.dirac([[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]]),
}
HEAT = {"heat": noise.heat(lambda t: 3.0 * t), "nonlinear": noise.heat(lambda t: jnp.sinh(2.0 * t) + t**2)}
PROCESSES = HEAT | {"vp": noise.vp(), "rectified": noise.rectified()}
X = np.array([[0.3, -0.4], [1.0, 0.2], [-1.5, 0.7], [0.0, 2.5]])
T = np.array([0.2, 0.4, 0.6, 0.9])


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def density(data, process):
    return lambda x, t: DATA[data].log_prob(x, t, PROCESSES[process])


def reading(data, process, name):
    field = DATA[data].field(PROCESSES[process])
    return lambda x, t: getattr(field(x, t), name)


def sde(process):
    """The drift f x and the diffusion g of a process."""
    return lambda x, t: noise.expand(process.f(t), x) * x, process.g


def assert_zero(residual, wrong):
    np.testing.assert_allclose(residual, 0, atol=1e-8)
    assert np.abs(wrong).min() > 1e-3


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("data", DATA)
def test_the_probability_flow_carries_the_density(data, process):
    velocity, log_prob, score = (
        reading(data, process, "velocity"),
        density(data, process),
        reading(data, process, "score"),
    )
    drift, g = sde(PROCESSES[process])
    # The factor 1/2 forgotten: f x - g^2 score.
    double = lambda x, t: drift(x, t) - noise.expand(g(t) ** 2, x) * score(x, t)  # noqa: E731
    assert_zero(
        *(
            jax.jit(lambda x, t, v=v: continuity.continuity_residual(v, log_prob, x, t))(X, T)
            for v in (velocity, double)
        )
    )


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("data", DATA)
def test_the_sde_has_the_same_density(data, process):
    log_prob, (drift, g) = density(data, process), sde(PROCESSES[process])
    residual = jax.jit(
        lambda x, t, scale: continuity.fokker_planck_residual(log_prob, drift, lambda t: scale * g(t), x, t)
    )
    assert_zero(residual(X, T, 1.0), residual(X, T, np.sqrt(0.5)))


@pytest.mark.parametrize("process", HEAT)
@pytest.mark.parametrize("data", DATA)
def test_heat(data, process):
    log_prob, of = density(data, process), PROCESSES[process]
    residual = jax.jit(
        lambda x, t, scale: continuity.heat_residual(log_prob, lambda t: scale * of.sigma(t) * of.d_sigma(t), x, t)
    )
    assert_zero(residual(X, T, 1.0), residual(X, T, 2.0))
    velocity = continuity.heat_velocity(reading(data, process, "score"), of)
    np.testing.assert_allclose(velocity(X, T), reading(data, process, "velocity")(X, T), rtol=1e-12)


def test_residuals_by_hand():
    # log p = -a |x|^2 t and f = b x in two dimensions, at one time for all.
    a, b, g = 0.7, 1.3, 0.4
    log_prob, square = lambda x, t: -a * t * jnp.sum(x**2, axis=1), np.sum(X**2, axis=1)
    carried = -a * square - 2 * a * b * 0.5 * square + 2 * b
    spread = -4 * a * 0.5 + 4 * (a * 0.5) ** 2 * square  # laplacian p / p
    drift = lambda x, t: b * x  # noqa: E731
    np.testing.assert_allclose(continuity.continuity_residual(drift, log_prob, X, 0.5), carried, rtol=1e-12)
    np.testing.assert_allclose(continuity.heat_residual(log_prob, lambda t: 6 * t, X, 0.5), -a * square - 3 * spread)
    got = continuity.fokker_planck_residual(log_prob, drift, lambda t: g + 0 * t, X, 0.5)
    np.testing.assert_allclose(got, carried - g**2 / 2 * spread, rtol=1e-12)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("data", ["mixture", "dirac"])
def test_carrying_x_and_its_density_there_and_back(data, process):
    velocity, log_prob = reading(data, process, "velocity"), density(data, process)

    @jax.jit
    def both(x):
        there, log_p = continuity.carry(velocity, x, 0.2, 0.8, log_prob(x, 0.2), tolerance=1e-10)
        back, change = continuity.carry(velocity, there, 0.8, 0.2, tolerance=1e-10)
        return there, log_p, back, change

    there, log_p, back, change = both(X)
    np.testing.assert_allclose(log_p, log_prob(there, 0.8), atol=1e-7)
    np.testing.assert_allclose(back, X, atol=1e-7)
    np.testing.assert_allclose(change, log_prob(X, 0.2) - log_p, atol=1e-7)
    assert np.abs(there - X).max() > 0.1 and np.abs(change).max() > 0.1


def test_heat_spreads_points_as_its_gaussian_does():
    # One point at m: every path is a straight line away from it, as long as sigma.
    process, data = HEAT["nonlinear"], oracle.dirac([[1.0, -1.0]])
    velocity = continuity.heat_velocity(lambda x, t: data.field(process)(x, t).score, process)
    there, change = continuity.carry(velocity, jnp.asarray(X), 0.3, 0.9, tolerance=1e-10)
    stretch = process.sigma(0.9) / process.sigma(0.3)
    np.testing.assert_allclose(there, 1 * np.array([1, -1]) + stretch * (X - [1, -1]), rtol=1e-7)
    np.testing.assert_allclose(change, -2 * np.log(stretch), rtol=1e-7)
