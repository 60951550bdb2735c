"""Inception-v3 and Inception-ResNet-v2 as graphs of layers (Szegedy et al. 2016; 2017), with TF-slim's end-points."""

from research.receptive_field.layers import Layer, parallel, pool

LAST = {"kernel": 3, "stride": 2, "padding": "VALID"}


def _same(*kernels):
    """A branch of 'SAME' convolutions of stride 1."""
    return tuple(Layer(k, 1, "SAME", name=_name(k)) for k in kernels)


def _name(kernel):
    return "conv_{}x{}".format(*(kernel if isinstance(kernel, tuple) else (kernel, kernel)))


def _strided(*kernels):
    """A branch whose last convolution is 3x3, 'VALID', of stride 2."""
    return *_same(*kernels), Layer(**LAST, name="conv_3x3")


def _pooled():
    return pool(3, 1, "SAME", name="pool"), Layer(1, name="conv_1x1")


def _shrink(name, *branches):
    return parallel(*branches, pool(**LAST, name="pool"), name=name)


def _stem():
    return (
        Layer(3, 2, "VALID", name="Conv2d_1a_3x3"),
        Layer(3, 1, "VALID", name="Conv2d_2a_3x3"),
        Layer(3, 1, "SAME", name="Conv2d_2b_3x3"),
        pool(3, 2, "VALID", name="MaxPool_3a_3x3"),
        Layer(1, 1, "VALID", name="Conv2d_3b_1x1"),
        Layer(3, 1, "VALID", name="Conv2d_4a_3x3"),
        pool(3, 2, "VALID", name="MaxPool_5a_3x3"),
    )


def _mixed_5(name):
    return parallel(_same(1), _same(1, 5), _same(1, 3, 3), _pooled(), name=name)


def v3():
    """Up to Mixed_7c."""
    row, column = (1, 7), (7, 1)
    both = parallel(_same((1, 3)), _same((3, 1)), name="conv_1x3_and_3x1")
    graph = [*_stem(), *(_mixed_5(f"Mixed_5{x}") for x in "bcd"), _shrink("Mixed_6a", _strided(), _strided(1, 3))]
    for x in "bcde":
        branches = _same(1), _same(1, row, column), _same(1, column, row, column, row), _pooled()
        graph.append(parallel(*branches, name=f"Mixed_6{x}"))
    graph.append(_shrink("Mixed_7a", _strided(1), _strided(1, row, column)))
    for x in "bc":
        branches = _same(1), (*_same(1), both), (*_same(1, 3), both), _pooled()
        graph.append(parallel(*branches, name=f"Mixed_7{x}"))
    return tuple(graph)


def resnet_v2():
    """Up to Conv2d_7b_1x1; the blocks add to a skip: 10 of 35, 20 of 17, 10 of 8 units at 299 pixels."""

    def blocks(name, count, last, *branches):
        inside = (parallel(*branches, name="mixed"), Layer(1, name="conv_1x1"))
        return [parallel((), inside, name=last if i == count else f"{name}_{i}") for i in range(1, count + 1)]

    return (
        *(*_stem(), _mixed_5("Mixed_5b")),
        *blocks("block35", 10, "block35", _same(1), _same(1, 3), _same(1, 3, 3)),
        _shrink("Mixed_6a", _strided(), _strided(1, 3)),
        *blocks("block17", 20, "PreAuxLogits", _same(1), _same(1, (1, 7), (7, 1))),
        _shrink("Mixed_7a", _strided(1), _strided(1), _strided(1, 3)),
        *blocks("block8", 10, "block8", _same(1), _same(1, (1, 3), (3, 1))),
        Layer(1, name="Conv2d_7b_1x1"),
    )
