"""The shared parts against their formulas."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.nets import activations, blocks, dit, unet

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_weight_norm_is_a_length_times_a_direction():
    x, net = normal(5, 4), blocks.WeightNormConv(3)
    params = net.init(jax.random.key(0), x)
    v, g, b = normal(4, 3), normal(3), normal(3)
    params = {"params": {"kernel": v, "scale": g, "bias": b}}
    np.testing.assert_allclose(net.apply(params, x), x @ (g * v / np.linalg.norm(v, axis=0)) + b, rtol=1e-5)
    stretched = {"params": {**params["params"], "kernel": v * np.array([2.0, 0.1, 30.0], np.float32)}}
    np.testing.assert_allclose(net.apply(stretched, x), net.apply(params, x), rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 2), (6, 5, 2)])
def test_weight_norm_of_a_convolution_has_unit_kernels_at_first(shape):
    x, net = normal(1, *shape), blocks.WeightNormConv(4)
    params = net.init(jax.random.key(0), x)
    plain = nn.Conv(4, (3,) * (len(shape) - 1))
    kernel = params["params"]["kernel"]
    kernel = kernel / jnp.sqrt(jnp.sum(kernel**2, axis=tuple(range(kernel.ndim - 1))))
    expected = plain.apply({"params": {"kernel": kernel, "bias": jnp.zeros(4)}}, x)
    np.testing.assert_allclose(net.apply(params, x), expected, rtol=1e-5, atol=1e-6)


def test_attention_is_its_formula():
    h, net = normal(2, 6, 8), blocks.Attention(heads=2)
    params = net.init(jax.random.key(0), h)
    own = params["params"]
    qkv = h @ own["qkv"]["kernel"] + own["qkv"]["bias"]
    out = []
    for head in range(2):
        q, k, v = (qkv[..., 8 * i + 4 * head : 8 * i + 4 * head + 4] for i in range(3))
        out.append(jax.nn.softmax(q @ k.swapaxes(1, 2) / 2.0) @ v)
    expected = jnp.concatenate(out, axis=-1) @ own["out"]["kernel"] + own["out"]["bias"]
    np.testing.assert_allclose(net.apply(params, h), expected, atol=1e-5)


def layer_norm(h):
    return (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-6)


def general(net, *arguments):
    """Params in general position."""
    return jax.tree.map(lambda p: normal(*p.shape) / 3, jax.eval_shape(net.init, jax.random.key(0), *arguments))


def test_a_dit_block_is_its_formula():
    net, h, c = dit.Block(8, 2, "gelu_tanh", 0.0, False, jnp.float32), normal(2, 5, 8), normal(2, 8)
    own = (params := general(net, h, c, None))["params"]
    told = np.split((jax.nn.silu(c) @ own["told"]["kernel"] + own["told"]["bias"])[:, None], 6, axis=-1)
    attention = blocks.Attention(2).apply({"params": own["attention"]}, layer_norm(h) * (1 + told[0]) + told[1])
    first = h + told[2] * attention
    forward, y = own["feed_forward"], layer_norm(first) * (1 + told[3]) + told[4]
    hidden = jax.nn.gelu(y @ forward["in"]["kernel"] + forward["in"]["bias"])
    expected = first + told[5] * (hidden @ forward["out"]["kernel"] + forward["out"]["bias"])
    np.testing.assert_allclose(net.apply(params, h, c, None)[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale_shift", [True, False])
def test_a_residual_block_is_its_formula(scale_shift):
    net, h, c = unet.ResBlock(8, scale_shift, "silu", 0.0, False, jnp.float32), normal(2, 6, 4), normal(2, 8)
    own = (params := general(net, h, c))["params"]
    conv = lambda name, x, size=3: nn.Conv(8, (size,)).apply({"params": own[name]}, x)  # noqa: E731
    norm = lambda name, x, groups: nn.GroupNorm(groups).apply({"params": own[name]}, x)  # noqa: E731
    y = conv("conv_in", jax.nn.silu(norm("norm_in", h, 1)))
    told = (jax.nn.silu(c) @ own["told"]["kernel"] + own["told"]["bias"])[:, None]
    y = norm("norm_out", y, 2) * (1 + told[..., :8]) + told[..., 8:] if scale_shift else norm("norm_out", y + told, 2)
    expected = conv("shortcut", h, 1) + conv("conv_out", jax.nn.silu(y))
    np.testing.assert_allclose(net.apply(params, h, c), expected, rtol=1e-3, atol=1e-4)


def test_rotary_positions_see_differences_only():
    angles = dit.grid_angles(3, 4, 2)
    q, k = (jnp.broadcast_to(normal(8), (1, 12, 1, 8)) for _ in range(2))
    turned = blocks.rotated(q, angles)
    np.testing.assert_allclose(jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(q, axis=-1), rtol=1e-5)
    logits = jnp.einsum("bqnd,bknd->qk", turned, blocks.rotated(k, angles)).reshape(3, 4, 3, 4)
    np.testing.assert_allclose(logits[0, 0, 1, 2], logits[1, 1, 2, 3], rtol=1e-4)
    assert abs(logits[0, 0, 1, 2] - logits[0, 0, 2, 1]) > 1e-3


def test_sine_positions_tell_all_places_apart():
    angles = dit.grid_angles(5, 7, 4)
    features = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)
    distances = jnp.linalg.norm(features[:, None] - features[None], axis=-1) + 9 * jnp.eye(35)
    assert angles.shape == (35, 8) and distances.min() > 0.1


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_are_squares_of_pixels_and_come_back(patch):
    x = normal(2, 8, 4, 3)
    tokens = dit.patchify(x, patch)
    np.testing.assert_array_equal(tokens[1, 0], x[1, :patch, :patch].reshape(-1))
    np.testing.assert_array_equal(dit.unpatchify(tokens, patch, 8, 4), x)


GATED = {
    "glu": blocks.GLU,
    "gtu": blocks.GTU,
    "bilinear": blocks.Bilinear,
    "reglu": blocks.ReGLU,
    "geglu": blocks.GEGLU,
    "swiglu": blocks.SwiGLU,
}


@pytest.mark.parametrize("kind", GATED)
def test_a_gated_unit_costs_what_an_ungated_one_does(kind):
    h = normal(2, 48)
    count = lambda net: sum(p.size for p in jax.tree.leaves(net.init(jax.random.key(0), h)))  # noqa: E731
    plain, gated = count(blocks.FeedForward(192, 48)), count(GATED[kind](192, 48))
    assert abs(gated / plain - 1) < 0.01
    net = GATED[kind](6, 2)
    params = net.init(jax.random.key(0), h)
    own = params["params"]
    expected = activations.get(kind)(h @ own["in"]["kernel"]) @ own["out"]["kernel"]
    np.testing.assert_allclose(net.apply(params, h), expected, rtol=1e-4, atol=1e-5)


def test_only_gated_units_are_gated():
    with pytest.raises(UserError, match="no gated unit"):
        blocks.gated("relu")


def test_learned_parameters_start_at_their_value_one_a_channel():
    x, net = normal(3, 4), blocks.Activation("prelu")
    params = net.init(jax.random.key(0), x)
    np.testing.assert_array_equal(params["params"]["negative_slope"], np.full(4, 0.25))
    slopes = {"params": {"negative_slope": jnp.array([0.0, 0.5, 1.0, 2.0])}}
    np.testing.assert_allclose(net.apply(slopes, x), np.where(x > 0, x, x * [0, 0.5, 1, 2]), rtol=1e-6)


@pytest.mark.parametrize("channels, groups", [(128, 32), (24, 6), (14, 2), (3, 1), (8, 2)])
def test_group_norm_has_groups_of_four_channels_or_more(channels, groups):
    x = normal(2, 5, 5, channels) * 3 + 1
    net = blocks.group_norm(channels, jnp.float32, None)
    out = net.apply(net.init(jax.random.key(0), x), x).reshape(2, 25, groups, -1)
    np.testing.assert_allclose(out.mean(axis=(1, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=(1, 3)), 1, atol=1e-3)
