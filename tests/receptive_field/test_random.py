"""Random networks: what `of` tells is where the gradient is, to the pixel, borders included."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from research.receptive_field import of

LAYOUTS = {1: ("NXC", "XIO", "NXC"), 2: ("NXYC", "XYIO", "NXYC")}


def conv(x, rng, outputs=2, kernel=None, **options):
    """Mixes all channels by positive weights."""
    dims = x.ndim - 2
    weights = rng.uniform(0.5, 1.5, (*kernel, x.shape[-1], outputs)).astype(np.float32)
    return lax.conv_general_dilated(x, weights, dimension_numbers=LAYOUTS[dims], **options)


def plain(x, rng):
    dims = x.ndim - 2
    kernel, dilation = rng.integers(1, 5, dims), rng.integers(1, 3, dims)
    pads = [tuple(map(int, rng.integers(0, (k - 1) * d + 1, 2))) for k, d in zip(kernel, dilation)]
    stride = [int(rng.integers(1, 4)) if n > 12 else 1 for n in x.shape[1:-1]]
    return conv(x, rng, 2, tuple(kernel), window_strides=stride, padding=pads, rhs_dilation=tuple(dilation))


def pool(x, rng):
    dims = x.ndim - 2
    kernel, stride = int(rng.integers(2, 4)), int(rng.integers(1, 3))
    padding = [(0, 0), *[tuple(map(int, rng.integers(0, 2, 2)))] * dims, (0, 0)]
    window = (1, *(kernel,) * dims, 1), (1, *(stride,) * dims, 1)
    return lax.reduce_window(x, np.float32(0), lax.add, *window, padding) / kernel


def transposed(x, rng):
    dims = x.ndim - 2
    stride = int(rng.integers(2, 4))
    kernel = (stride + int(rng.integers(0, 3)),) * dims
    pads = [tuple(map(int, rng.integers(stride - 1, kernel[0], 2))) for _ in range(dims)]
    return conv(x, rng, 2, kernel, window_strides=(1,) * dims, padding=pads, lhs_dilation=(stride,) * dims)


def branches(x, rng):
    """Two or three paths of one stride, added or side by side, some with a skip."""
    dims, stride = x.ndim - 2, int(rng.integers(1, 3))
    paths = []
    for _ in range(rng.integers(2, 4)):
        kernel = tuple(rng.integers(1, 6, dims))
        y = conv(x, rng, 2, kernel, window_strides=(stride,) * dims, padding="SAME")
        paths.append(y + conv(y, rng, 2, (3,) * dims, window_strides=(1,) * dims, padding="SAME"))
    return sum(paths) if rng.random() < 0.5 else jnp.concatenate(paths, axis=-1)


def repeated(x, rng):
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, 2, axis)
    return x[:, 1:-1]


def network(seed, dims):
    def apply(x):
        rng = np.random.default_rng(seed)
        for _ in range(rng.integers(2, 5)):
            steps = (
                [plain, pool, transposed, branches, repeated] if max(x.shape[1:-1]) < 50 else [plain, pool, branches]
            )
            if min(x.shape[1:-1]) < 6:
                steps = [transposed, repeated]
            x = steps[rng.integers(len(steps))](x, rng)
        return x

    shape = (1, *np.random.default_rng(seed).integers(14, 24, dims).tolist(), 1)
    return apply, shape


def supports(apply, shape, units):
    """The gradient's bounding interval a dimension, for each unit: None where it is zero."""
    out = jax.eval_shape(apply, jax.ShapeDtypeStruct(shape, jnp.float32)).shape
    seeds = np.zeros((len(units), *out), np.float32)
    for seed, unit in zip(seeds, units):
        seed[(0, *unit)] = 1  # all channels
    pull = jax.jit(lambda seeds: jax.vmap(jax.vjp(apply, jnp.zeros(shape))[1])(seeds)[0])
    for gradient in np.asarray(pull(seeds))[:, 0, ..., 0]:
        where = np.nonzero(gradient)
        yield tuple((int(w.min()), int(w.max())) for w in where) if len(where[0]) else None


@functools.cache
def check(seed, dims):
    """(intervals that lie within the input, how many of them the gradient fills)."""
    apply, shape = network(seed, dims)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        field = of(apply, shape)
    assert not field.is_global
    out = jax.eval_shape(apply, jax.ShapeDtypeStruct(shape, jnp.float32)).shape[1:-1]
    picks = np.random.default_rng(seed)
    units = [(0,) * dims, tuple(n - 1 for n in out), *(tuple(map(int, picks.integers(0, out))) for _ in range(4))]
    inner = exact = 0
    for unit, found in zip(units, supports(apply, shape, units)):
        assert field.support(unit) == found, (seed, unit)
        for (low, high), n, seen in zip(field.interval(unit), shape[1:-1], found or ()):
            assert max(low, 0) <= seen[0] and seen[1] <= min(high, n - 1)
            if low >= 0 and high < n:
                inner, exact = inner + 1, exact + ((low, high) == seen)
                assert high - low + 1 <= np.max(field.size)
    return inner, exact


@pytest.mark.parametrize("seed", range(24))
def test_the_gradient_is_where_of_says_in_one_dimension(seed):
    check(seed, 1)


@pytest.mark.parametrize("seed", range(6))
def test_the_gradient_is_where_of_says_in_two_dimensions(seed):
    check(100 + seed, 2)


def test_intervals_within_the_input_are_filled():
    """All but those that a cut off transposed convolution, or padding inside of the net, makes smaller."""
    inner, exact = np.sum([check(seed, 1) for seed in range(24)], axis=0)
    assert inner > 40 and exact > 0.8 * inner


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_the_gradient_is_where_of_says_in_many_networks(seed):
    check(1000 + seed, 1 + (seed % 4 == 0))


@pytest.mark.parametrize("seed", range(8))
def test_without_borders_the_interval_clipped_is_the_support(seed):
    """Odd SAME kernels of stride 1, not dilated, lose nothing at borders, so that clipping the interval is exact."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([1, 3, 5], 4)

    def apply(x):
        weights = np.random.default_rng(seed)
        for k in sizes:
            y = conv(x, weights, 1, (k,), window_strides=(1,), padding="SAME")
            x = jnp.concatenate([x, y], -1)
        return x

    field, units = of(apply, (1, 40, 1)), [(i,) for i in (0, 3, 20, 39)]
    for unit, found in zip(units, supports(apply, (1, 40, 1), units)):
        assert found == tuple((max(low, 0), min(high, 39)) for low, high in field.interval(unit))
