"""Laws over every bijector: round trips, log-determinants against the Jacobian, jit, rows, conditions, big inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import bijectors as bj
from research.bijectors import masks

RNG = np.random.default_rng(0)
D, IMAGE = 4, (4, 4, 2)


def perceptron(numbers, width=8, moved=None):
    """A conditioner of one hidden layer with weights in general position; a condition [B, K] is appended to x.

    moved: channels that a compact coupling transforms, which gets the numbers of these alone.
    """

    def joined(x, condition):
        flat = x.reshape(len(x), -1)
        return flat if condition is None else jnp.concatenate([flat, condition], axis=1)

    def init(key, x, condition=None):
        sizes = joined(x, condition).shape[1], x[0].size // x.shape[-1] * (moved or x.shape[-1]) * numbers
        keys = jax.random.split(key, 2)
        return {
            "in": jax.random.normal(keys[0], (sizes[0], width)) / np.sqrt(sizes[0]),
            "out": jax.random.normal(keys[1], (width, sizes[1])) / np.sqrt(width),
        }

    def apply(params, x, condition=None, key=None):
        h = jnp.tanh(joined(x, condition) @ params["in"])
        return (h @ params["out"]).reshape(*x.shape[:-1], numbers * (moved or x.shape[-1]))

    return init, apply


HALF, BOARD, CHANNEL = masks.half(D), masks.checkerboard(4, 4), masks.half(2)


def layer():
    """One layer of a homogeneous stack: both halves are moved, channels change places."""
    first = bj.affine_coupling(perceptron(2), HALF, "tanh")
    second = bj.affine_coupling(perceptron(2), ~HALF, "tanh")
    return bj.chain(bj.actnorm(), first, second, bj.invertible_conv())


def two_levels():
    """A squeeze and a coupling, half of the channels leave; then one more coupling."""
    first = bj.chain(squeeze=bj.squeeze(), coupling=bj.affine_coupling(perceptron(2), masks.half(8), "tanh"))
    second = bj.affine_coupling(perceptron(2), masks.half(4, flip=True), "2sigmoid")
    return bj.multiscale([first, second], [(2, 2, 8), (2, 2, 4)])


BIJECTORS = {  # name: (bijector, shape of an example)
    "additive": (bj.additive_coupling(perceptron(1), HALF), (D,)),
    "affine exp": (bj.affine_coupling(perceptron(2), HALF), (D,)),
    "affine sigmoid": (bj.affine_coupling(perceptron(2), BOARD, "sigmoid"), IMAGE),
    "affine tanh": (bj.affine_coupling(perceptron(2), CHANNEL, "tanh"), IMAGE),
    "spline": (bj.rq_spline_coupling(perceptron(3 * 5 - 1), masks.alternating(D), bins=5), (D,)),
    "compact additive": (bj.additive_coupling(perceptron(1, moved=3), masks.half(5), compact=True), (5,)),
    "compact affine": (bj.affine_coupling(perceptron(2, moved=1), CHANNEL, "2sigmoid", compact=True), IMAGE),
    "compact spline": (bj.rq_spline_coupling(perceptron(11, moved=2), ~HALF, bins=4, compact=True), (D,)),
    "scale": (bj.scale(), IMAGE),
    "permutation": (bj.permutation([2, 0, 3, 1]), (D,)),
    "shuffle": (bj.shuffle(), (D,)),
    "swap": (bj.swap(D), (D,)),
    "reverse": (bj.reverse(), IMAGE),
    "conv direct": (bj.invertible_conv("direct"), IMAGE),
    "conv plu": (bj.invertible_conv("plu"), IMAGE),
    "conv householder": (bj.invertible_conv("householder"), (D,)),
    "actnorm": (bj.actnorm(), IMAGE),
    "batch norm": (bj.batch_norm(), IMAGE),
    "squeeze": (bj.squeeze(), IMAGE),
    "flatten": (bj.flatten(IMAGE), IMAGE),
    "shift": (bj.shift(), IMAGE),
    "multiscale": (two_levels(), IMAGE),
    "named chain": (bj.chain(bj.shift(), flatten=bj.flatten(IMAGE), last=bj.reverse()), IMAGE),
    "scan, unrolled": (bj.scan_chain(layer, 3, unroll=True), (D,)),
    "inverse of logit": (bj.invert(bj.logit()), (D,)),
    "inverse": (bj.invert(bj.affine_coupling(perceptron(2), HALF)), (D,)),
    "chain": (layer(), (D,)),
    "scan": (bj.scan_chain(layer, 3), (D,)),
    "scan, not reversible": (bj.scan_chain(layer, 3, reversible=False), (D,)),
}


@pytest.fixture(scope="module", params=BIJECTORS, ids=str)
def built(request):
    """(bijector, params in general position, x [5, ...])."""
    bijector, shape = BIJECTORS[request.param]
    x = RNG.normal(size=(5, *shape)).astype(np.float32)
    params = bijector.init(jax.random.key(0), x)
    moved = jax.tree.map(lambda p: p + 0.2 * RNG.normal(size=p.shape).astype(np.float32), params["params"])
    return bijector, {**params, "params": moved}, x


def test_a_round_trip_comes_back(built):
    bijector, params, x = built
    z, log_det = jax.jit(bijector.forward)(params, x)
    back, log_det_back = jax.jit(bijector.inverse)(params, z)
    np.testing.assert_allclose(back, x, atol=1e-4)
    np.testing.assert_allclose(log_det_back, -log_det, atol=1e-4)
    assert z.dtype == log_det.dtype == jnp.float32 and log_det.shape == (5,)


def test_log_det_is_that_of_the_jacobian(built):
    bijector, params, x = built
    one = lambda x: bijector.forward(params, x[None])[0][0].reshape(-1)  # noqa: E731
    jacobians = np.asarray(jax.jit(jax.vmap(jax.jacrev(one)))(x), np.float64).reshape(5, x[0].size, x[0].size)
    np.testing.assert_allclose(bijector.forward(params, x)[1], np.linalg.slogdet(jacobians)[1], atol=1e-4)


def test_a_batch_is_its_rows(built):
    bijector, params, x = built
    z, log_det = bijector.forward(params, x)
    for i in range(5):
        z_i, log_det_i = bijector.forward(params, x[i : i + 1])
        np.testing.assert_allclose(z_i[0], z[i], atol=1e-5, rtol=1e-6)  # sums of another size round otherwise
        np.testing.assert_allclose(log_det_i[0], log_det[i], atol=1e-5)


def test_jit_and_vmap_change_nothing(built):
    bijector, params, x = built
    z, log_det = bijector.forward(params, x)
    for found in (jax.jit(bijector.forward)(params, x), jax.vmap(bijector.forward, (None, 0))(params, x[None])):
        np.testing.assert_allclose(np.reshape(found[0], z.shape), z, atol=1e-5)
        np.testing.assert_allclose(np.reshape(found[1], (5,)), log_det, atol=1e-5)


def test_inputs_a_hundred_times_too_large_stay_finite(built, request):
    bijector, params, x = built
    z, log_det = bijector.forward(params, 100 * x)
    assert np.isfinite(z).all() and np.isfinite(log_det).all()
    if "logit" not in request.node.name:  # which takes nothing outside of its interval
        x, log_det = bijector.inverse(params, 100 * z)
        assert np.isfinite(x).all() and np.isfinite(log_det).all()


def test_training_without_noise_is_the_same_map(built):
    bijector, params, x = built
    z, _, stats = bj.train(bijector, params, jax.random.key(1), x)
    assert jax.tree.structure(stats) == jax.tree.structure(params.get("stats", {}))
    if bijector.forward_train is None:
        np.testing.assert_array_equal(z, bijector.forward(params, x)[0])
