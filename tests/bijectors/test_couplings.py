"""Couplings, splines, norms and linear maps where the answer is known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import bijectors as bj
from research.bijectors import coupling, linear, masks, spline
from research.errors import UserError

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
KEY = jax.random.key(0)


def fixed(*numbers):
    """A conditioner that returns the same numbers for every entry of x."""
    return lambda key, x, condition=None: {}, lambda p, x, c=None: jnp.broadcast_to(
        jnp.array(numbers), (*x.shape, len(numbers))
    ).reshape(*x.shape[:-1], -1)


def test_additive_and_affine_by_hand():
    z, log_det = bj.additive_coupling(fixed(2.0), masks.half(4)).forward({"params": {}}, X)
    np.testing.assert_allclose(z, X + [0, 0, 2, 2], rtol=1e-6)
    assert (log_det == 0).all()
    z, log_det = bj.affine_coupling(fixed(2.0, np.log(3.0)), masks.half(4, flip=True)).forward({"params": {}}, X)
    np.testing.assert_allclose(z, X * [3, 3, 1, 1] + [2, 2, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(log_det, 2 * np.log(3.0), rtol=1e-6)


@pytest.mark.parametrize(
    "kind, low, high, at_0", [("exp", -12, 12, 0.0), ("sigmoid", -10.1, 0, -0.126928), ("tanh", -2, 2, 0.0)]
)
def test_scales_are_bounded(kind, low, high, at_0):
    s = coupling.log_scale(jnp.array([-1e6, 0.0, 1e6]), kind)
    assert low <= s[0] < s[1] < s[2] <= high
    np.testing.assert_allclose(s[1], at_0, atol=1e-6)


def test_what_passes_is_what_the_conditioner_sees():
    seen = []
    spy = (
        lambda key, x, condition=None: {},
        lambda p, x, c=None: seen.append(np.array(x)) or jnp.zeros((*x.shape[:-1], 4)),
    )
    z, _ = bj.additive_coupling(spy, masks.alternating(4)).forward({"params": {}}, X)
    np.testing.assert_array_equal(seen[0], X * [1, 0, 1, 0])
    np.testing.assert_array_equal(z, X)


@pytest.mark.parametrize("flip", [False, True])
def test_a_compact_coupling_is_the_one_with_a_mask(flip):
    """The same weights, laid out for the half that passes and the half that moves."""
    x = np.random.default_rng(2).normal(size=(6, 5)).astype(np.float32)
    mask, rng = masks.half(5, flip), np.random.default_rng(3)
    w = rng.normal(size=(5, 5, 2)).astype(np.float32)  # from entry i to number n of entry j
    kept, moved = np.flatnonzero(mask), np.flatnonzero(~mask)
    whole = (lambda key, x, c: {}), lambda p, x, c: jnp.einsum("bi,ijn->bjn", x, w).reshape(6, -1)
    part = (lambda key, x, c: {}), lambda p, x, c: jnp.einsum("bi,ijn->bnj", x, w[kept][:, moved]).reshape(6, -1)
    flows = bj.affine_coupling(whole, mask), bj.affine_coupling(part, mask, compact=True)
    for direction in ("forward", "inverse"):
        (z, log_det), (z_c, log_det_c) = (getattr(flow, direction)({"params": {}}, x) for flow in flows)
        np.testing.assert_allclose(z_c, z, rtol=1e-5)
        np.testing.assert_allclose(log_det_c, log_det, rtol=1e-5)


def test_triangular_inverses():
    for n in (1, 3, 12, 48):
        a = np.tril(np.random.default_rng(n).normal(size=(n, n)) / np.sqrt(n), -1) + np.diag(np.linspace(0.5, 2, n))
        for matrix in (a, a.T):
            np.testing.assert_allclose(linear._triangular_inverse(matrix) @ matrix, np.eye(n), atol=1e-5)


def test_masks():
    assert masks.half(5).tolist() == [True, True, False, False, False]
    assert masks.alternating(3, flip=True).tolist() == [False, True, False]
    assert masks.checkerboard(2, 3)[..., 0].tolist() == [[True, False, True], [False, True, False]]
    assert (masks.checkerboard(2, 3) ^ masks.checkerboard(2, 3, flip=True)).all()


P = np.random.default_rng(1).normal(size=(3 * 6 - 1,)).astype(np.float32)


def test_a_spline_meets_its_knots_and_slopes_there():
    x, y, slopes = (np.asarray(a) for a in spline.knots(jnp.array(P), 3.0))
    assert (np.diff(x) > 0).all() and (np.diff(y) > 0).all() and x[0] == y[0] == -3 and x[-1] == y[-1] == 3
    p = jnp.broadcast_to(P, (len(x), len(P)))
    z, log_slope = spline.forward(jnp.array(x), p, 3.0)
    np.testing.assert_allclose(z, y, atol=1e-5)
    np.testing.assert_allclose(np.exp(log_slope)[1:-1], slopes[1:-1], rtol=1e-4)
    back, log_back = spline.inverse(jnp.array(y), p, 3.0)
    np.testing.assert_allclose(back, x, atol=1e-5)
    np.testing.assert_allclose(log_back[1:-1], -log_slope[1:-1], atol=1e-4)


def test_a_spline_is_one_smooth_rising_line():
    x = jnp.linspace(-4, 4, 8001)
    p = jnp.broadcast_to(P, (len(x), len(P)))
    z, log_slope = spline.forward(x, p, 3.0)
    assert (jnp.diff(z) > 0).all()
    outside = np.abs(x) >= 3
    np.testing.assert_array_equal(z[outside], x[outside])
    assert (log_slope[outside] == 0).all()
    inside = slice(1100, 6900)
    np.testing.assert_allclose(np.gradient(z, x)[inside], jnp.exp(log_slope)[inside], rtol=0.05)
    assert np.abs(np.diff(np.exp(log_slope))).max() < 0.2  # its slope has no jumps, at the ends neither
    np.testing.assert_allclose(spline.inverse(z, p, 3.0)[0], x, atol=1e-4)


def test_a_spline_of_zeros_is_the_identity():
    x = jnp.linspace(-4, 4, 101)
    z, log_slope = spline.forward(x, jnp.zeros((101, 14)), 3.0)
    np.testing.assert_allclose(z, x, atol=1e-5)
    np.testing.assert_allclose(log_slope, 0, atol=1e-5)


def test_splines_of_extreme_numbers_stay_invertible_and_have_gradients():
    p = jnp.array(np.random.default_rng(2).normal(size=(200, 14)) * 100, jnp.float32)
    x = jnp.linspace(-3.5, 3.5, 200)
    z, log_slope = spline.forward(x, p, 3.0)
    assert np.isfinite(z).all() and np.isfinite(log_slope).all()
    grads = jax.grad(lambda p, x: sum(jnp.sum(a) for a in spline.forward(x, p, 3.0)), (0, 1))(p, x)
    assert all(np.isfinite(g).all() for g in grads)


def test_actnorm_starts_by_whitening_its_first_batch():
    x = np.random.default_rng(0).normal(3, [1, 20], (50, 4, 4, 2)).astype(np.float32)
    params = bj.actnorm().init(KEY, x)
    z, log_det = bj.actnorm().forward(params, x)
    np.testing.assert_allclose(z.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(z.std(axis=(0, 1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(log_det, -16 * np.log(x.std(axis=(0, 1, 2))).sum(), rtol=1e-4)


def test_actnorm_of_one_example_is_finite():
    z, log_det = bj.actnorm().forward(bj.actnorm().init(KEY, X[:1]), X[:1])
    assert np.isfinite(z).all() and (log_det == 0).all()


def test_batch_norm_trains_by_the_batch_and_runs_by_its_averages():
    flow = bj.batch_norm(decay=0.9)
    params = flow.init(KEY, X)
    other = 2 * X + 1
    z, log_det, stats = flow.forward_train(params, KEY, other)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(log_det, -np.log(np.sqrt(other.var(axis=0) + 1e-5)).sum(), rtol=1e-4)
    np.testing.assert_allclose(stats["var"], 0.9 * X.var(axis=0) + 0.1 * other.var(axis=0), rtol=1e-4)
    z, _ = flow.forward(params, other)
    np.testing.assert_allclose(z, (other - X.mean(axis=0)) / np.sqrt(X.var(axis=0) + 1e-5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["direct", "plu", "householder"])
def test_1x1_convolutions_start_as_rotations(kind):
    flow = bj.invertible_conv(kind)
    params = flow.init(KEY, X)
    w = np.asarray(flow.forward(params, np.eye(4, dtype=np.float32))[0]).T
    np.testing.assert_allclose(w @ w.T, np.eye(4), atol=1e-5)
    np.testing.assert_allclose(flow.forward(params, X)[1], 0, atol=1e-5)
    image = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    np.testing.assert_allclose(flow.forward(params, image)[0], image @ w.T, atol=1e-5)


def test_permutations_by_hand():
    run = lambda flow: flow.forward(flow.init(KEY, X), X)[0]  # noqa: E731
    np.testing.assert_array_equal(run(bj.permutation([3, 1, 0, 2])), X[:, [3, 1, 0, 2]])
    np.testing.assert_array_equal(run(bj.swap(4)), X[:, [2, 3, 0, 1]])
    np.testing.assert_array_equal(run(bj.reverse()), X[:, ::-1])
    assert sorted(run(bj.shuffle())[0].tolist()) == sorted(X[0].tolist())


def test_squeeze_puts_a_square_of_pixels_into_channels():
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3).astype(np.float32)
    z, log_det = bj.squeeze().forward({"params": {}}, x)
    np.testing.assert_array_equal(z[1, 1, 2], x[1, 2:4, 4:6].reshape(-1))
    assert (log_det == 0).all()


def test_logit_by_hand():
    x = np.array([[0.0, 0.3, 1.0]], np.float32)
    z, log_det = bj.logit(0.1).forward({"params": {}}, x)
    y = 0.05 + 0.9 * x
    np.testing.assert_allclose(z, np.log(y / (1 - y)), rtol=1e-5)
    np.testing.assert_allclose(log_det, np.log(0.9 / (y * (1 - y))).sum(), rtol=1e-5)


def test_the_logit_is_a_map_of_all_numbers():
    """Beyond its ends it is a straight line: the density that it makes of a normal latent has the mass 1."""
    flow = bj.logit(0.05, -1.0, 1.0)
    x = np.concatenate([np.linspace(-1.4, -1.0, 9), np.linspace(-1, 1, 9), np.linspace(1.0, 1.4, 9)])
    x = x.astype(np.float32)[:, None]
    z, log_det = flow.forward({"params": {}}, x)
    back, log_det_back = flow.inverse({"params": {}}, z)
    assert (np.diff(z[:, 0]) >= 0).all() and np.isfinite(log_det).all()
    np.testing.assert_allclose(back, x, atol=1e-5)
    np.testing.assert_allclose(log_det_back, -log_det, atol=2e-2)
    ends = 1.0 + np.concatenate([np.linspace(-1, 0.05, 20000), np.linspace(0.05, 0.0527, 200001)])
    grid = np.unique(np.concatenate([-ends, np.linspace(-1, 1, 20001), ends])).astype(np.float32)
    z, log_det = flow.forward({"params": {}}, grid[:, None])
    density = np.exp(np.asarray(jax.scipy.stats.norm.logpdf(z[:, 0]) + log_det, np.float64))
    assert np.trapezoid(density, grid.astype(np.float64)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: bj.affine_coupling(fixed(1.0, 1.0), masks.half(4), "relu"), "exp, sigmoid, 2sigmoid or tanh"),
        (lambda: bj.additive_coupling(fixed(1.0), masks.alternating(4), compact=True), "side by side"),
        (lambda: bj.additive_coupling(fixed(1.0), masks.checkerboard(2, 2), compact=True), "side by side"),
        (lambda: bj.additive_coupling(fixed(1.0), np.ones(4, bool), compact=True), "side by side"),
        (lambda: bj.permutation([0, 0, 1]), "each of 0"),
        (lambda: bj.invertible_conv("qr"), "direct, plu, householder"),
        (lambda: bj.squeeze().forward({"params": {}}, np.zeros((1, 3, 4, 1))), "3 x 4"),
        (lambda: bj.additive_coupling(fixed(1.0, 1.0), masks.half(4)).forward({"params": {}}, X), "1 numbers"),
    ],
)
def test_mistakes(make, words):
    with pytest.raises(UserError, match=words):
        make()
