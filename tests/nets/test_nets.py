"""Laws over every net: shapes, reach of gradients, independence in the batch, conditions, precision, compile time."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.nets import activations, dit, embedding, mlp, unet
from research.nets.coupling_cnn import CouplingCNN
from research.nets.coupling_mlp import CouplingMLP
from research.nets.coupling_resnet import CouplingResNet
from research.nets.coupling_vit import CouplingViT
from research.nets.dit import DiT
from research.nets.mlp import MLP
from research.nets.unet import UNet

UNET = dict(channels=(8, 16), blocks=1, attention=(2,), head_dim=8)
ONE_LEVEL = UNET | dict(channels=(8,))  # compiles in half the time
DIT = dict(width=16, depth=2, heads=2)
NETS = {  # name: (linen module, shape of an example, whether it is told the time)
    "mlp": (lambda **k: MLP(width=16, depth=2, **k), (3,), True),
    "unet": (lambda **k: UNet(**UNET, **k), (4, 6, 3), True),
    "unet_ddpm": (lambda **k: UNet(**ONE_LEVEL, scale_shift=False, **k), (2, 4, 1), True),
    "unet_sequence": (lambda **k: UNet(**ONE_LEVEL, **k), (2, 3), True),
    "unet_table": (lambda **k: UNet(**UNET | dict(attention=(3,)), **k), (5,), True),
    "dit": (lambda **k: DiT(**DIT, **k), (4, 6, 3), True),
    "dit_rope": (lambda **k: DiT(**DIT, positions="rope", **k), (4, 4, 1), True),
    "coupling_vectors": (lambda **k: CouplingResNet(width=16, depth=2, **k), (3,), False),
    "coupling_images": (lambda **k: CouplingResNet(width=8, depth=1, **k), (4, 6, 2), False),
    "coupling_mlp": (lambda **k: CouplingMLP(width=16, **k), (3,), False),
    "coupling_cnn": (lambda **k: CouplingCNN(width=8, **k), (2, 3, 2), False),
    "coupling_vit": (lambda **k: CouplingViT(width=8, depth=2, heads=2, **{"outputs": 1} | k), (2, 3, 2), False),
}


def inputs(shape, timed):
    """x [4, ...], then t [4] where the net is told the time, then label [4]."""
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    t, label = np.array([0.1, 0.4, 0.6, 0.9], np.float32), np.array([0, 1, 4, -1], np.int32)
    return (x, t, label) if timed else (x, label)


@pytest.fixture(scope="module", params=NETS, ids=str)
def built(request):
    """(net, params in general position, so no end is zero, (x, t, label) or (x, label), jitted apply)."""
    make, shape, timed = NETS[request.param]
    net, rng, arguments = make(num_classes=5), np.random.default_rng(0), inputs(shape, timed)
    params = jax.eval_shape(net.init, jax.random.key(0), *arguments)  # compiling the init of a U-Net takes seconds
    return net, jax.tree.map(lambda p: draw(rng, p.shape), params), arguments, jax.jit(net.apply)


def draw(rng, shape):
    """Weights of about the scale that an init gives; lengths and biases away from 1 and 0."""
    fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 4
    return (rng.normal(size=shape) / np.sqrt(fan_in) + (len(shape) == 1) * 0.5).astype(np.float32)


@pytest.mark.parametrize("name", ["mlp", "unet_ddpm", "dit", *(name for name in NETS if name.startswith("coupling_"))])
def test_a_fresh_net_predicts_zero(name):
    make, shape, timed = NETS[name]
    net, arguments = make(num_classes=5), inputs(shape, timed)
    params = jax.jit(net.init)(jax.random.key(0), *arguments)
    assert (jax.jit(net.apply)(params, *arguments) == 0).all()


def program(net, params, arguments):
    return str(jax.make_jaxpr(net.apply)(params, *arguments))


def changed(x, index, value):
    x = np.array(x)
    x[index] = value
    return x


def test_output_has_the_shape_of_the_input(built):
    _, params, arguments, apply = built
    out = apply(params, *arguments)
    assert out.shape == arguments[0].shape and out.dtype == jnp.float32


def test_gradient_reaches_every_parameter(built):
    net, params, arguments, _ = built
    grads = jax.jit(jax.grad(lambda p: jnp.sum(net.apply(p, *arguments) ** 2)))(params)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert (grad != 0).any(), path


def test_examples_do_not_see_each_other(built):
    _, params, arguments, apply = built
    whole, rest = apply(params, *arguments), slice(1, None)
    x, *told = arguments
    other = apply(params, changed(x, rest, 7.0), *(changed(a, rest, 0.5 if a.dtype == np.float32 else 2) for a in told))
    np.testing.assert_array_equal(whole[0], other[0])
    assert (jnp.abs(whole[1:] - other[1:]).max(axis=tuple(range(1, x.ndim))) > 0).all()


def test_every_entry_of_the_input_and_all_that_is_told_matter(built):
    _, params, (x, *told), apply = built
    base = apply(params, x, *told)
    for i in np.ndindex(x.shape[1:]):
        assert (base[0] != apply(params, changed(x, (0, *i), 3.0), *told)[0]).any(), i
    if len(told) == 2:
        assert (base != apply(params, x, told[0] + 0.01, told[1])).any()
    assert (base[0] != apply(params, x, *told[:-1], changed(told[-1], 0, 1))[0]).any()


TIMED = [name for name, (_, _, timed) in NETS.items() if timed]


@pytest.mark.parametrize("name", TIMED)
def test_a_net_may_be_told_two_times(name):
    make, shape, _ = NETS[name]
    net, (x, t, label), rng = make(num_classes=5), inputs(shape, True), np.random.default_rng(0)
    told = np.stack([t, t / 3], axis=1)
    abstract = jax.eval_shape(net.init, jax.random.key(0), x, told, label)
    params, apply = jax.tree.map(lambda p: draw(rng, p.shape), abstract), jax.jit(net.apply)
    base = apply(params, x, told, label)
    assert base.shape == x.shape
    for column in (0, 1):
        moved = apply(params, x, changed(told, (0, column), 0.95), label)
        assert (base[0] != moved[0]).any() and (base[1:] == moved[1:]).all()
    # All that grows is what reads the times: by as many rows as one more time has features.
    single = jax.eval_shape(net.init, jax.random.key(0), x, t, label)
    grown = [
        (jax.tree_util.keystr(path), b.shape[0] / a.shape[0])
        for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(single), jax.tree.leaves(abstract), strict=True)
        if a.shape != b.shape
    ]
    assert grown == [("['params']['embedding']['time_in']['kernel']", 2.0)]


def test_sinusoids_of_two_times_are_those_of_each():
    t = jnp.array([[0.2, 0.7], [1.0, 0.0], [0.5, 0.5]])
    each = [embedding.sinusoids(t[:, i], 8) for i in (0, 1)]
    np.testing.assert_array_equal(embedding.sinusoids(t, 8), jnp.concatenate(each, axis=1))
    frequencies = 256.0 ** (np.arange(4) / 3)
    np.testing.assert_allclose(each[0][0], np.concatenate([f(0.2 * frequencies) for f in (np.sin, np.cos)]), atol=1e-5)


def test_a_missing_label_is_minus_one():
    table = embedding.LabelTable(5, 8)
    params = table.init(jax.random.key(0), 3)
    np.testing.assert_array_equal(table.apply(params, 3), table.apply(params, 3, jnp.full(3, -1)))
    assert (table.apply(params, 3) != table.apply(params, 3, jnp.array([0, 1, 4]))).any(axis=1).all()


def test_bf16_computes_near_f32_with_f32_parameters(built):
    net, params, arguments, apply = built
    again = {"remat": True} if hasattr(net, "remat") else {}  # which changes no number, and spares a compilation
    half = net.clone(dtype=jnp.bfloat16, **again)
    fresh = jax.eval_shape(half.init, jax.random.key(0), *arguments)
    assert {p.dtype for p in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}
    exact, rough = apply(params, *arguments), jax.jit(half.apply)(params, *arguments)
    assert rough.dtype == jnp.float32
    assert 0 < jnp.abs(exact - rough).max() < 0.1 * jnp.abs(exact).max()


def test_dropout_acts_in_training_only(built):
    net, params, arguments, _ = built
    loud = net.clone(dropout=0.5)
    dropped = jax.jit(lambda key: loud.apply(params, *arguments, train=True, rngs={"dropout": key}))
    assert (dropped(jax.random.key(0)) != dropped(jax.random.key(1))).any()
    assert program(loud, params, arguments) == program(net, params, arguments)


def test_remat_wraps_every_block(built):
    net, params, arguments, _ = built
    if not hasattr(net, "remat"):
        pytest.skip("it has no blocks")
    again = net.clone(remat=True)
    assert jax.tree.structure(params) == jax.tree.structure(jax.eval_shape(again.init, jax.random.key(0), *arguments))
    plain, wrapped = (program(n, params, arguments).count("remat2[") for n in (net, again))
    assert plain == 0 < wrapped
    if isinstance(net, UNet):  # every block, those of attention too
        assert wrapped == sum(n.startswith(("down", "up", "middle")) for n in params["params"])


KINDS = [(name, kind) for name in ("mlp", "coupling_vectors", "coupling_mlp") for kind in activations.names()]
KINDS += [
    (name, kind)
    for name in ("unet_table", "dit", "coupling_cnn", "coupling_vit")
    for kind in ("relu", "prelu", "maxout", "swiglu")
]  # one a sort


@pytest.mark.parametrize("name, kind", KINDS)
def test_every_net_takes_every_activation(name, kind):
    make, shape, timed = NETS[name]
    net, arguments = make(activation=kind), inputs(shape, timed)[: 1 + timed]
    params = jax.eval_shape(net.init, jax.random.key(0), *arguments)
    assert jax.eval_shape(net.apply, params, *arguments).shape == arguments[0].shape
    learned = {p[-1].key for p, _ in jax.tree_util.tree_leaves_with_path(params)} - {
        "kernel",
        "bias",
        "scale",
        "embedding",
        "positions",
    }
    assert learned == set(activations.TABLE[kind].learned)


@pytest.mark.parametrize("positions", ["sincos", "rope"])
def test_a_transformer_knows_where_its_patches_are(positions):
    net, (x, t, _) = DiT(**DIT, positions=positions), inputs((4, 4, 1), True)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: draw(rng, p.shape), jax.eval_shape(net.init, jax.random.key(0), x, t))
    swapped = np.concatenate([x[:, 2:], x[:, :2]], axis=1)  # the upper patches and the lower
    out = net.apply(params, swapped, t)
    assert jnp.abs(jnp.concatenate([out[:, 2:], out[:, :2]], axis=1) - net.apply(params, x, t)).max() > 1e-3


def test_a_transformer_written_out_is_the_scanned_one():
    net, (x, t, _) = DiT(**DIT), inputs((4, 6, 3), True)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: draw(rng, p.shape), jax.eval_shape(net.init, jax.random.key(0), x, t))
    out = net.clone(unroll=net.depth).apply(params, x, t)  # the same params serve both
    np.testing.assert_allclose(out, net.apply(params, x, t), rtol=1e-5, atol=1e-5)


FRESH = {  # blocks that are the identity before any training, whatever they are told
    "mlp": (lambda: mlp.Block(8, "silu", 0.0, False, jnp.float32), (4, 8), ()),
    "residual": (lambda: unet.ResBlock(8, True, "silu", 0.0, False, jnp.float32), (4, 3, 3, 8), ()),
    "attention": (lambda: unet.AttentionBlock(8, jnp.float32), (4, 3, 3, 8), None),
    "dit": (lambda: dit.Block(8, 2, "gelu_tanh", 0.0, False, jnp.float32), (4, 5, 8), (None,)),
}


@pytest.mark.parametrize("name", FRESH)
def test_a_fresh_block_is_the_identity(name):
    make, shape, more = FRESH[name]
    h, c = (np.random.default_rng(0).normal(size=s).astype(np.float32) for s in (shape, (4, 8)))
    arguments = (h,) if more is None else (h, c, *more)
    out, _ = make().init_with_output(jax.random.key(0), *arguments)
    np.testing.assert_array_equal(out[0] if isinstance(out, tuple) else out, h)


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_learned_sigma_doubles_the_channels(name):
    make, shape, timed = NETS[name]
    net, arguments = make(learned_sigma=True), inputs(shape, timed)[:2]
    params = jax.eval_shape(net.init, jax.random.key(0), *arguments)
    assert jax.eval_shape(net.apply, params, *arguments).shape == (4, *shape[:-1], 2 * shape[-1])


DEEP = {  # name: (depth -> net, arguments)
    "mlp": (lambda depth: MLP(width=8, depth=depth), ((1, 2), (1,))),
    "dit": (lambda depth: DiT(width=8, depth=depth, heads=2), ((1, 4, 4, 1), (1,))),
    "coupling": (lambda depth: CouplingResNet(width=8, depth=depth), ((1, 2),)),
}


@pytest.mark.parametrize("name", DEEP)
def test_a_deeper_stack_is_the_same_program(name):
    """Blocks are scanned: neither the traced program of a training step nor that of init grows with depth."""
    make, shapes = DEEP[name]
    arguments = [jnp.zeros(shape) for shape in shapes]

    def equations(depth):
        net = make(depth)
        params = jax.eval_shape(net.init, jax.random.key(0), *arguments)
        step = jax.make_jaxpr(jax.grad(lambda p: net.apply(p, *arguments).sum()))(params)
        return str(step).count(" = "), str(jax.make_jaxpr(net.init)(jax.random.key(0), *arguments)).count(" = ")

    assert equations(4) == equations(32)


@pytest.mark.parametrize(
    "net, shape, sentence",
    [
        (UNet(channels=(8, 8, 8)), (8, 10, 1), "divide by 4"),
        (DiT(**DIT), (5, 4, 1), "patch of 2"),
        (DiT(**DIT), (5,), "patch of 2"),
        (DiT(**DIT | {"width": 18}), (4, 4, 1), "divides by 4"),
        (DiT(**DIT | {"heads": 3}), (4, 4, 1), "net.dit.heads"),
        (DiT(**DIT, positions="learned"), (4, 4, 1), "sincos or rope"),
        (DiT(**DIT, attention="cudnn"), (4, 4, 1), "choose xla, or cudnn for net.dtype=bfloat16 on a GPU"),
        (UNet(channels=(8, 8), attention=(3,)), (4, 4, 1), r"sizes \[4, 2\]"),
        (UNet(channels=(12, 12), head_dim=5), (4, 4, 1), None),
        (UNet(channels=(10,), head_dim=3), (4, 4, 1), "head_dim"),
        (MLP(activation="rellu"), (3,), "relu"),
        (UNet(channels=(7, 7), activation="maxout"), (4, 4, 1), "pairs"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(net, shape, sentence):
    with pytest.raises(UserError, match=sentence) if sentence else contextlib.nullcontext():
        jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, *shape)), jnp.zeros(1))


def test_labels_without_classes_are_no_condition():
    with pytest.raises(UserError, match="labels need num_classes"):
        CouplingResNet().init(jax.random.key(0), jnp.zeros((3, 2)), jnp.zeros(3, int))
    own = CouplingResNet(width=8, depth=1)
    params = own.init(jax.random.key(0), jnp.ones((3, 2)), jnp.ones((3, 4)))
    assert own.apply(params, jnp.ones((3, 2)), jnp.ones((3, 4))).shape == (3, 2)


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
