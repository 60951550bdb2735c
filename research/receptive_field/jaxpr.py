"""The receptive field of any JAX function, read from its jaxpr. Entry point: `of`.

Araujo, Norris and Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill) define size,
stride and padding; here they are followed through every primitive, as intervals (research.receptive_field.bounds).
"""

import math
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError
from research.receptive_field.bounds import (
    Bounds,
    at,
    constant,
    first_padding,
    is_empty,
    is_global,
    listed,
    main_axis,
    start,
)
from research.receptive_field.interpret import interpret


class ReceptiveField(NamedTuple):
    """Unit i sees, in each spatial dimension, positions from i * stride - padding on, `size` of them at most.

    size, stride, padding: one number, or a tuple where the spatial dimensions differ. size is math.inf where all of
    the input is seen, however large; then padding is math.inf, and stride 0. size is 0 where nothing is seen. A stride
    is a Fraction where units are closer than pixels. `axes`: the output axis that carries each dimension; `bounds` and
    `within`: the maps behind `interval` and `support`.
    """

    size: int | float | tuple
    stride: int | Fraction | tuple
    padding: int | float | tuple
    is_global: bool
    axes: tuple[int, ...]
    bounds: tuple[Bounds, ...]
    within: tuple[Bounds, ...]
    input_sizes: tuple[int, ...]

    def interval(self, unit):
        """((first, last) of each spatial dimension) seen by a unit (int, or one a dimension), of an endless input."""
        return tuple(_ends(b, axis, i) for b, axis, i in zip(self.bounds, self.axes, self._units(unit)))

    def support(self, unit):
        """The same within the input, borders and all: exact where `interval` clipped may be too wide; None: nothing."""
        sees = []
        for b, axis, i, n in zip(self.within, self.axes, self._units(unit), self.input_sizes):
            first, last = _ends(b, axis, i)
            sees.append((max(first, 0), min(last, n - 1)))
        return tuple(sees) if all(first <= last for first, last in sees) else None

    def _units(self, unit):
        return unit if isinstance(unit, tuple) else (unit,) * len(self.bounds)


def of(fn, input_shape, *, spatial_axes=None, statistics=True, dtype=jnp.float32):
    """ReceptiveField of fn(x) with one array x of input_shape, such as [B, H, W, C]; fn is traced, not run.

    spatial_axes default to all but the first and last. statistics=False leaves out means (sums, maxima, ...) over space
    that come back by broadcasting: those of a group norm or a squeeze-excitation, by which a net sees everything.
    Paths are united; a warning tells where strides of paths disagree. What a primitive may see is never left out: an
    unknown one sees everything, and so does jax.image.resize, whose indices are computed (jnp.repeat is followed).
    Where padding wraps around, size counts the pixels in between. Raises UserError where fn returns more than one
    array, or the input has no such axes.
    """
    spatial = range(1, len(input_shape) - 1) if spatial_axes is None else spatial_axes
    if not all(-len(input_shape) <= axis < len(input_shape) for axis in spatial) or 0 in input_shape:
        raise UserError(f"an array of shape {tuple(input_shape)} has no spatial axes {tuple(spatial)} to look at.")
    spatial = [axis % len(input_shape) for axis in spatial]
    closed = jax.make_jaxpr(fn)(jax.ShapeDtypeStruct(tuple(input_shape), dtype))
    if len(closed.jaxpr.outvars) != 1:
        raise UserError(f"receptive_field.of takes a function of one array to one, not to {len(closed.jaxpr.outvars)}.")

    def bounds(axis, exact):
        seed = start(tuple(input_shape), axis, exact)
        (result,) = interpret(closed.jaxpr, [seed], statistics)
        return _seen(constant(seed, closed.out_avals[0].shape, math.inf, -math.inf) if result is None else result)

    maps, within = ([bounds(axis, exact) for axis in spatial] for exact in (False, True))
    axes = [_carrier(*both, axis) for *both, axis in zip(maps, within, spatial)]
    measures = [_same(values) for values in zip(*map(_measure, maps, axes))] if maps else [0, 0, 0]
    sizes = tuple(input_shape[axis] for axis in spatial)
    return ReceptiveField(*measures, any(map(is_global, maps)), tuple(axes), tuple(maps), tuple(within), sizes)


def _seen(b):
    return constant(b, b.shape, -math.inf, math.inf) if b.statistic and is_empty(b) else b


def _same(values):
    return values[0] if len(set(values)) == 1 else tuple(values)


def _measure(b, axis):
    """(size, stride, padding) of one dimension."""
    if is_empty(b):
        return 0, 0, 0
    if is_global(b):
        return math.inf, 0, math.inf
    stride = abs(Fraction(b.shift[axis], b.low.shape[axis])) if b.shape else Fraction(0)
    stride = int(stride) if stride.denominator == 1 else stride
    return int((b.high - b.low).max()) + 1, stride, first_padding(b, axis)


def _carrier(b, within, axis):
    """The output axis that carries a dimension: where the interval moves, else the input's axis."""
    found = (main_axis(b), main_axis(within), min(axis, len(b.shape) - 1))
    return next(k for k in found if k is not None)


def _ends(b, axis, unit):
    b = listed(b, axis)
    low, high = at(b, axis, np.array([unit])) if b.shape else (b.low, b.high)
    return tuple(int(end) if math.isfinite(end) else float(end) for end in (low.min(), high.max()))
