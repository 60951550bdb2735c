"""Residual networks as graphs of layers (He et al. 2016, table 1)."""

from research.receptive_field.layers import Layer, parallel, pool

UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


def v1(depth):
    """TF-slim's resnet_v1: the last unit of a block strides, on its 3x3; explicit padding there, and a 'SAME' pool."""
    graph = [Layer(7, 2, 3, name="conv1"), pool(3, 2, "SAME", name="pool1")]
    for block, count in enumerate(UNITS[depth], 1):
        for unit in range(1, count + 1):
            stride = 2 if unit == count and block < 4 else 1
            last = unit == count
            graph.append(_bottleneck(stride, f"block{block}" if last else f"block{block}/unit{unit}"))
    return tuple(graph)


def v1_5(depth):
    """torchvision's: the first unit of blocks 2 to 4 strides, on its 3x3."""
    return _torchvision(depth, _bottleneck)


def basic(depth):
    """Two 3x3 convolutions a unit, of which the first strides: one convention for all."""
    return _torchvision(depth, _two)


def _torchvision(depth, make):
    graph = [Layer(7, 2, 3, name="conv1"), pool(3, 2, 1, name="pool1")]
    for block, count in enumerate(UNITS[depth], 1):
        for unit in range(1, count + 1):
            name = f"block{block}" if unit == count else f"block{block}/unit{unit}"
            graph.append(make(2 if unit == 1 and block > 1 else 1, name))
    return tuple(graph)


def _bottleneck(stride, name):
    """1x1, 3x3, 1x1 beside a skip; the 3x3 strides."""
    shortcut = () if stride == 1 else (pool(1, stride, name="shortcut"),)
    residual = Layer(1, name="conv1"), Layer(3, stride, 1, name="conv2"), Layer(1, name="conv3")
    return parallel(shortcut, residual, name=name)


def _two(stride, name):
    shortcut = () if stride == 1 else (pool(1, stride, name="shortcut"),)
    return parallel(shortcut, (Layer(3, stride, 1, name="conv1"), Layer(3, 1, 1, name="conv2")), name=name)
