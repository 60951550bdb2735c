"""Well-known architectures as graphs of layers, and the same graphs as JAX functions. Entry point: `ARCHITECTURES`.

Names, end-points and paddings of alexnet, vgg, resnet (v1), inception and mobilenet are those of the TF-slim nets whose
fields Araujo, Norris and Sim 2019 tabulate. Their resnets stride in the LAST unit of a block: sizes are those of
striding on the first 1x1, end-points differ. resnetN_v1_5 stride on the first 3x3, as torchvision does.
"""

from typing import NamedTuple

import numpy as np
from jax import lax

from research.receptive_field import inception, resnet, tables
from research.receptive_field.layers import Layer, Parallel, parallel, pool


class Architecture(NamedTuple):
    """layers: a graph. input_size: of the published row: strided 'SAME' layers pad by whether their input is even."""

    layers: tuple
    input_size: int
    dims: int = 2

    def table(self, input_size=None):
        return tables.table(self.layers, input_size or self.input_size)

    def receptive_field(self, input_size=None):
        """Measures (size, stride, padding) at the last layer."""
        return tables.receptive_field(self.layers, input_size or self.input_size)

    def until(self, name):
        """The architecture cut after the layer or join called `name`, outside of branches."""
        names = [part.name for part in self.layers]
        return self._replace(layers=self.layers[: names.index(name) + 1])

    def function(self, seed=0):
        """f(x [B, *space, C]) on 1, 2, ... spatial axes: depthwise kernels of positive weights, no activations.

        Pools are averages, joins are sums. A graph of non-square kernels on one axis takes their first size.
        """

        def apply(x):
            return _follow(self.layers, x, np.random.default_rng(seed))

        return apply


def _follow(graph, x, rng):
    for part in graph:
        if isinstance(part, Parallel):
            x = sum(_follow(branch, x, rng) for branch in part.branches)
        else:
            x = _apply(part, x, rng)
    return x


def _apply(layer, x, rng):
    space, channels = range(x.ndim - 2), x.shape[-1]
    kernel, dilation = zip(*(layer.taps(d) for d in space))
    stride = tuple(layer.at(d)[1] for d in space)
    pads = [layer.pads(d, x.shape[d + 1]) for d in space]
    weights = np.ones((*kernel, 1, 1)) if layer.kind == "pool" else rng.uniform(0.5, 1.5, (*kernel, 1, 1))
    weights = np.broadcast_to(weights / np.prod(kernel), (*kernel, 1, channels)).astype(x.dtype)
    letters = "XYZ"[: len(kernel)]
    layout, spread = (f"N{letters}C", f"{letters}IO", f"N{letters}C"), {}
    if layer.transposed:
        reach = [layer.at(d)[0] - 1 for d in space]
        pads = [(r - low, r - high) for r, (low, high) in zip(reach, pads)]
        stride, spread = (1,) * len(stride), {"lhs_dilation": stride}
    return lax.conv_general_dilated(
        x,
        weights,
        stride,
        pads,
        rhs_dilation=dilation,
        dimension_numbers=layout,
        feature_group_count=channels,
        **spread,
    )


def _lenet5():
    c1, c3, c5 = (Layer(5, name=name) for name in ("c1", "c3", "c5"))
    return c1, pool(2, 2, name="s2"), c3, pool(2, 2, name="s4"), c5


def _alexnet():
    return (
        *(Layer(11, 4, "VALID", name="conv1"), pool(3, 2, "VALID", name="pool1")),
        *(Layer(5, 1, "SAME", name="conv2"), pool(3, 2, "VALID", name="pool2")),
        *(Layer(3, 1, "SAME", name=f"conv{i}") for i in (3, 4, 5)),
        pool(3, 2, "VALID", name="pool5"),
    )


def _zfnet():
    """224 pixels become 110, 55, 26, 13 and 6 units (Zeiler & Fergus 2014, figure 3)."""
    return (
        *(Layer(7, 2, 1, name="conv1"), pool(3, 2, 1, name="pool1")),
        *(Layer(5, 2, 0, name="conv2"), pool(3, 2, 1, name="pool2")),
        *(Layer(3, 1, 1, name=f"conv{i}") for i in (3, 4, 5)),
        pool(3, 2, 0, name="pool5"),
    )


def _vgg(*convolutions):
    graph = []
    for block, count in enumerate(convolutions, 1):
        graph += [Layer(3, 1, "SAME", name=f"conv{block}_{i}") for i in range(1, count + 1)]
        graph.append(pool(2, 2, "VALID", name=f"pool{block}"))
    return tuple(graph)


def _mobilenet_v1():
    graph = [Layer(3, 2, "SAME", name="Conv2d_0")]
    for i, stride in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1), 1):
        graph += [Layer(3, stride, "SAME", name=f"Conv2d_{i}_depthwise"), Layer(1, name=f"Conv2d_{i}_pointwise")]
    return tuple(graph)


def _wavenet(repeats=3, doublings=10):
    """Residual causal convolutions of width 2, dilated by 1, 2, ..., 512, thrice (van den Oord et al. 2016)."""
    graph = []
    for i in range(repeats):
        for d in (2**k for k in range(doublings)):
            causal = Layer(2, 1, ((d, 0),), d, name=f"dilated_{i}_{d}")
            graph.append(parallel((), (causal, Layer(1, name="mix")), name=f"block_{i}_{d}"))
    return tuple(graph)


ARCHITECTURES = {
    "lenet5": Architecture(_lenet5(), 32),
    "alexnet": Architecture(_alexnet(), 224),
    "zfnet": Architecture(_zfnet(), 224),
    "vgg11": Architecture(_vgg(1, 1, 2, 2, 2), 224),
    "vgg13": Architecture(_vgg(2, 2, 2, 2, 2), 224),
    "vgg16": Architecture(_vgg(2, 2, 3, 3, 3), 224),
    "vgg19": Architecture(_vgg(2, 2, 4, 4, 4), 224),
    **{f"resnet{n}": Architecture(resnet.basic(n), 224) for n in (18, 34)},
    **{f"resnet{n}": Architecture(resnet.v1(n), 224) for n in (50, 101, 152, 200)},
    **{f"resnet{n}_v1_5": Architecture(resnet.v1_5(n), 224) for n in (50, 101, 152)},
    "inception_v3": Architecture(inception.v3(), 299),
    "inception_resnet_v2": Architecture(inception.resnet_v2(), 299),
    "mobilenet_v1": Architecture(_mobilenet_v1(), 224),
    "wavenet": Architecture(_wavenet(), 8192, dims=1),
}
