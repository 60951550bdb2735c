"""The published table, to the digit, three ways: layer arithmetic, the jaxpr, and where the gradient is not zero."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.receptive_field import ARCHITECTURES, bottom_up, effective, of, table, top_down

# Araujo, Norris and Sim 2019: rows of their open-source table at the resolution of `input_size`; inception's rows are
# the same at every resolution.
PUBLISHED = {
    "alexnet": """
        conv1 11 4 0, pool1 19 8 0, conv2 51 8 16, conv3 99 16 32, conv4 131 16 48, conv5 163 16 64,
        pool5 195 32 64
    """,
    "vgg11": """
        conv1_1 3 1 1, pool1 4 2 1, pool2 10 4 3, conv3_2 26 4 11, pool3 30 8 11, pool4 70 16 27,
        pool5 150 32 59
    """,
    "vgg16": """
        pool1 6 2 2, pool2 16 4 6, conv3_2 32 4 14, pool3 44 8 18, pool4 100 16 42, conv5_2 164 16 74,
        pool5 212 32 90
    """,
    "inception_v3": """
        Conv2d_2b_3x3 11 2 2, MaxPool_5a_3x3 31 8 2, Mixed_5b 63 8 18, Mixed_5d 127 8 50, Mixed_6a 159 16 58,
        Mixed_6b 351 16 154, Mixed_6e 927 16 442, Mixed_7a 1055 32 490, Mixed_7b 1183 32 554,
        Mixed_7c 1311 32 618
    """,
    "inception_resnet_v2": """
        MaxPool_5a_3x3 31 8 2, Mixed_5b 63 8 18, Mixed_6a 415 16 186, PreAuxLogits 2335 16 1146,
        Mixed_7a 2399 32 1162, Conv2d_7b_1x1 3039 32 1482
    """,
    "mobilenet_v1": """
        Conv2d_0 3 2 0, Conv2d_1_pointwise 7 2 2, Conv2d_2_pointwise 11 4 2, Conv2d_6_pointwise 59 16 14,
        Conv2d_11_pointwise 219 16 94, Conv2d_12_pointwise 251 32 94, Conv2d_13_pointwise 315 32 126
    """,
    "resnet50": """
        block1 35 8 15, block2 99 16 47, block3 291 32 143, block4 483 32 239
    """,
    "resnet101": """
        block1 35 8 15, block2 99 16 47, block3 835 32 415, block4 1027 32 511
    """,
    "resnet152": """
        block1 35 8 15, block2 163 16 79, block3 1315 32 655, block4 1507 32 751
    """,
    "resnet200": """
        block1 35 8 15, block2 419 16 207, block3 1571 32 783, block4 1763 32 879
    """,
}
ROWS = [
    (name, end, *map(int, numbers))
    for name, rows in PUBLISHED.items()
    for end, *numbers in (row.split() for row in rows.split(","))
]
LAST = [
    *[row for name in PUBLISHED for row in [r for r in ROWS if r[0] == name][-1:]],
    ("lenet5", "c5", 32, 4, 0),
    (
        "zfnet",
        "conv5",
        139,
        16,
        1 + 2 + 0 + 8 + 3 * 16,
    ),  # with the 3x3 of a region proposal on top: 171 (Ren et al. 2015, section 3.1)
    ("vgg16", "conv5_3", 196, 16, 90),  # there 228
    ("vgg13", "pool5", 156, 32, 62),
    ("vgg19", "pool5", 268, 32, 118),
    ("resnet18", "block4", 435, 32, 217),
    ("resnet34", "block4", 899, 32, 449),
    ("resnet50_v1_5", "block4", 427, 32, 213),
    ("wavenet", "block_2_512", 3 * 1023 + 1, 1, 3 * 1023),
]


def as_function(architecture, dims):
    return of(architecture.function(), (1, *(architecture.input_size,) * dims, 1))


@pytest.mark.parametrize(("name", "end", "size", "stride", "padding"), ROWS)
def test_published_rows_by_layers(name, end, size, stride, padding):
    architecture = ARCHITECTURES[name].until(end)
    assert architecture.receptive_field() == (size, stride, padding)
    assert top_down(architecture.layers) == bottom_up(architecture.layers) == size


@pytest.mark.parametrize(("name", "end", "size", "stride", "padding"), LAST)
def test_last_rows_by_layers_and_by_the_jaxpr(name, end, size, stride, padding):
    architecture = ARCHITECTURES[name].until(end)
    assert architecture.receptive_field() == (size, stride, padding)
    assert top_down(architecture.layers) == bottom_up(architecture.layers) == size
    assert as_function(architecture, architecture.dims)[:3] == (size, stride, padding)


def test_every_end_point_of_a_net_by_the_jaxpr():
    architecture = ARCHITECTURES["inception_v3"]
    for name, end, *numbers in ROWS:
        if name == "inception_v3":
            assert as_function(architecture.until(end), 2)[:3] == tuple(numbers)


@pytest.mark.parametrize(
    "name", sorted(ARCHITECTURES.keys() - {"resnet101", "resnet200", "resnet101_v1_5", "resnet152_v1_5"})
)
def test_the_gradient_fills_the_field(name):
    """In one dimension, on an input with room for the middle unit: float64, or the ends of 3039 pixels underflow."""
    architecture = ARCHITECTURES[name]
    apply, length = architecture.function(), 32 * (2 * np.max(top_down(architecture.layers)) // 32 + 3)
    field = of(apply, (1, length, 1))
    with jax.enable_x64(True):
        unit = jax.eval_shape(apply, jnp.zeros((1, length, 1))).shape[1] // 2
        gradient = jax.jit(jax.grad(lambda x: apply(x)[0, unit, 0]))(jnp.ones((1, length, 1)))
    where = np.nonzero(np.asarray(gradient).ravel())[0]
    ((first, last),) = field.interval(unit)
    assert (where[0], where[-1]) == (first, last) and field.support(unit) == ((first, last),)
    assert last - first + 1 == field.size == np.max(top_down(architecture.layers))


def test_the_gradient_fills_the_field_in_two_dimensions():
    field = effective(lambda _, x: ARCHITECTURES["alexnet"].function()(x), None, (1, 224, 224, 1))
    assert field.support == field.theory.support(field.unit) and field.share == pytest.approx(1)
    assert [b - a + 1 for a, b in field.support] == [195, 195]


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_where_a_resnet_strides(depth):
    """In TF-slim's last unit of a block; on the first 3x3, torchvision's: 56 less."""
    slim = ARCHITECTURES[f"resnet{depth}"].receptive_field()
    assert slim.size - ARCHITECTURES[f"resnet{depth}_v1_5"].receptive_field().size == 56


def test_zfnet_has_the_sizes_of_the_paper():
    outputs = [row.output for row in ARCHITECTURES["zfnet"].table()]
    assert outputs == [224, 110, 55, 26, 13, 13, 13, 13, 6]


def test_an_odd_input_moves_the_padding_of_same_layers_and_nothing_else():
    even, odd = (ARCHITECTURES["mobilenet_v1"].receptive_field(size) for size in (224, 225))
    assert even[:2] == odd[:2] and even.padding == 126 and odd.padding == 157  # each of five strides pads one earlier


def test_a_join_has_a_row_and_its_branches_stand_before_it():
    rows = table(ARCHITECTURES["inception_v3"].until("Mixed_5b").layers, 299)
    assert [row.depth for row in rows][-9:] == [1] * 8 + [0] and rows[-1].name == "Mixed_5b"


def test_the_largest_net_takes_less_than_two_seconds():
    apply = ARCHITECTURES["inception_resnet_v2"].function()
    start = time.process_time()
    assert of(apply, (1, 299, 299, 1)).size == 3039
    assert time.process_time() - start < 2
