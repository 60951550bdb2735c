"""`of` through every kind of primitive: exact where it can know, everything where it cannot."""

import math
import warnings
from fractions import Fraction

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from research.errors import UserError
from research.nets import unet
from research.nets.dit import DiT, patchify, unpatchify
from research.nets.unet import UNet
from research.receptive_field import of

SHAPE = (1, 24, 24, 4)
IDENTITY = np.eye(4, dtype=np.float32)
EVERYTHING = (math.inf, 0, math.inf)


def conv(x, size=3, stride=1, padding="SAME", base=1, outputs=4):
    """A convolution of an image, mixing all channels."""
    weights = np.ones((size, size, x.shape[-1], outputs), np.float32)
    spread, layout = {"lhs_dilation": (base, base)}, ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, weights, (stride,) * 2, padding, dimension_numbers=layout, **spread)


def measures(fn, shape=SHAPE, **options):
    return of(fn, shape, **options)[:3]


def squeeze(x):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)


def unsqueeze(x):
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, 2 * h, 2 * w, c // 4)


@jax.custom_jvp
def twice(x):
    return conv(conv(x))


twice.defjvp(lambda x, t: (twice(x[0]), t[0]))


@jax.custom_vjp
def once(x):
    return conv(x)


once.defvjp(lambda x: (once(x), None), lambda _, g: (g,))


def reflected(x):
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")


LOCAL = {  # name: (function, size, stride, padding)
    "identity": (lambda x: x, 1, 1, 0),
    "jit": (jax.jit(conv), 3, 1, 1),
    "remat": (jax.checkpoint(lambda x: conv(jnp.tanh(conv(x)))), 5, 1, 2),
    "custom_jvp": (twice, 5, 1, 2),
    "custom_vjp": (once, 3, 1, 1),
    "elementwise": (lambda x: jnp.where(x > 0, x, jax.nn.gelu(conv(x))), 3, 1, 1),
    "scan": (lambda x: lax.scan(lambda h, _: (conv(h), None), x, None, length=4)[0], 9, 1, 4),
    "scan_fixed": (lambda x: lax.scan(lambda h, w: (h @ w, h), x, np.ones((3, 4, 4), np.float32))[0], 1, 1, 0),
    "scan_outputs": (lambda x: lax.scan(lambda h, _: (conv(h), h), x, None, length=3)[1][2], 5, 1, 2),
    "cond": (lambda x: lax.cond(True, conv, lambda y: y, x), 3, 1, 1),
    "transposed": (lambda x: conv(x, 4, 1, [(2, 2)] * 2, 2), 2, Fraction(1, 2), 1),
    "pad": (lambda x: conv(jnp.pad(x, ((0, 0), (2, 0), (2, 0), (0, 0))), 3, 1, "VALID"), 3, 1, 2),
    "slice": (lambda x: x[:, 3:, 3:], 1, 1, -3),
    "strided": (lambda x: conv(x)[:, ::3, ::3], 3, 3, 1),
    "causal": (lambda x: jnp.concatenate([jnp.zeros_like(x[:, :2]), x[:, :-2]], 1), 1, 1, (2, 0)),
    "reflected": (lambda x: reflected(x)[:, 1:-1, 1:-1], 1, 1, 0),
    "channels": (lambda x: jnp.concatenate([x, conv(x)], -1), 3, 1, 1),
    "layout": (lambda x: conv(jnp.moveaxis(jnp.moveaxis(x, 3, 1), 1, 3).swapaxes(1, 2)).swapaxes(1, 2), 3, 1, 1),
    "dense": (lambda x: x @ IDENTITY, 1, 1, 0),
    "einsum": (lambda x: jnp.einsum("bhwc,cd->dbhw", x, IDENTITY).transpose(1, 2, 3, 0), 1, 1, 0),
    "flattened": (lambda x: conv((x.reshape(-1, 4) @ IDENTITY).reshape(x.shape)), 3, 1, 1),
    "tokens": (lambda x: conv((x.reshape(1, -1, 4) @ IDENTITY).reshape(x.shape)), 3, 1, 1),
    "reversed": (lambda x: conv(x[:, ::-1])[:, ::-1], 3, 1, 1),
    "repeated": (lambda x: jnp.repeat(jnp.repeat(x, 2, 1), 2, 2), 1, Fraction(1, 2), 0),
    "upsampled": (lambda x: conv(jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)), 2, Fraction(1, 2), 1),
    "max_pool": (lambda x: nn.max_pool(x, (3, 3), (2, 2)), 3, 2, 0),
    "avg_pool": (lambda x: nn.avg_pool(x, (3, 3), padding="SAME"), 3, 1, 1),
    "squeezed": (lambda x: unsqueeze(squeeze(x)), 1, 1, 0),
    "patches": (lambda x: unpatchify(patchify(x, 4), 4, 24, 24), 1, 1, 0),
    "patch_mixed": (lambda x: unpatchify(patchify(x, 4) @ np.ones((64, 64), np.float32), 4, 24, 24), 4, 1, 0),
    "coupling": (lambda x: unsqueeze(squeeze(x) + conv(squeeze(x), outputs=16)), 6, 1, 2),
    "windows": (lambda x: x.reshape(1, 8, 3, 24, 4).sum(2), (3, 1), (3, 1), 0),
    "sorted_channels": (lambda x: jnp.sort(x, -1) + jnp.cumsum(x, -1) + lax.dynamic_slice_in_dim(x, 1, 1, 3), 1, 1, 0),
    "taken_channels": (lambda x: x[..., np.array([0, 3])], 1, 1, 0),
}


