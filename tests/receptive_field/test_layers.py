"""Layers in closed form: both directions agree, padding and start are what a hand computes, mistakes are named."""

import itertools
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.receptive_field import (
    Layer,
    bottom_up,
    format_table,
    of,
    parallel,
    pool,
    receptive_field,
    table,
    top_down,
)
from research.receptive_field.architectures import Architecture


def random_layer(rng, transposed=False):
    kernel, stride, dilation = (int(rng.integers(1, high)) for high in (6, 4, 4))
    return Layer(kernel, stride, 0, dilation, transposed=transposed and rng.random() < 0.4)


def random_graph(rng, transposed=False, depth=2):
    """Layers and joins whose branches have the same stride."""
    graph = []
    for _ in range(rng.integers(1, 5)):
        if depth and rng.random() < 0.4:
            stride = int(rng.integers(1, 4))
            inside = [random_graph(rng, depth=0), random_graph(rng, depth=0), [Layer(1)]]
            branches = [[_with_stride(layer, 1) for layer in b[:-1]] + [_with_stride(b[-1], stride)] for b in inside]
            graph.append(parallel(*branches))
        else:
            graph.append(random_layer(rng, transposed))
    return graph


def _with_stride(layer, stride):
    return Layer(layer.kernel, stride, dilation=layer.dilation)


def paths(graph):
    """Every path through a graph, as a list of layers."""
    parts = [[[p]] if isinstance(p, Layer) else [q for b in p.branches for q in paths(b)] for p in graph]
    return [list(itertools.chain(*choice)) for choice in itertools.product(*parts)]


def by_hand(path):
    """r_l = r_{l-1} + (k_l - 1) times the product of the earlier strides."""
    size, jump = 1, 1
    for layer in path:
        size += layer.dilation * (layer.kernel - 1) * jump
        jump *= layer.stride
    return size


@pytest.mark.parametrize("seed", range(30))
def test_both_directions_are_the_maximum_over_paths(seed):
    graph = random_graph(np.random.default_rng(seed))
    assert top_down(graph) == bottom_up(graph) == max(map(by_hand, paths(graph)))


@pytest.mark.parametrize("seed", range(30))
def test_both_directions_agree_through_transposed_layers(seed):
    graph = random_graph(np.random.default_rng(seed), transposed=True)
    assert top_down(graph) == bottom_up(graph)


def test_strides_before_a_layer_count_and_its_own_does_not():
    assert top_down([Layer(3, 2), Layer(3, 5)]) == bottom_up([Layer(3, 2), Layer(3, 5)]) == 7
    assert top_down([Layer(3, dilation=4)]) == bottom_up([Layer(3, dilation=4)]) == 9
    assert top_down([]) == bottom_up([]) == 1
    assert top_down([Layer((1, 7)), Layer((3, 1), (2, 1))]) == bottom_up([Layer((1, 7)), Layer((3, 1))]) == (3, 7)


def test_a_transposed_layer_divides():
    """Four taps of stride 2 meet two inputs, two neighbours of its output three at most."""
    up = Layer(4, 2, transposed=True)
    assert top_down([up]) == bottom_up([up]) == 2
    assert top_down([up, Layer(2)]) == bottom_up([up, Layer(2)]) == 3
    assert top_down([Layer(3, 2), up]) == bottom_up([Layer(3, 2), up]) == 5


def test_disagreeing_strides_are_warned_about_and_the_maximum_is_kept():
    graph = [parallel(Layer(3, 2), Layer(5, 1)), Layer(3)]
    with pytest.warns(UserWarning, match="different strides"):
        assert bottom_up(graph) == 7  # 3 + 2 * 2, and 5 + 2 * 1
    assert top_down(graph) == 7


def test_the_table_of_a_net_by_hand():
    """Dang Ha The Hien's example: two 3x3 convolutions of stride 2 and padding 1 on 5x5."""
    rows = table([Layer(3, 2, 1, name="a"), Layer(3, 2, 1, name="b")], 5)
    assert [tuple(row)[2:7] for row in rows] == [(5, 1, 1, 0, 0.5), (3, 2, 3, 1, 0.5), (2, 4, 7, 3, 0.5)]
    assert [row.name for row in rows] == ["input", "a", "b"]


