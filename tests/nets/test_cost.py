"""Parameters and arithmetic against the papers, against sums by hand and against what XLA compiles."""

import jax
import jax.numpy as jnp
import pytest

from configs import base
from research.nets import build, cost
from research.nets.dit import SIZES, DiT
from research.nets.mlp import MLP
from research.nets.unet import UNet

DDPM = dict(channels=(128, 256, 256, 256), blocks=2, attention=(16,), head_dim=256, scale_shift=False)
DDPM = build.make(base.update(base.net(), name="unet", unet=DDPM))  # a config says it all
PAPERS = {  # name: (net, shape, millions of parameters as printed, billions of multiply-adds as printed or None)
    "DDPM, CIFAR-10": (DDPM, (32, 32, 3), 35.7, None),
    "DiT-S/2": (DiT(**SIZES["S"], num_classes=1000, learned_sigma=True), (32, 32, 4), 33, 6.06),
    "DiT-B/2": (DiT(**SIZES["B"], num_classes=1000, learned_sigma=True), (32, 32, 4), 130, 23.01),
    "DiT-L/2": (DiT(**SIZES["L"], num_classes=1000, learned_sigma=True), (32, 32, 4), 458, 80.71),
    "DiT-XL/2": (DiT(**SIZES["XL"], num_classes=1000, learned_sigma=True), (32, 32, 4), 675, 118.64),
}


def arguments(shape, batch=1):
    return jnp.zeros((batch, *shape)), jnp.zeros(batch)


def abstract(net, shape, batch=1):
    """(shapes of the params, example) without computing any."""
    example = arguments(shape, batch)
    return jax.eval_shape(net.init, jax.random.key(0), *example), example


@pytest.mark.parametrize("name", PAPERS)
def test_sizes_of_the_papers(name):
    net, shape, millions, multiply_adds = PAPERS[name]
    params, example = abstract(net, shape)
    assert cost.parameters(params["params"]) / 1e6 == pytest.approx(millions, rel=0.005)
    if multiply_adds:
        assert cost.flops(net.apply, params, *example) / 2e9 == pytest.approx(multiply_adds, rel=0.005)


def test_the_unet_of_ddpm_has_its_parameters_to_the_last():
    params, _ = abstract(DDPM, (32, 32, 3))
    assert cost.parameters(params["params"]) == 35_746_307


def test_an_mlp_by_hand():
    width, depth, size = 16, 3, 5
    params, example = abstract(MLP(width=width, depth=depth), (size,))
    block = width * 2 * width + 2 * width * width  # film, two layers
    products = 2 * width * width + 2 * size * width + depth * block  # embedding, in and out
    assert cost.flops(MLP(width=width, depth=depth).apply, params, *example) == 2 * products


def test_a_dit_by_hand():
    d, depth, tokens, patch, features = 32, 3, 16, 2 * 2 * 3, 256
    net = DiT(width=d, depth=depth, heads=4)
    params, example = abstract(net, (8, 8, 3))
    block = tokens * 12 * d * d + 2 * tokens**2 * d + 6 * d * d
    products = features * d + d * d + 2 * d * d + 2 * tokens * patch * d + depth * block
    assert cost.flops(net.apply, params, *example) == 2 * products


@pytest.mark.parametrize(
    "kernel, stride, padding, spread, stretch, taps",
    [
        (3, 1, [(0, 0)], 1, 1, 3 * 8),
        (3, 1, [(1, 1)], 1, 1, 3 * 10 - 2),  # the outer taps of both ends fall on padding
        (3, 2, [(0, 1)], 1, 1, 3 * 5 - 1),
        (3, 1, [(2, 2)], 2, 1, 3 * 10 - 4),
        (2, 1, [(1, 1)], 1, 2, 20),  # every entry meets both taps of a transposed convolution
    ],
)
def test_a_convolution_counts_the_taps_on_its_input(kernel, stride, padding, spread, stretch, taps):
    def convolve(x, w):
        return jax.lax.conv_general_dilated(
            x,
            w,
            (stride,),
            padding,
            lhs_dilation=(stretch,),
            rhs_dilation=(spread,),
            dimension_numbers=("NXC", "XIO", "NXC"),
        )

    shapes = jax.ShapeDtypeStruct((7, 10, 4), "float32"), jax.ShapeDtypeStruct((kernel, 4, 6), "float32")
    assert cost.flops(convolve, *shapes) == 2 * 7 * 4 * 6 * taps


def test_loops_branches_and_loops_without_a_length():
    w = jnp.zeros((3, 3))
    step = lambda x, _: (x @ w, None)  # noqa: E731
    assert cost.flops(lambda x: jax.lax.scan(step, x, None, length=7)[0], w) == 7 * 54
    assert cost.flops(lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ w @ w, lambda x: x, x), w) == 2 * 54
    assert cost.flops(jax.jit(lambda x: jax.checkpoint(lambda x: x @ w)(x)), w) == 54
    with pytest.raises(ValueError, match="while"):
        cost.flops(lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 1, lambda x: x @ w, x), w)


def compiled_ratio(net, shape, batch):
    """Arithmetic that XLA compiles for loss and gradient, over three times the analytic count of a forward call."""
    params, example = abstract(net, shape, batch)
    step = jax.jit(jax.value_and_grad(lambda params, *a: jnp.mean(net.apply(params, *a) ** 2)))
    compiled = step.lower(params, *example).compile().cost_analysis()
    return compiled["flops"] / (3 * cost.flops(net.apply, params, *example))


SMALL = {  # wide enough that the matrix products are nearly all there is
    "dit": (DiT(width=384, depth=2, heads=6, unroll=2), (16, 16, 4)),
    "unet": (UNet(channels=(128, 128), blocks=1, attention=(8,), scale_shift=False), (16, 16, 3)),
}


@pytest.mark.parametrize("name", SMALL)
def test_xla_compiles_no_more_than_the_count(name):
    net, shape = SMALL[name]
    assert compiled_ratio(net, shape, 2) == pytest.approx(1, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DDPM, CIFAR-10", "DiT-S/2"])
def test_xla_compiles_no_more_than_the_count_of_a_whole_net(name):
    net, shape, _, _ = PAPERS[name]
    net = net.clone(unroll=net.depth) if isinstance(net, DiT) else net
    assert compiled_ratio(net, shape, 1) == pytest.approx(1, abs=0.03)


def test_remat_shows_as_arithmetic():
    net, shape = SMALL["dit"]
    ratio = compiled_ratio(net.clone(remat=True), shape, 2)
    assert ratio == pytest.approx(4 / 3, abs=0.1)