@pytest.mark.parametrize("name", LOCAL)
def test_local(name):
    fn, *wanted = LOCAL[name]
    assert measures(fn) == tuple(wanted)
    assert not of(fn, SHAPE).is_global


def attention(x):
    tokens = x.reshape(1, -1, 1, 4)
    return jax.nn.dot_product_attention(tokens, tokens, tokens).reshape(x.shape)


GLOBAL = {
    "attention": attention,
    "dense_over_space": lambda x: x.reshape(1, -1) @ np.ones((24 * 24 * 4, 24), np.float32),
    "fft": lambda x: jnp.fft.fft2(x, axes=(1, 2)).real,
    "flattened_sort": lambda x: jnp.sort(x.reshape(1, -1)).reshape(x.shape),
    "gather": lambda x: x[:, np.arange(24)[::-1].copy()][:, :, np.arange(24)],
    "scatter": lambda x: x.at[:, np.array([1, 2])].set(0.0),
    "dynamic_kernel": lambda x: x * lax.conv(x[:, :4, :4], x[:, :4, :4], (1, 1), "SAME")[:1, :1, :1, :1],
    "while": lambda x: lax.while_loop(lambda h: h.sum() < 0, conv, x),
    "index": lambda x: lax.dynamic_slice_in_dim(x, x.argmax(), 24, 1),
    "predicate": lambda x: lax.cond(x.sum() > 0, lambda y: y, conv, x),
    "one_for_all": lambda x: x + x[:, :1, :1],
    "callback": lambda x: jax.pure_callback(lambda y: y, jax.ShapeDtypeStruct(SHAPE, jnp.float32), x),
}


@pytest.mark.parametrize("name", GLOBAL)
def test_what_may_see_everything_is_global(name):
    for statistics in (True, False):
        field = of(GLOBAL[name], SHAPE, statistics=statistics)
        assert field.is_global and field[:3] == EVERYTHING
    assert field.interval(0) == ((-math.inf, math.inf),) * 2 and field.support(23) == ((0, 23), (0, 23))


def rows(x):
    return lax.scan(lambda h, row: (h + row, h), x[:, 0], x.swapaxes(0, 1))[1].swapaxes(0, 1)[:, 0]


