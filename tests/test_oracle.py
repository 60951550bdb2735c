"""The oracles against autodiff, quadrature and Monte Carlo, so that all else can be tested against them."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle
from research.data import toy2d

PROCESSES = {"rectified": noise.rectified(), "vp": noise.vp()}
MIXTURE = oracle.gaussian_mixture([1.0, 3.0, 2.0], [[0, 1], [-1, 0.5], [1, -1]], [0.3, 0.5, 0.2])
PAIR = oracle.gaussian_pair(0.0, 1.0, 3.0, 0.5)
T = jnp.array([0.2, 0.5, 0.8, 0.5])
X = jax.random.normal(jax.random.key(0), (4, 2))


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_mixture_score_is_the_gradient_of_its_log_density(process):
    gradient = jax.jit(jax.grad(lambda x: MIXTURE.log_prob(x, T, process).sum()))(X)
    np.testing.assert_allclose(jax.jit(MIXTURE.field(process))(X, T).score, gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_mixture_prediction_is_consistent(process):
    read = MIXTURE.field(process)(X, T)
    alpha, sigma, d_alpha, d_sigma, f, g = (
        noise.expand(c(T), X)
        for c in (process.alpha, process.sigma, process.d_alpha, process.d_sigma, process.f, process.g)
    )
    np.testing.assert_allclose(alpha * read.x0 + sigma * read.eps, X, atol=1e-5)
    np.testing.assert_allclose(read.velocity, d_alpha * read.x0 + d_sigma * read.eps, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(read.velocity, f * X - g**2 * read.score / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_mixture_is_finite_at_both_ends_and_far_out(process):
    for t in (0.0, 1.0):
        field, log_prob = jax.jit(MIXTURE.field(process)), jax.jit(lambda x, t: MIXTURE.log_prob(x, t, process))
        for leaf in (*field(100 * X, t), log_prob(100 * X, t)):
            assert jnp.isfinite(leaf).all()


def test_mixture_density_integrates_to_one():
    grid = jnp.linspace(-5, 5, 201)
    x = jnp.stack(jnp.meshgrid(grid, grid), -1).reshape(-1, 2)
    for t in (0.0, 0.6):
        mass = jnp.exp(MIXTURE.log_prob(x, t, noise.rectified())).sum() * (grid[1] - grid[0]) ** 2
        np.testing.assert_allclose(mass, 1, rtol=1e-4)


def test_mixture_samples_have_its_moments():
    x = jax.jit(MIXTURE.sample, static_argnums=1)(jax.random.key(1), 20000)
    log_prob = jax.jit(lambda x: MIXTURE.log_prob(x, 0.0, noise.rectified()))
    np.testing.assert_allclose(x.mean(0), np.array([1, 3, 2]) / 6 @ np.array([[0, 1], [-1, 0.5], [1, -1]]), atol=0.03)
    # Cross entropy by two roads: samples, and quadrature of -p log p.
    grid = jnp.linspace(-4, 4, 161)
    points = jnp.stack(jnp.meshgrid(grid, grid), -1).reshape(-1, 2)
    log_p = log_prob(points)
    entropy = -(jnp.exp(log_p) * log_p).sum() * (grid[1] - grid[0]) ** 2
    nats = -log_prob(x)
    assert abs(nats.mean() - entropy) < 4 * nats.std() / np.sqrt(len(nats))


EVERY = {
    "rectified": noise.rectified(),
    "vp": noise.vp(),
    "sub_vp": noise.sub_vp(),
    "ve": noise.ve(),
    "cosine": noise.cosine(),
    "edm": noise.edm(),
    "discrete": noise.discrete(noise.alpha_bar("cosine", 8, zero_terminal_snr=True)),
}


@pytest.mark.parametrize("process", EVERY.values(), ids=EVERY)
def test_everything_is_finite_at_both_ends_of_every_process(process):
    point = oracle.dirac([[0.0, 1.0], [-1.0, 0.5]])

    @jax.jit
    def found(t, x):
        return [
            (*data.field(process)(x, t), data.log_prob(x, t, process), data.loss_floor(process, t, n=10))
            for data in (MIXTURE, point)
        ]

    for t in (0.0, 1.0):
        mixture, points = found(t, 10 * X)
        assert all(jnp.isfinite(leaf).all() for leaf in mixture)
        if t > 0:  # points have no density at t = 0
            assert all(jnp.isfinite(leaf).all() for leaf in points)
        if process.alpha(t) == 0:  # nothing is known of x0 but its mean, and all of eps
            np.testing.assert_allclose(points[0], jnp.broadcast_to(jnp.array([-0.5, 0.75]), X.shape), rtol=1e-5)
            assert mixture[5] < 1e-10 and points[5] < 1e-10


@pytest.mark.parametrize("process", EVERY.values(), ids=EVERY)
def test_a_gaussian_is_carried_in_closed_form(process):
    # The same Gaussian as a mixture of two goes by the ODE.
    one = oracle.gaussian_mixture([1.0], [[0.5, -0.2]], [0.7])
    two = oracle.gaussian_mixture([1.0, 2.0], [[0.5, -0.2]] * 2, [0.7, 0.7])
    with jax.enable_x64(True):
        x, ends = jnp.asarray(np.asarray(X), float), (0.25, 0.75)
        for t_from, t_to in (ends, ends[::-1]):
            exact = jax.jit(one.flow_map, static_argnums=3)(x, t_from, t_to, process)
            solved = jax.jit(two.flow_map, static_argnums=(3, 4))(x, t_from, t_to, process, 1e-9)
            np.testing.assert_allclose(solved, exact, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(one.flow_map(exact, t_to, t_from, process), x, rtol=1e-9)
    per_example = one.flow_map(X, T, jnp.flip(T), process)
    for i in range(len(T)):
        np.testing.assert_allclose(per_example[i], one.flow_map(X[i : i + 1], T[i], T[-1 - i], process)[0], rtol=1e-5)


def test_a_flow_to_the_data_is_straight_for_one_point():
    process, data = noise.rectified(), oracle.dirac([[1.0, -2.0]])
    np.testing.assert_allclose(data.flow_map(X, 1.0, 0.25, process), 0.75 * np.array([1, -2]) + 0.25 * X, rtol=1e-6)
    np.testing.assert_allclose(data.flow_map(X, 1.0, 0.0, process), np.tile([1.0, -2.0], (4, 1)), rtol=1e-6)


def test_points_are_a_mixture_without_spread():
    weights = [1.0, 3.0]
    data, near = oracle.dirac([[0.0], [1.0]], weights), oracle.gaussian_mixture(weights, [[0.0], [1.0]], [1e-4, 1e-4])
    draws = data.sample(jax.random.key(0), 4000)
    assert set(np.unique(draws)) == {0, 1} and abs(draws.mean() - 0.75) < 0.03
    assert oracle.dirac([[0.0], [1.0]]).sample(jax.random.key(0), 4000).mean() == pytest.approx(0.5, abs=0.03)
    x = jnp.linspace(-1, 2, 7)[:, None]
    for got, want in zip(data.field(noise.vp())(x, 0.3), near.field(noise.vp())(x, 0.3)):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    # A nearest point has all the weight once there is little noise.
    np.testing.assert_allclose(data.field(noise.vp())(x, 1e-4).x0[jnp.array([0, -1]), 0], [0, 1], atol=1e-6)


def test_data_made_in_single_precision_keep_their_digits_in_double():
    data = oracle.gaussian_mixture([1.0], [[0.1]], [0.3])
    data.log_prob(jnp.zeros((1, 1)), 0.0, noise.rectified())
    with jax.enable_x64(True):
        log_p = data.log_prob(jnp.zeros((1, 1)), 0.0, noise.rectified())
    assert float(log_p[0]) == pytest.approx(-(1 / 9) / 2 - np.log(0.3) - np.log(2 * np.pi) / 2, rel=1e-14)


def draw_lines(n=200_000):
    ends = jax.random.normal(jax.random.key(2), (2, n))
    return ends[0], 3 + 0.5 * ends[1], jax.random.uniform(jax.random.key(3), (n,))


def test_pair_velocity_is_the_regression_of_the_slope():
    x0, x1, _ = draw_lines()
    for t in (0.1, 0.6):
        x_t = (1 - t) * x0 + t * x1
        # Jointly Gaussian, so the least-squares line is E[x1 - x0 | x_t], and so it is for both ends.
        read = PAIR.field()(jnp.array([-0.5, 2.0]), t)
        for target, got in ((x1 - x0, read.velocity), (x0, read.x0), (x1, read.eps)):
            slope, offset = np.polyfit(np.asarray(x_t), np.asarray(target), 1)
            np.testing.assert_allclose(got, slope * np.array([-0.5, 2.0]) + offset, atol=0.02)


def test_pair_loss_floor_by_monte_carlo_and_by_hand():
    x0, x1, t = draw_lines()
    error = (PAIR.field()((1 - t) * x0 + t * x1, t).velocity - (x1 - x0)) ** 2
    assert abs(error.mean() - PAIR.loss_floor()) < 4 * error.std() / np.sqrt(len(error))
    assert PAIR.loss_floor() == pytest.approx(np.pi / 4)  # N(0, 1) -> N(3, variance .25)


def test_pair_flow_map_follows_the_velocity_and_composes():
    x, t = jnp.array([-1.0, 0.3, 2.0]), jnp.array([0.0, 0.5, 1.0])
    slope = jax.jvp(lambda s: PAIR.flow_map(x, t, s), (t,), (jnp.ones(3),))[1]
    np.testing.assert_allclose(slope, PAIR.field()(x, t).velocity, rtol=1e-5)
    there = PAIR.flow_map(x, 0.0, 0.7)
    np.testing.assert_allclose(PAIR.flow_map(there, 0.7, 1.0), PAIR.flow_map(x, 0.0, 1.0), rtol=1e-5)
    np.testing.assert_allclose(PAIR.flow_map(x, 0.0, 1.0), 3 + 0.5 * x, rtol=1e-6)


def test_pair_is_the_mixture_of_one():
    pair = oracle.gaussian_pair(np.array([0.5, -1.0]), 0.4, 0.0, 1.0)
    mixture = oracle.gaussian_mixture([1.0], [[0.5, -1.0]], [0.4])
    for got, want in zip(pair.field()(X, T), mixture.field(noise.rectified())(X, T)):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_pair_step_counts():
    # One Euler step from t = 1 has the rate s1^2 / s1^2 = 1: it returns the mean, whatever the stds.
    assert PAIR.euler_std(1) == 0
    for n, power in ((64, 1), (64, 2)):
        std = (PAIR.euler_std, PAIR.heun_std)[power - 1]
        np.testing.assert_allclose((std(n) - 1) / (std(2 * n) - 1), 2**power, rtol=0.05)


@pytest.mark.parametrize("s0, s1", [(1.0, 0.5), (0.3, 2.0), (1.0, 1.0), (0.7, 0.0)])
def test_pair_straightness_by_quadrature(s0, s1):
    # A path is mean + s z, so E|(x_1 - x_0) - v|^2 = (s1 - s0 - s')^2, by differences of the flow's own map of z = 1.
    pair, t = oracle.gaussian_pair(-1.0, s0, 2.0, s1), np.linspace(0, 1, 20001)
    std = np.hypot((1 - t) * s0, t * s1)
    slope = np.diff(std) / np.diff(t)
    assert pair.straightness() == pytest.approx(np.mean((s1 - s0 - slope) ** 2), rel=1e-4, abs=1e-6)
    if s1:  # the same std as that of the flow's map
        np.testing.assert_allclose(pair.flow_map(s0 - 1.0, 0.0, 0.3) - (-0.1), np.interp(0.3, t, std), rtol=1e-5)


def test_pair_straightness_sums_over_coordinates():
    assert oracle.gaussian_pair(0.0, 1.0, 3.0, 0.5).straightness() == pytest.approx(1 - np.pi / 4)
    wide = oracle.gaussian_pair(np.zeros(3), np.array([1.0, 2.0, 3.0]), 0.0, 0.5)
    assert wide.straightness() == pytest.approx(6 * (1 - np.pi / 4))
    assert oracle.gaussian_pair(np.zeros(4), 1.0, 0.0, 0.5).straightness() == pytest.approx(4 * (1 - np.pi / 4))


def test_a_ring_is_the_toy_set_of_eight_gaussians():
    made = toy2d.load(types.SimpleNamespace(name="8gaussians", size=10, seed=0))
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32) * 2
    np.testing.assert_allclose(oracle.ring().log_prob(x, 0.0, noise.vp()), made.log_prob(x), rtol=1e-4, atol=1e-4)