@pytest.mark.parametrize(("size", "padding"), [(224, 0), (225, 1)])
def test_same_pads_as_tensorflow_by_the_size_of_the_input(size, padding):
    row = table([Layer(3, 2, "SAME")], size)[-1]
    assert row.output == -(-size // 2) and row.padding == padding and row.start == 0.5 + 1 - padding


@pytest.mark.parametrize("seed", range(20))
def test_the_table_says_what_of_says(seed):
    """The same graph as layers and as a JAX function: output, size, stride, padding, interval of the first unit."""
    rng = np.random.default_rng(seed)
    parts = [
        Layer((3, 5), 1, "SAME", (2, 1)),
        Layer(4, (2, 3), ((2, 1), (0, 3))),
        pool(3, 2, "VALID"),
        parallel((), Layer(3, 1, 1), (Layer((1, 3), padding="SAME"), pool(3, 1, 1))),
        parallel(Layer(3, 2, "SAME"), Layer(5, 2, "SAME")),
        Layer(4, 2, (1, 1), transposed=True),
        Layer(3, 2, "SAME", transposed=True),
    ]
    graph = [parts[i] for i in rng.integers(0, len(parts), 3)]
    apply = Architecture(tuple(graph), 40).function()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows, field = table(graph, (40, 37)), of(apply, (1, 40, 37, 1))
        assert receptive_field(graph, (40, 37)) == field[:3]
    output = rows[-1].output
    assert (output if isinstance(output, tuple) else (output,) * 2) == apply(jnp.ones((1, 40, 37, 1))).shape[1:3]


def test_the_text_of_a_table_is_aligned():
    rows = table([Layer((3, 1), name="first"), parallel((), Layer(3, 1, 1), name="sum"), pool(2, 2)], 12)
    lines = format_table(rows).splitlines()
    assert len(lines) == 1 + len(rows) and " ".join(lines[0].split()) == "layer kind output jump field padding start"
    assert len({len(line) for line in lines}) == 1
    assert lines[3].startswith("  conv") and lines[5].split() == ["pool", "pool", "5x6", "2", "6x4", "1", "2x1"]
    assert "-" in format_table(table([Layer(3)])).split()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Layer(0), "kernel of layer"),
        (lambda: Layer(3, 1.5), "stride of layer"),
        (lambda: Layer(3, 1, 0, (1, 0)), "dilation of layer"),
        (lambda: Layer(3, padding="same"), "choose 'SAME'"),
        (lambda: Layer(3, padding=(1, 2, 3)), "pairs"),
        (lambda: Layer((3, 3), (1, 1, 1)), "same number"),
        (lambda: top_down([Layer((3, 3)), Layer((3, 3, 3))]), "in one graph"),
        (lambda: top_down([3]), "consists of"),
        (lambda: table([Layer(3, name="a"), Layer(7, name="b")], 8), "nothing is left at layer 'b': 6 units"),
        (lambda: table([Layer(3, 2, "SAME")]), "give input_size"),
        (lambda: table([parallel(Layer(3), Layer(5), name="sum")], 9), r"branches of 'sum' end with \[5, 7\]"),
    ],
)
def test_mistakes_are_one_sentence(make, words):
    with pytest.raises(UserError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def test_the_start_is_the_centre_of_what_the_first_unit_sees():
    causal = (parallel((), Layer(2, 1, (1, 0))),)
    assert table(causal, 8)[-1].start == 0.0  # positions -1 and 0
    assert table(Layer(5, 2, 2), 9)[-1].start == 0.5


def test_branches_of_different_strides_have_no_table():
    with pytest.raises(UserError, match="different strides"):
        table((parallel(Layer(3, 2, 1), Layer(3, 1, 1)),))
