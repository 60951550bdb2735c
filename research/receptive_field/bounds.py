"""Which input positions each unit of an array sees along one input dimension: intervals, kept for one period only.

Along every axis k of the array the interval's ends repeat with a shift: low(i + P_k) = low(i) + shift_k. So strided,
transposed, dilated layers and reshapes are exact, and nothing depends on how large the input happens to be.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np

INF = math.inf  # low, high = -INF, INF: everything; INF, -INF: nothing


class Bounds(NamedTuple):
    """Ends [P_0, ..., P_n-1] of the intervals of an array of `shape`, over one period of each axis.

    exact: every unit is listed and what lies outside of the array is nothing, so borders count; otherwise arrays go on
    for ever. statistic: it also sees everything through a mean over space that was left out.
    """

    low: np.ndarray
    high: np.ndarray
    shift: tuple[int, ...]
    shape: tuple[int, ...]
    exact: bool = False
    statistic: bool = False


def start(shape, axis, exact):
    """The input itself: unit i of `axis` sees position i."""
    low = np.arange(shape[axis] if exact else 1, dtype=float)
    low = low.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return Bounds(low, low, tuple(int(k == axis and not exact) for k in range(len(shape))), tuple(shape), exact)


def constant(like, shape, low, high, statistic=False):
    """Every unit of an array of `shape` sees the same interval."""
    low, high = (np.full((1,) * len(shape), end) for end in (low, high))
    return Bounds(low, high, (0,) * len(shape), tuple(shape), like.exact, statistic or like.statistic)


def everything(like, shape):
    """Every unit of an array of `shape` sees all of the input."""
    return constant(like, shape, -INF, INF)


def is_global(b):
    """Whether some unit sees without end."""
    return bool((b.low == -INF).any() or (b.high == INF).any())


def is_empty(b):
    """Whether no unit sees anything."""
    return bool((b.low > b.high).all())


def at(b, axis, index):
    """(low, high) with the units `index` [m] of `axis`; index may lie outside of the array."""
    turn, unit = np.divmod(index, b.low.shape[axis])
    along = [-1 if k == axis else 1 for k in range(b.low.ndim)]
    add = (turn * b.shift[axis]).reshape(along)
    low, high = b.low.take(unit, axis) + add, b.high.take(unit, axis) + add
    if b.exact:
        outside = ((index < 0) | (index >= b.shape[axis])).reshape(along)
        low, high = np.where(outside, INF, low), np.where(outside, -INF, high)
    return low, high


def put(b, axis, ends, shift, length):
    """b with new ends (None: the same) along `axis`, in the shortest period."""
    low, high = ends or (b.low, b.high)
    shifts, shape = list(b.shift), list(b.shape)
    shifts[axis], shape[axis] = shift, length
    return shorter(b._replace(low=low, high=high, shift=tuple(shifts), shape=tuple(shape)), axis)


def shorter(b, axis):
    """The same bounds with the shortest period along `axis`. Where they are exact: 1, or every unit."""
    period, shift = b.low.shape[axis], b.shift[axis]
    for part in (p for p in range(1, period) if period % p == 0 and (p == 1 or not b.exact)):
        step = shift * part / period
        if step == int(step) and repeats(b.low, axis, part, step) and repeats(b.high, axis, part, step):
            first = np.arange(part)
            shifts = (*b.shift[:axis], int(step), *b.shift[axis + 1 :])
            return b._replace(low=b.low.take(first, axis), high=b.high.take(first, axis), shift=shifts)
    return b


def repeats(ends, axis, part, step):
    """Whether the ends along `axis` repeat every `part` units, each time `step` further."""
    units = np.arange(ends.shape[axis] - part)
    return (ends.take(units + part, axis) == ends.take(units, axis) + step).all()


def window(b, axis, length, kernel=1, stride=1, low=0, base=1, dilation=1):
    """`length` units that each see `kernel` of b's: i * stride + t * dilation - low, on b spread out by `base`."""
    period, shift = b.low.shape[axis], b.shift[axis]
    if period == 1 and shift == 0:
        return b._replace(shape=(*b.shape[:axis], length, *b.shape[axis + 1 :]))
    turn = base * period
    count = length if b.exact else turn // math.gcd(stride, turn)
    count = count if shift else min(count, length)  # without a shift units are listed, and there are no others
    index = (np.arange(count)[:, None] * stride + np.arange(kernel) * dilation - low).ravel()
    hole = (index % base != 0).reshape([-1 if k == axis else 1 for k in range(b.low.ndim)])
    least, most = at(b, axis, index // base)
    split = (*least.shape[:axis], count, kernel, *least.shape[axis + 1 :])
    least = np.where(hole, INF, least).reshape(split).min(axis + 1)
    most = np.where(hole, -INF, most).reshape(split).max(axis + 1)
    return put(b, axis, (least, most), 0 if b.exact else shift * count * stride // turn, length)


def span(b, axis):
    """How far the interval moves along `axis`: both of its ends, so that a wider one around the first has not moved."""
    if b.low.shape[axis] == 1:
        return abs(b.shift[axis]) * (b.shape[axis] - 1)
    low, high = at(b, axis, np.arange(b.shape[axis]))
    seen = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(seen, low, 0), np.where(seen, high, 0)
    first = np.where(seen, low + high, INF).argmin(axis, keepdims=True)
    last = np.where(seen, low + high, -INF).argmax(axis, keepdims=True)
    moved = [np.take_along_axis(e, last, axis) - np.take_along_axis(e, first, axis) for e in (low, high)]
    return max(np.minimum(*moved).max(initial=0), 0)


def main_axis(b):
    """The axis that carries the dimension: along it the first position moves furthest; None where nothing moves."""
    spans = [span(b, k) for k in range(len(b.shape))]
    return int(np.argmax(spans)) if any(spans) else None


def first_padding(b, axis):
    """How far before position 0 the first unit along `axis` sees; by later ones where it sees nothing."""
    b = listed(b, axis)
    low = b.low.min(axis=tuple(k for k in range(b.low.ndim) if k != axis)) if b.shape else b.low.reshape(1)
    rate = b.shift[axis] / len(low) if b.shape else 0
    return next(math.ceil(i * rate - first) for i, first in enumerate(low) if math.isfinite(first))


def listed(b, axis):
    """b with every unit of all axes but `axis`: what one unit along it sees is the union of theirs."""
    for k in range(len(b.shape)):
        b = units(b, k) if k != axis else b
    return b


def contract(b, axes, reduction=False):
    """Sees all units along `axes`, which stay with one unit each: everything, unless a wider axis remains.

    reduction: a mean and its kind, of which only the mark `statistic` is kept where it goes over space.
    """
    inside = max((span(b, k) for k in axes), default=0)
    wide = inside > 0 and inside >= max((span(b, k) for k in range(len(b.shape)) if k not in axes), default=0)
    shape = [1 if k in axes else n for k, n in enumerate(b.shape)]
    if wide and reduction:
        return constant(b, shape, INF, -INF, statistic=True)
    if wide and not b.exact:
        return everything(b, shape)
    for axis in axes:
        low, high = at(b, axis, np.arange(b.shape[axis] if b.low.shape[axis] > 1 or b.shift[axis] else 1))
        b = put(b, axis, (low.min(axis, keepdims=True), high.max(axis, keepdims=True)), 0, 1)
    return b


def union(a, b, apart=False):
    """Sees what a or b sees, arrays of one shape; None is nothing. Warns where both stride, and differently.

    What moves along different axes sees everything, unless the two are `apart`: no unit sees by both.
    """
    if a is None or b is None:
        return b if a is None else a
    statistic = a.statistic or b.statistic
    if is_empty(a) or is_empty(b):
        return (b if is_empty(a) else a)._replace(statistic=statistic)
    if not a.exact and (is_global(a) or is_global(b) or (not apart and main_axis(a) != main_axis(b))):
        return everything(a, a.shape)._replace(statistic=statistic)
    for axis, n in enumerate(a.shape):
        period = math.lcm(a.low.shape[axis], b.low.shape[axis])
        rates = [x.shift[axis] * period // x.low.shape[axis] for x in (a, b)]
        if rates[0] != rates[1]:
            if n > 1 and all(rates):
                warnings.warn("paths with different strides meet: the receptive field has no one stride", stacklevel=2)
            period *= -(-n // period)
        a, b = (units(x, axis, period) for x in (a, b))
    shifts = tuple(max(pair, key=abs) for pair in zip(a.shift, b.shift))
    both = a._replace(low=np.minimum(a.low, b.low), high=np.maximum(a.high, b.high), shift=shifts, statistic=statistic)
    for axis in range(len(a.shape)):
        both = shorter(both, axis)
    return both


def units(b, axis, period=None):
    """b with its ends listed along `axis`, over a longer period, or one that takes in all units."""
    short = b.low.shape[axis]
    period = period or (b.shape[axis] if b.exact else short * -(-b.shape[axis] // short))
    low, high = at(b._replace(exact=False), axis, np.arange(period))
    shift = (*b.shift[:axis], b.shift[axis] * (period // short), *b.shift[axis + 1 :])
    return b._replace(low=low, high=high, shift=shift)