def test_mixing_along_one_axis_is_global_there_only():
    for fn in (lambda x: lax.cumsum(x, 1), lambda x: jnp.sort(x, 1), lambda x: x[:, np.array([5, 2])], rows):
        assert of(fn, SHAPE).size == (math.inf, 1)


def norm(x):
    return (x - x.mean((1, 2), keepdims=True)) / jnp.sqrt(x.var((1, 2), keepdims=True) + 1)


def excitation(x):
    return x * jax.nn.sigmoid(x.mean((1, 2)) @ IDENTITY)[:, None, None]


@pytest.mark.parametrize("fn", [norm, excitation, lambda x: x / jnp.abs(x).max()])
def test_statistics_over_space_can_be_left_out(fn):
    assert measures(lambda x: conv(fn(conv(x)))) == EVERYTHING
    assert measures(lambda x: conv(fn(conv(x))), statistics=False) == (5, 1, 2)


def test_a_mean_that_does_not_come_back_is_no_statistic():
    assert measures(lambda x: conv(x).mean((1, 2)), statistics=False) == EVERYTHING


def test_an_unknown_primitive_is_never_local():
    from jax.extend.core import Primitive

    stranger = Primitive("stranger")
    stranger.def_abstract_eval(lambda x: x)
    assert measures(stranger.bind) == EVERYTHING
    assert measures(lambda x: conv(x) + stranger.bind(jnp.ones(SHAPE))) == (3, 1, 1)  # of constants it does no harm


def test_the_input_may_be_smaller_than_the_field():
    deep = lambda x: conv(conv(conv(x, 5, 2), 5, 2), 5, 2)  # noqa: E731
    assert {measures(deep, (1, n, n, 4)) for n in (9, 25, 201)} == {(29, 8, 14)}


def test_spatial_axes_and_dimensions():
    assert measures(lambda x: x + jnp.pad(x, ((0, 0), (2, 0)))[:, :-2], (3, 9), spatial_axes=(1,)) == (3, 1, 2)
    assert measures(lambda x: x[:, :, 1:], (2, 8, 8, 8, 1)) == (1, 1, (0, -1, 0))
    assert measures(lambda x: x.mean(1), (2, 5), spatial_axes=(-1,)) == EVERYTHING
    assert of(lambda x: x, (2, 3))[:4] == (0, 0, 0, False)
    assert measures(lambda x: jnp.ones(SHAPE)) == (0, 0, 0) and of(lambda x: jnp.ones(SHAPE), SHAPE).support(0) is None


def test_batch_and_groups():
    """A grouped convolution keeps apart the channels of its groups."""

    def grouped(x):
        y = jnp.concatenate([x[..., :2], conv(x)[..., :2]], -1)
        weights = np.ones((1, 1, 2, 4), np.float32)
        options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 2}
        return lax.conv_general_dilated(y, weights, (1, 1), "SAME", **options)

    assert measures(lambda x: grouped(x)[..., :2]) == (1, 1, 0)
    assert measures(lambda x: grouped(x)[..., 2:]) == (3, 1, 1)


def test_strides_that_disagree_are_warned_about():
    with pytest.warns(UserWarning, match="different strides"):
        field = of(lambda x: conv(x, 3, 2) + conv(x)[:, :12, :12], SHAPE)
    assert field.size >= 3 and field.support(11)[0] == (10, 23)


def test_more_than_one_output_is_a_mistake():
    with pytest.raises(UserError, match="one array to one, not to 2"):
        of(lambda x: (x, x), SHAPE)


def fresh(net, shape):
    return lambda x: net.init_with_output(jax.random.key(0), x, jnp.zeros(1))[0]


class NoAttention(nn.Module):
    head_dim: int
    dtype: jnp.dtype

    def __call__(self, h):
        return h


