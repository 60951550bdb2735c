"""What the JAX primitives that mix units do to bounds, and any that is not known: it sees everything."""

import functools

from research.receptive_field.bounds import contract, everything, put, union
from research.receptive_field.reshape import drop, insert


def unknown(eqn, operands, statistics):
    """The rule of a primitive that is not known: each output sees everything."""
    like = next(b for b in operands if b is not None)
    return [everything(like, v.aval.shape) for v in eqn.outvars]


def transposed(b, order):
    """The bounds of the same array with its axes in another order."""
    low, high = b.low.transpose(order), b.high.transpose(order)
    return b._replace(
        low=low, high=high, shift=tuple(b.shift[k] for k in order), shape=tuple(b.shape[k] for k in order)
    )


def reduce(eqn, operands, statistics):
    """Sums, maxima and their kind: each output sees all units along the axes that go."""
    if any(b is not None for b in operands[len(eqn.outvars) :]):
        return unknown(eqn, operands, statistics)
    axes = eqn.params.get("axes", eqn.params.get("dimensions"))
    b = contract(functools.reduce(union, operands), axes, reduction=not statistics)
    return [functools.reduce(drop, sorted(axes, reverse=True), b)] * len(eqn.outvars)


def along(name):
    """Mixes all units along the axis that the parameter `name` tells."""

    def rule(eqn, operands, statistics):
        axis, b = eqn.params[name], functools.reduce(union, operands)
        return [put(contract(b, [axis]), axis, None, 0, b.shape[axis])] * len(eqn.outvars)

    return rule


def dot_general(eqn, operands, statistics):
    """Matrix products: each output sees all units along the contracted axes, of both operands."""
    (contracting, batch), shape, result = eqn.params["dimension_numbers"], eqn.outvars[0].aval.shape, None
    for side, b in enumerate(operands):
        if b is not None:
            free = [k for k in range(len(b.shape)) if k not in (*contracting[side], *batch[side])]
            after = len(shape) - len(free) if side else len(batch[side])
            b = transposed(contract(b, contracting[side]), [*batch[side], *free, *contracting[side]])
            for axis in reversed(range(len(b.shape) - len(contracting[side]), len(b.shape))):
                b = drop(b, axis)
            kept = [*range(len(batch[side])), *range(after, after + len(free))]
            for axis in (k for k in range(len(shape)) if k not in kept):
                b = put(insert(b, axis), axis, None, 0, shape[axis])
            result = union(result, b)
    return [result]


def dynamic_slice(eqn, operands, statistics):
    """A piece at a place that is not known from shapes: all units along each axis that is cut."""
    b = operands[0]
    if any(index is not None for index in operands[1:]):
        return unknown(eqn, operands, statistics)
    for axis, size in enumerate(eqn.params["slice_sizes"]):
        if size != b.shape[axis]:
            b = put(contract(b, [axis]), axis, None, 0, size)
    return [b]


def gather(eqn, operands, statistics):
    """Pieces at places that are not known from shapes: all units along each axis that is cut or indexed."""
    b, index = operands
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    gone, shape = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}, eqn.outvars[0].aval.shape
    if index is not None:
        return unknown(eqn, operands, statistics)
    b = contract(b, [k for k, n in enumerate(b.shape) if sizes[k] != n or k in gone])
    b = functools.reduce(drop, sorted(gone, reverse=True), b)
    b = functools.reduce(insert, (k for k in range(len(shape)) if k not in numbers.offset_dims), b)
    for axis, n in enumerate(shape):
        b = b if b.shape[axis] == n else put(b, axis, None, 0, n)
    return [b]
