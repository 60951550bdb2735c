"""Laws over every net: shapes, reach of gradients, independence in the batch, labels, precision, compile time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.nets import embedding
from research.nets.mlp import MLP
from research.nets.unet import UNet

NETS = {
    "mlp": (lambda **k: MLP(width=16, depth=2, **k), (3,)),
    "unet": (lambda **k: UNet(channels=(8, 16), blocks=1, **k), (4, 6, 3)),
}


@pytest.fixture(scope="module", params=NETS, ids=str)
def built(request):
    """(net, params with the zero-initialised ends moved off zero, x [4, ...], t [4], label [4], jitted apply)."""
    make, shape = NETS[request.param]
    net, rng = make(num_classes=5), np.random.default_rng(0)
    x = rng.normal(size=(4, *shape)).astype(np.float32)
    t, label = np.array([0.1, 0.4, 0.6, 0.9], np.float32), np.array([0, 1, 4, -1], np.int32)
    params = jax.jit(net.init)(jax.random.key(0), x, t, label)
    assert (net.apply(params, x, t, label) == 0).all()  # a fresh net predicts zero
    params = jax.tree.map(lambda p: p + rng.normal(size=p.shape).astype(np.float32) / 10, params)
    return net, params, x, t, label, jax.jit(net.apply)


def changed(x, index, value):
    x = np.array(x)
    x[index] = value
    return x


def test_output_has_the_shape_of_the_input(built):
    _, params, x, t, label, apply = built
    out = apply(params, x, t, label)
    assert out.shape == x.shape and out.dtype == jnp.float32


def test_gradient_reaches_every_parameter(built):
    net, params, x, t, label, _ = built
    grads = jax.jit(jax.grad(lambda p: jnp.sum(net.apply(p, x, t, label) ** 2)))(params)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert (grad != 0).any(), path


def test_examples_do_not_see_each_other(built):
    _, params, x, t, label, apply = built
    whole = apply(params, x, t, label)
    rest = slice(1, None)
    other = apply(params, changed(x, rest, 7.0), changed(t, rest, 0.5), changed(label, rest, 2))
    np.testing.assert_array_equal(whole[0], other[0])
    assert (jnp.abs(whole[1:] - other[1:]).max(axis=tuple(range(1, x.ndim))) > 0).all()


def test_time_and_label_matter_and_a_missing_label_is_minus_one(built):
    _, params, x, t, label, apply = built
    base = apply(params, x, t, label)
    assert (base != apply(params, x, t + 0.01, label)).any()
    assert (base[0] != apply(params, x, t, changed(label, 0, 1))[0]).any()
    np.testing.assert_allclose(apply(params, x, t), apply(params, x, t, changed(label, slice(None), -1)), atol=1e-6)


def test_bf16_computes_near_f32_with_f32_parameters(built):
    net, params, x, t, label, apply = built
    half = net.clone(dtype=jnp.bfloat16)
    fresh = jax.eval_shape(half.init, jax.random.key(0), x, t, label)
    assert {p.dtype for p in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}
    exact, rough = apply(params, x, t, label), jax.jit(half.apply)(params, x, t, label)
    assert rough.dtype == jnp.float32
    assert 0 < jnp.abs(exact - rough).max() < 0.1 * jnp.abs(exact).max()


def test_dropout_acts_in_training_only(built):
    net, params, x, t, label, apply = built
    dropped = jax.jit(lambda key: net.clone(dropout=0.5).apply(params, x, t, label, True, rngs={"dropout": key}))
    assert (dropped(jax.random.key(0)) != dropped(jax.random.key(1))).any()
    quiet = jax.jit(lambda: net.clone(dropout=0.5).apply(params, x, t, label))()
    np.testing.assert_allclose(quiet, apply(params, x, t, label), atol=1e-5)


def test_a_deeper_stack_is_the_same_program():
    """Blocks are scanned: the traced program does not grow with depth."""

    def equations(depth):
        net = MLP(width=8, depth=depth)
        arguments = jnp.zeros((1, 2)), jnp.zeros(1)
        params = jax.eval_shape(net.init, jax.random.key(0), *arguments)
        return str(jax.make_jaxpr(net.apply)(params, *arguments)).count("\n")

    assert equations(4) == equations(32)


def test_sizes_that_do_not_halve_are_named():
    with pytest.raises(UserError, match="divide by 4"):
        UNet(channels=(8, 8, 8)).init(jax.random.key(0), jnp.zeros((1, 8, 10, 1)), jnp.zeros(1))


def test_sinusoids_are_unit_pairs_and_tell_times_apart():
    features = embedding.sinusoids(jnp.linspace(0, 1, 50), 32)
    sine, cosine = jnp.split(features, 2, axis=1)
    np.testing.assert_allclose(sine**2 + cosine**2, 1.0, atol=1e-5)
    distances = jnp.linalg.norm(features[:, None] - features[None], axis=-1) + 9 * jnp.eye(50)
    assert distances.min() > 0.1


def test_drop_labels():
    labels = jnp.arange(10000) % 7
    dropped = embedding.drop_labels(jax.random.key(0), labels, 0.3)
    assert abs((dropped == -1).mean() - 0.3) < 0.02
    assert (jnp.where(dropped == -1, labels, dropped) == labels).all()
    assert (embedding.drop_labels(jax.random.key(0), labels, 0.0) == labels).all()
