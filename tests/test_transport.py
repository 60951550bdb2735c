"""Straightness against closed forms, couplings against sorting and brute force, and plans against their marginals."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from research import noise, oracle, transport
from research.contracts import Prediction
from research.errors import UserError

TIMES = np.linspace(1, 0, 65)
KEY = jax.random.key(0)
straightness = jax.jit(transport.straightness, static_argnums=0)
curve = jax.jit(transport.straightness_curve, static_argnums=0)
exact = jax.jit(transport.exact_pairs)
sinkhorn = jax.jit(transport.sinkhorn_pairs, static_argnames="num_iters")
plan = jax.jit(transport._plan, static_argnums=4)


def field(velocity):
    return lambda x, t: Prediction(None, None, None, velocity(x, noise.expand(t, x)))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def unit(n, d):
    """Points whose coordinates have the mean 0 and the mean square 1 exactly."""
    z = normal(n, d)
    return (z - z.mean(axis=0)) / z.std(axis=0)


PAIRS = {
    "shift": (0.0, 1.0, 3.0, 1.0),
    "narrow": (0.0, 0.3, -1.0, 1.0),
    "vector": (np.array([1.0, -2.0, 0.0]), np.array([0.5, 1.0, 2.0]), np.zeros(3), np.array([1.0, 1.5, 0.5])),
}


@pytest.mark.parametrize("given", PAIRS.values(), ids=PAIRS)
def test_straightness_of_gaussian_pairs(given):
    _, s0, mu1, s1 = given
    pair, size = oracle.gaussian_pair(*given), np.size(s0)
    x = jnp.asarray(mu1 + s1 * unit(500, size), jnp.float32)
    assert float(straightness(pair.field(), x, TIMES)) == pytest.approx(pair.straightness(), rel=2e-3)
    t = TIMES[:, None]
    slope = (t * s1**2 - (1 - t) * s0**2) / np.hypot((1 - t) * s0, t * s1)
    want = np.broadcast_to((s1 - s0 - slope) ** 2, (len(t), size)).sum(axis=1)
    np.testing.assert_allclose(curve(pair.field(), x, TIMES), want, rtol=0.02, atol=2e-3)


def test_straight_flows_have_none_even_where_each_path_has_its_own_speed():
    x = normal(20, 3, 2)
    constant = field(lambda x, t: jnp.full_like(x, 2.5))
    fan = field(lambda x, t: x / (1 + t))  # x_t = (1 + t) c: straight, and each c has its speed
    for straight in (constant, fan):
        np.testing.assert_allclose(curve(straight, x, TIMES), 0, atol=1e-7)
    turning = field(lambda x, t: x)  # x_t = exp(t) c
    rate = 1 - np.exp(-1) - np.exp(TIMES - 1)
    square = np.mean(np.sum(x**2, axis=(1, 2)))
    np.testing.assert_allclose(curve(turning, x, TIMES), square * rate**2, rtol=2e-3, atol=1e-4)


def test_times_may_stop_short_of_the_ends():
    point = oracle.dirac([[1.0, -1.0]]).field(noise.rectified())  # straight, and singular at t = 0
    x, times = normal(50, 2), np.linspace(1, 0.01, 33)
    assert float(straightness(point, x, times)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(UserError, match="must fall"):
        transport.straightness(point, x, times[::-1])


def test_two_points_from_noise_bend_unless_each_half_has_its_own():
    x, times = normal(400, 1), np.linspace(1, 0.01, 129)
    independent = oracle.dirac([[-1.0], [1.0]]).field(noise.rectified())
    halves = field(lambda x, t: (x - jnp.sign(x)) / t)
    assert float(straightness(halves, x, times)) == pytest.approx(0, abs=1e-6)
    assert float(straightness(independent, x, times)) > 0.5
    # The field of halves is that of the exact coupling: the lowest of the noise go to the lower point.
    x0 = np.where(np.random.default_rng(1).random((400, 1)) < 0.5, -1, 1).astype(np.float32)
    partner, rank = np.empty_like(x0), np.argsort(x[:, 0])
    partner[exact(x0, x)] = x0
    np.testing.assert_array_equal(partner[rank], np.sort(x0, axis=0))


def crossing(x, t, std=0.2):
    """Density and velocity at x [B] of lines from -1 or 1 to -1 or 1, coupled independently, all blurred by std."""
    starts, ends = np.array([-1.0, -1.0, 1.0, 1.0]), np.array([-1.0, 1.0, -1.0, 1.0])
    var = std**2 * ((1 - t) ** 2 + t**2)
    away = x[..., None] - (1 - t) * starts - t * ends
    each = norm.logpdf(away, scale=jnp.sqrt(var)) - jnp.log(4)
    velocity = ends - starts + std**2 * (2 * t - 1) / var * away
    return jnp.exp(each).sum(-1), jnp.sum(jax.nn.softmax(each) * velocity, -1)


def test_paths_that_cross_bend_and_those_of_the_exact_coupling_do_not():
    points = np.array([-1.0, 1.0], np.float32)
    x1 = np.repeat(points, 32)[:, None]
    np.testing.assert_array_equal(x1[exact(x1[::-1], x1)], x1[::-1])  # both ends alike: nothing moves, S = 0
    # Quantiles are kept in one dimension, so the flow ends where it starts, and S = int E v^2 dt, here by quadrature.
    grid, times = jnp.linspace(-3, 3, 3001), np.linspace(0, 1, 201)
    density, velocity = jax.vmap(lambda t: crossing(grid, t))(times)
    want = np.trapezoid(np.trapezoid(density * velocity**2, grid, axis=1), times)
    # Quantiles of the blurred points, so that the mean over x is a quadrature too.
    mass = np.cumsum(crossing(grid, 1.0)[0]) * 0.002
    x = jnp.asarray(np.interp((np.arange(2000) + 0.5) / 2000, mass, grid)[:, None], jnp.float32)
    bent = field(lambda x, t: crossing(x[:, 0], t.reshape(-1)[0])[1][:, None])
    assert want > 1
    assert float(straightness(bent, x, np.linspace(1, 0, 401))) == pytest.approx(want, rel=1e-3)


CONVEX = {
    **{f"power {p}": functools.partial(lambda x0, x1, p: transport.transport_cost(x0, x1, p), p=p) for p in (1, 2, 3)},
    "softplus": lambda x0, x1: jnp.mean(jax.nn.softplus(jnp.sum(x1 - x0, axis=1))),
}


@pytest.mark.parametrize("cost", CONVEX.values(), ids=CONVEX)
def test_a_flow_never_costs_more_than_the_coupling_it_was_made_from(cost):
    # Liu et al. 2022, theorem 3.5, for every convex cost of x_1 - x_0.
    process, data = noise.rectified(), oracle.gaussian_mixture([1.0, 1.0], [[-1, 0], [1, 0.5]], [0.3, 0.2])
    x1, x0 = normal(4000, 2), data.sample(KEY, 4000)
    ends = jax.jit(lambda x: data.flow_map(x, 1.0, 0.0, process, 1e-4))(x1)
    assert float(cost(ends, x1)) < float(cost(x0, x1)) - 0.02


def test_transport_cost_of_gaussians_and_by_hand():
    z0, z1 = np.split(np.linalg.qr(unit(1000, 2))[0] * np.sqrt(1000), 2, axis=1)  # mean square 1, uncorrelated
    mu0, s0, mu1, s1 = 0.5, 0.7, -1.0, 2.0
    pair, x0, x1 = oracle.gaussian_pair(mu0, s0, mu1, s1), mu0 + s0 * z0, mu1 + s1 * z1
    moved = pair.flow_map(x1, 1.0, 0.0)
    assert float(transport.transport_cost(x0, x1)) == pytest.approx(1.5**2 + 0.7**2 + 2**2, rel=1e-3)
    assert float(transport.transport_cost(moved, x1)) == pytest.approx(1.5**2 + 1.3**2, rel=1e-3)
    a, b = np.zeros((2, 1, 2)), np.array([[[3.0, 4.0]], [[0.0, 1.0]]])
    found = [float(transport.transport_cost(a, b, p)) for p in (1, 2, 3)]
    np.testing.assert_allclose(found, [3, 13, 63], rtol=1e-6)


def sorted_order(x0, x1):
    return np.argsort(x1)[np.argsort(np.argsort(x0))]


def test_exact_pairs_are_sorted_in_one_dimension():
    x0, x1, label = normal(40, seed=1)[:, None], 5 + normal(40, seed=2)[:, None], np.arange(40) % 3
    for far in (np.float32(0), np.float32(1000)):  # digits that both share are not lost
        want = sorted_order((far + x0)[:, 0], (far + x1)[:, 0])
        np.testing.assert_array_equal(exact(far + x0, far + x1), want)
    order = np.asarray(exact(x0, x1, label))
    for one in range(3):
        rows = np.flatnonzero(label == one)
        np.testing.assert_array_equal(order[rows], rows[sorted_order(x0[rows, 0], x1[rows, 0])])


def test_exact_pairs_are_the_best_of_all_permutations():
    for seed in range(3):
        x0, x1 = normal(2, 6, 3, 1, seed=seed)
        costs = [np.sum((x0 - x1[list(order)]) ** 2) for order in itertools.permutations(range(6))]
        order = np.asarray(exact(x0, x1))
        assert sorted(order) == list(range(6)) and order.dtype == np.int32
        assert np.sum((x0 - x1[order]) ** 2) == pytest.approx(min(costs), rel=1e-6)


def test_a_sharp_plan_costs_what_the_exact_pairing_does():
    x0, x1 = normal(2, 64, 2, seed=3)
    best = float(transport.transport_cost(x0, x1[exact(x0, x1)]))
    coupling = np.asarray(plan(x0, x1, None, 0.002, 2000))
    costs = np.sum((x0[:, None] - x1) ** 2, axis=-1)
    assert best <= np.sum(coupling * costs) / 64 <= 1.03 * best
    drawn = [float(transport.transport_cost(x0, x1[sinkhorn(x0, x1, k, epsilon=0.002, num_iters=2000)]))
             for k in jax.random.split(KEY, 10)]  # fmt: skip
    assert np.mean(drawn) == pytest.approx(np.sum(coupling * costs) / 64, rel=0.05)
    assert best < 0.5 * float(transport.transport_cost(x0, x1))


def test_the_plan_has_both_marginals_and_the_form_of_an_entropic_one():
    x0, x1 = normal(2, 64, 2, seed=4)
    coupling = np.asarray(plan(x0, 3 + 2 * x1, None, 0.05, 200), float)
    np.testing.assert_allclose(coupling.sum(axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(coupling.sum(axis=0), 1, rtol=1e-3)
    # log plan + cost / epsilon is a sum of a row's and a column's number (Cuturi 2013, lemma 2).
    costs = np.sum((x0[:, None] - 3 - 2 * x1) ** 2, axis=-1)
    seen = coupling > 1e-20
    free = np.where(seen, np.log(np.maximum(coupling, 1e-30)) + costs / (0.05 * costs.mean()), np.nan)
    row = np.nanmean(free - free[:1], axis=1, keepdims=True)
    assert np.nanmax(np.abs(free - free[:1] - row)) < 5e-3 and seen.mean() > 0.3


def test_fifty_iterations_are_enough_at_the_default_epsilon():
    clusters = np.sign(normal(256, 2, seed=5)) + 0.1 * normal(256, 2, seed=6)
    for x0 in (clusters, normal(256, 64, seed=7)):
        coupling = np.asarray(plan(x0, normal(*x0.shape, seed=8), None, 0.05, 50), float)
        np.testing.assert_allclose(coupling.sum(axis=1), 1, rtol=1e-4)
        assert np.abs(coupling.sum(axis=0) - 1).mean() < 0.01


def test_a_large_epsilon_is_the_independent_coupling():
    x0, x1 = normal(2, 16, 2, seed=9)
    np.testing.assert_allclose(plan(x0, x1, None, 1e6, 10), 1 / 16, rtol=1e-4)
    orders = jax.jit(jax.vmap(lambda k: transport.sinkhorn_pairs(x0, x1, k, epsilon=1e6)))(jax.random.split(KEY, 2000))
    counts = np.stack([np.bincount(row, minlength=16) for row in np.asarray(orders).T])
    square = np.sum((counts - 125) ** 2 / 125)  # of 16 x 15 degrees of freedom
    assert 240 - 5 * 480**0.5 < square < 240 + 5 * 480**0.5


def test_rows_are_drawn_from_the_plan():
    x0, x1 = normal(2, 8, 2, seed=10)
    want = np.asarray(plan(x0, x1, None, 0.2, 50))
    orders = jax.jit(jax.vmap(lambda k: transport.sinkhorn_pairs(x0, x1, k, epsilon=0.2)))(jax.random.split(KEY, 4000))
    found = np.stack([np.bincount(row, minlength=8) for row in np.asarray(orders).T]) / 4000
    assert np.abs(found - want).max() < 5 * 0.5 / 4000**0.5


HARD = {
    "an outlier": (np.concatenate([normal(63, 2), [[1e6, -1e6]]]), normal(64, 2, seed=1)),
    "outliers on both sides": (
        np.concatenate([normal(63, 2), [[1e9, 0]]]),
        np.concatenate([[[0, 1e9]], normal(63, 2)]),
    ),
    "a ladder": (10.0 ** np.linspace(-15, 15, 64)[:, None] * [1, 0], normal(64, 2, seed=1)),
    "one row": (normal(1, 2), normal(1, 2, seed=1)),
    "identical rows": (np.full((64, 2), 0.1), np.full((64, 2), 0.1)),
    "identical and far": (np.full((64, 2), 1e3 / 3), np.zeros((64, 2))),
    "two heaps": (np.repeat([[0.0, 1], [5, 5]], [63, 1], axis=0), np.repeat([[0.0, 1], [5, 5]], [1, 63], axis=0)),
}


@pytest.mark.parametrize("ends", HARD.values(), ids=HARD)
@pytest.mark.parametrize("epsilon", [0.05, 1e-4])
def test_hard_batches_have_plans(ends, epsilon):
    x0, x1 = (np.asarray(x, np.float32) for x in ends)
    for label in (None, np.arange(len(x0)) // 5):
        coupling = np.asarray(plan(x0, x1, label, epsilon, 50))
        assert np.isfinite(coupling).all() and (coupling >= 0).all()
        np.testing.assert_allclose(coupling.sum(axis=1), 1, rtol=0.1)  # a cost of 1e5 epsilons has few digits left
        for order in (exact(x0, x1, label), sinkhorn(x0, x1, KEY, label, epsilon=epsilon, num_iters=50)):
            assert ((order >= 0) & (order < len(x0))).all()


def test_classes_stay_apart():
    x0, x1 = normal(2, 61, 2, seed=11)
    label = np.array([-1, 7, 3] * 20 + [99])  # one class has a single member
    coupling = np.asarray(plan(x0, x1, label, 0.05, 1000))
    same = label[:, None] == label
    assert (coupling[~same] == 0).all() and coupling[-1, -1] == pytest.approx(1)
    np.testing.assert_allclose(coupling.sum(axis=0), 1, rtol=1e-3)
    draw = jax.jit(jax.vmap(lambda k: transport.sinkhorn_pairs(x0, x1, k, label)))
    orders = np.asarray(draw(jax.random.split(KEY, 200)))
    assert (label[orders] == label).all() and len(set(orders[:, 0])) > 1


def test_pairs_pass_jit_vmap_and_a_gradient_around_them():
    x0, x1, label = normal(3, 12, 2, seed=12), normal(3, 12, 2, seed=13), np.arange(12) % 2
    for pair in (transport.exact_pairs, lambda a, b, c: transport.sinkhorn_pairs(a, b, KEY, c)):
        orders = jax.jit(jax.vmap(pair, in_axes=(0, 0, None)))(x0, x1, label)
        for i in range(3):
            np.testing.assert_array_equal(orders[i], pair(x0[i], x1[i], label))

        def loss(scale, pair=pair):
            ends = scale * x1[0]
            return jnp.sum(x0[0] * ends[pair(x0[0], ends, label)])

        gradient = jax.jit(jax.grad(loss))(1.0)  # the order is constant
        assert float(gradient) == pytest.approx(float(np.sum(x0[0] * x1[0][orders[0]])), rel=1e-4)


def test_eight_devices_pair_as_one():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:8])
    x0, x1, label = normal(64, 3, seed=14), normal(64, 3, seed=15), np.arange(64) % 4
    spread = jax.device_put((x0, x1, label), NamedSharding(mesh, PartitionSpec("data")))
    np.testing.assert_array_equal(exact(*spread), exact(x0, x1, label))
    np.testing.assert_array_equal(exact(*spread[:2]), exact(x0, x1))
    few = {"num_iters": 50}
    np.testing.assert_array_equal(sinkhorn(*spread[:2], KEY, spread[2], **few), sinkhorn(x0, x1, KEY, label, **few))


def test_bad_numbers_are_left_to_the_step_to_report():
    x0, x1 = normal(2, 8, 2)
    x1[3, 0], x0[1, 1] = np.nan, np.inf
    assert sorted(np.asarray(exact(x0, x1))) == list(range(8))
    order = sinkhorn(x0, x1, KEY, num_iters=10)
    assert ((order >= 0) & (order < 8)).all()


@pytest.mark.parametrize("pair", [transport.exact_pairs, lambda *a: transport.sinkhorn_pairs(*a[:2], KEY, *a[2:])])
def test_mistakes_are_named(pair):
    x = normal(4, 2)
    for wrong in ((x, x[:3]), (x, normal(4, 3)), (x, x, np.zeros(3)), (x, x, np.zeros((4, 1)))):
        with pytest.raises(UserError, match="a coupling takes"):
            pair(*wrong)


def test_numbers_that_make_no_plan_are_named():
    x = normal(4, 2)
    for name in ("epsilon", "num_iters"):
        with pytest.raises(UserError, match=f"{name}=0"):
            transport.sinkhorn_pairs(x, x, KEY, **{name: 0})
