"""How bounds follow an array through a reshape: axes merge and split, so patches, squeezes and repeats stay exact."""

import math

import numpy as np

from research.receptive_field.bounds import put, repeats, shorter, units


def reshape(b, shape):
    """The bounds of the same array in a new shape."""
    axis = i = j = 0
    while i < len(b.shape) and j < len(shape):  # runs of old and new axes of equal size, as short as possible
        old, new = [b.shape[i]], [shape[j]]
        while math.prod(old) != math.prod(new):
            if math.prod(old) < math.prod(new):
                old.append(b.shape[i + len(old)])
            else:
                new.append(shape[j + len(new)])
        for _ in old[1:]:
            b = _merge(b, axis)
        for k in range(1, len(new)):
            b = _split(b, axis + k - 1, math.prod(new[k:]))
        axis += len(new)
        i, j = axis, j + len(new)
    for _ in shape[axis:]:
        b = insert(b, len(b.shape))
    while len(b.shape) > len(shape):
        b = drop(b, len(b.shape) - 1)
    return b


def insert(b, axis):
    """With a new axis of one unit."""
    ends = (np.expand_dims(end, axis) for end in (b.low, b.high))
    shift, shape = (*b.shift[:axis], 0, *b.shift[axis:]), (*b.shape[:axis], 1, *b.shape[axis:])
    return b._replace(**dict(zip(("low", "high"), ends)), shift=shift, shape=shape)


def drop(b, axis):
    """Without an axis of one unit."""
    shift, shape = b.shift[:axis] + b.shift[axis + 1 :], b.shape[:axis] + b.shape[axis + 1 :]
    return b._replace(low=b.low.take(0, axis), high=b.high.take(0, axis), shift=shift, shape=shape)


def _still(b, axis):
    return b.low.shape[axis] == 1 and b.shift[axis] == 0


def _merge(b, axis):
    """Axes `axis` and the next as one."""
    outer, inner = b.shape[axis], b.shape[axis + 1]
    length = outer * inner
    if _still(b, axis + 1) and (inner == 1 or _still(b, axis)):
        return put(drop(b, axis + 1), axis, None, b.shift[axis], length)
    if _still(b, axis) and outer == 1:
        return drop(b, axis)
    b = units(b, axis + 1, inner)
    b = units(b, axis) if b.exact else b
    together = (*b.low.shape[:axis], -1, *b.low.shape[axis + 2 :])
    ends = b.low.reshape(together), b.high.reshape(together)
    return put(drop(b, axis + 1), axis, ends, b.shift[axis], length)


def _split(b, axis, inner):
    """`axis` as two, the second of length `inner`."""
    length = b.shape[axis]
    if _still(b, axis):
        b = insert(b, axis + 1)
        return b._replace(shape=(*b.shape[:axis], length // inner, inner, *b.shape[axis + 2 :]))
    b = units(b, axis) if b.exact else units(b, axis, math.lcm(b.low.shape[axis], inner))
    apart = (*b.low.shape[:axis], -1, inner, *b.low.shape[axis + 1 :])
    wide = insert(b, axis + 1)
    wide = wide._replace(low=b.low.reshape(apart), high=b.high.reshape(apart))
    wide = wide._replace(shape=(*b.shape[:axis], length // inner, inner, *b.shape[axis + 1 :]))
    return _natural(shorter(wide, axis), axis + 1)


def _natural(b, axis):
    """Units listed along `axis` as a period and a shift, where they repeat: so they go on beyond the last one."""
    length = b.low.shape[axis]
    for part in (p for p in range(1, length) if length % p == 0):
        step = (b.low.take(part, axis) - b.low.take(0, axis)).ravel()[0]
        step = 0 if b.exact or not np.isfinite(step) else int(step)
        if repeats(b.low, axis, part, step) and repeats(b.high, axis, part, step):
            first, shift = np.arange(part), (*b.shift[:axis], step, *b.shift[axis + 1 :])
            return b._replace(low=b.low.take(first, axis), high=b.high.take(first, axis), shift=shift)
    return b
