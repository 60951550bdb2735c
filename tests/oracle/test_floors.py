"""The least loss: what the exact field has as a net, what no other field is below, and what it is in every kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle, parameterize

PROCESSES = {
    "rectified": noise.rectified(),
    "vp": noise.vp(),
    "edm": noise.edm(sigma_max=3.0),
    "discrete": noise.discrete(noise.alpha_bar("cosine", 10)),
}
DATA = {
    "gaussian": oracle.gaussian_mixture([1.0], [[0.5, -0.2]], [0.7]),
    "mixture": oracle.gaussian_mixture([1.0, 2.0], [[-1.0, 0.0], [1.0, 0.5]], [0.5, 0.2]),
    "dirac": oracle.dirac([[-1.0, 0.0], [1.0, 0.5], [0.0, 1.0]], [1.0, 2.0, 3.0]),
}
N = 20_000


def errors(data, process, t, kind, push=0.0):
    """Squared errors [N], a mean over coordinates, of the exact field, pushed by a constant, as a net of that kind."""
    key_x, key_eps = jax.random.split(jax.random.key(7))
    x0 = data.sample(key_x, N)
    eps = jax.random.normal(key_eps, x0.shape)
    alpha, sigma = process.alpha(t), process.sigma(t)
    target = {
        "eps": eps,
        "x0": x0,
        "v": alpha * eps - sigma * x0,
        "velocity": process.d_alpha(t) * x0 + process.d_sigma(t) * eps,
    }[kind]
    x = alpha * x0 + sigma * eps
    read = data.field(process)(x, t)
    net = parameterize.reading(read, t, process, kind) + push
    return jnp.mean((net - target) ** 2, axis=1)


def close(found, want, slack=1.0):
    return abs(found.mean() - want) < slack * 4 * found.std() / np.sqrt(N) + 1e-6


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("process", PROCESSES)
def test_the_exact_field_is_at_the_floor_and_a_pushed_one_above(process, data):
    data, process = DATA[data], PROCESSES[process]

    @jax.jit
    def found(t):
        floor = data.loss_floor(process, t, jax.random.key(1), n=N)
        return floor, [errors(data, process, t, "eps", push) for push in (0.0, 0.1, -0.3)]

    for t in (0.1, 0.5):
        floor, (exact, pushed, more) = found(t)
        # Both are estimates, from draws of their own; what is averaged for the floor varies less.
        assert close(exact, floor, slack=1.5)
        # The error of the exact field is uncorrelated with any function of x_t: a push adds its square.
        assert close(pushed - exact, 0.1**2) and close(more - exact, 0.3**2)


@pytest.mark.parametrize("kind", ["x0", "v", "velocity"])
def test_the_floor_of_every_kind_follows_from_that_of_eps(kind):
    for process in (noise.rectified(), noise.vp()):
        data, t = DATA["mixture"], 0.4
        floor = data.loss_floor(process, t, n=N) / parameterize.eps_error(t, process, kind) ** 2
        exact, pushed = (errors(data, process, t, kind, push) for push in (0.0, 0.2))
        assert close(exact, floor, slack=1.5) and close(pushed - exact, 0.2**2)


def test_the_floor_of_a_gaussian_is_a_closed_form():
    # var(eps | x_t) = alpha^2 s^2 / (alpha^2 s^2 + sigma^2), whatever the mean and the key; and at both ends.
    data, s2 = DATA["gaussian"], 0.49
    for process in PROCESSES.values():
        for t in (0.0, 0.3, 1.0):
            alpha, sigma = process.alpha(t), process.sigma(t)
            want = alpha**2 * s2 / (alpha**2 * s2 + sigma**2)
            np.testing.assert_allclose(data.loss_floor(process, t), want, rtol=1e-6)
            np.testing.assert_allclose(data.loss_floor(process, t, jax.random.key(5), n=3), want, rtol=1e-6)


def test_the_floor_of_two_points_by_quadrature():
    # x0 = +-1: E[x0 | x_t] = tanh(alpha x_t / sigma^2), and the variance of eps is alpha^2 / sigma^2 that of x0.
    with jax.enable_x64(True):
        process, t = noise.vp(), 0.3
        alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
        x = np.linspace(-8, 8, 20_001)
        density = sum(np.exp(-((x - m * alpha) ** 2) / 2 / sigma**2) for m in (-1, 1))
        variance = 1 - np.tanh(alpha * x / sigma**2) ** 2
        want = (alpha / sigma) ** 2 * (density * variance).sum() / density.sum()
        found = oracle.dirac([[-1.0], [1.0]]).loss_floor(process, t, n=N)
        again = oracle.dirac([[-1.0], [1.0]]).loss_floor(process, t, jax.random.key(9), n=N)
    assert found == pytest.approx(want, rel=0.02) and found != again
