"""Receptive fields of graphs of layers in closed form, from the top and from the bottom.

Araujo, Norris and Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill).
"""

import math
import warnings
from fractions import Fraction

from research.receptive_field.layers import Layer, Parallel, dimensions, joined


def top_down(layers):
    """Receptive field of one unit at the top: N_{l-1} = (N_l - 1) stride + kernel; the maximum over paths.

    An int, or a tuple where dimensions differ. Padding does not matter. Below a transposed layer the widest of its
    phases counts at each step, which can be one more than any unit sees. Raises UserError where the layers' numbers of
    dimensions differ.
    """
    return joined([_down(layers, dim, 1) for dim in range(dimensions(layers))])


def _down(graph, dim, count):
    for part in reversed(tuple(graph)):
        if isinstance(part, Parallel):
            count = max(_down(branch, dim, count) for branch in part.branches)
        else:
            kernel, stride = part.at(dim)
            spread = (count + kernel - 2) // stride + 1
            count = spread if part.transposed else (count - 1) * stride + kernel
    return count


def bottom_up(layers):
    """The same from the input on: r_l = r_{l-1} + (kernel_l - 1) times the product of the EARLIER strides.

    Warns where paths with different strides meet.
    """
    fields = [_up(layers, dim, {1: (1,)}) for dim in range(dimensions(layers))]
    return joined([max(sizes[0] for sizes in field.values()) for field in fields])


def _up(graph, dim, fields):
    """{stride: sizes seen by 1, 2, ... adjacent units}: beyond, a period more sees stride * period more."""
    for part in graph:
        if isinstance(part, Layer):
            fields = dict(_layer_up(stride, sizes, *part.at(dim), part.transposed) for stride, sizes in fields.items())
            continue
        paths = [_up(branch, dim, fields) for branch in part.branches]
        if len(set().union(*paths)) > len(fields):
            warnings.warn("paths with different strides meet: the receptive field has no one stride", stacklevel=2)
        fields = {
            stride: _widest(stride, [p[stride] for p in paths if stride in p]) for path in paths for stride in path
        }
    return fields


def _layer_up(jump, sizes, kernel, stride, transposed):
    count = len(sizes) * (stride if transposed else 1)
    after = Fraction(jump) / stride if transposed else Fraction(jump) * stride
    needs = [(n + kernel - 2) // stride + 1 if transposed else (n - 1) * stride + kernel for n in range(1, count + 1)]
    return after, tuple(_size(jump, sizes, n) for n in needs)


def _size(jump, sizes, n):
    turns, unit = divmod(n - 1, len(sizes))
    return int(sizes[unit] + turns * len(sizes) * jump)


def _widest(jump, several):
    count = math.lcm(*(len(sizes) for sizes in several))
    return tuple(max(_size(jump, sizes, n) for sizes in several) for n in range(1, count + 1))