def test_a_unet(monkeypatch):
    """Its attention makes it global, its norms do too; without both it is finite, at any size of the input."""
    apply = fresh(UNet(channels=(8, 16), blocks=1), SHAPE)
    assert measures(apply) == measures(apply, statistics=False) == EVERYTHING
    monkeypatch.setattr(unet, "AttentionBlock", NoAttention)
    assert measures(apply) == EVERYTHING
    found = [of(apply, (1, n, n, 4), statistics=False) for n in (4, 16, 64)]
    assert {field[:3] for field in found} == {found[0][:3]} and found[0].size < 100 and found[0].stride == 1


def test_a_transformer_is_global():
    assert measures(fresh(DiT(width=16, depth=2, heads=2), SHAPE), statistics=False) == EVERYTHING


class Step(nn.Module):
    @nn.compact
    def __call__(self, h, _):
        return h + nn.Conv(4, (3, 3))(nn.LayerNorm()(jax.nn.silu(h))), None


@pytest.mark.parametrize("remat", [False, True])
def test_scanned_modules(remat):
    step = nn.remat(Step, prevent_cse=False) if remat else Step
    stack = nn.scan(step, variable_axes={"params": 0}, split_rngs={"params": True}, length=5)()
    assert measures(lambda x: stack.init_with_output(jax.random.key(0), x, None)[0][0]) == (11, 1, 5)


def test_no_warning_where_strides_agree():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measures(lambda x: conv(x, 3, 2) + conv(x, 1, 2)) == (3, 2, 0)


def per_example(x, w):
    layout = ("NXC", "XIO", "NXC")
    return lax.conv_general_dilated(x[None], w, (1,), "SAME", dimension_numbers=layout)[0]


def haar(x):
    even, odd = x[:, ::2], x[:, 1::2]
    return jnp.stack([even + odd, even - odd], axis=-1)


ROW = (1, 16, 4)
FOLLOWED = {  # functions of [1, 16, 4] whose every unit is checked against the gradient
    "a reshape that permutes": lambda x: lax.reshape(x, (1, 4, 16), (0, 2, 1)),
    "columns first": lambda x: jnp.reshape(x, (1, 4, 16), order="F"),
    "a kernel each": lambda x: jax.vmap(per_example)(x, np.ones((1, 3, 4, 4), np.float32)),
    "stack": lambda x: jnp.stack([x, 2 * x], axis=2).reshape(1, 32, 4),
    "haar": haar,
    "tile": lambda x: jnp.tile(x, (1, 2, 1)),
    "unstack": lambda x: jnp.stack(jnp.unstack(x, axis=2)[::-1], axis=2),
    "windows": lambda x: x.reshape(4, 4, 4),
    "squeeze": lambda x: x.reshape(1, 8, 8),
    "squeeze and flip": lambda x: x.reshape(1, 8, 8)[..., ::-1],
    "roll by nothing": lambda x: sum(jnp.roll(x, s, 1) for s in (0, 1)),
    "an empty piece": lambda x: jnp.concatenate([x[:, :0], x + x[:, :0].sum()], axis=1),
    "edges": lambda x: jnp.pad(x, ((0, 0), (2, 1), (0, 0)), mode="edge"),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_every_unit_sees_what_its_gradient_does(name):
    fn = FOLLOWED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an edge repeated has another stride than the rest
        field = of(fn, ROW)
    jacobian = np.asarray(jax.jacrev(fn)(jnp.ones(ROW)))
    axis, rank = field.axes[0], jacobian.ndim - 3
    seen = (jacobian != 0).any(axis=(*(k for k in range(rank) if k != axis), rank, rank + 2))
    for unit, row in enumerate(seen):
        where = np.nonzero(row)[0]
        assert field.support(unit) == ((where[0], where[-1]),), unit
        (low, high), n = field.interval(unit)[0], ROW[1]
        assert (max(low, 0) <= where[0] and where[-1] <= min(high, n - 1)) or name == "edges"  # which differ in strides


@pytest.mark.parametrize("shape, axes", [((1, 4, 4, 1), (5,)), ((1, 0, 4), None)])
def test_axes_that_are_not_there(shape, axes):
    with pytest.raises(UserError, match="no spatial axes"):
        of(lambda x: x, shape, spatial_axes=axes)
