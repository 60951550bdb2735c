"""What each JAX primitive does to bounds: RULES[name](eqn, operands, statistics) -> bounds of each output.

An operand is None where it does not depend on the input. A primitive that is not listed sees everything
(research.receptive_field.mixing.unknown).
"""

import functools

import numpy as np

from research.receptive_field import mixing
from research.receptive_field.bounds import at, constant, contract, put, union, window
from research.receptive_field.reshape import drop, insert, reshape


def _elementwise(eqn, operands, statistics):
    shape = eqn.outvars[0].aval.shape
    return [functools.reduce(union, [b if b is None else _stretched(b, shape) for b in operands])]


def _stretched(b, shape):
    """Axes of one unit repeated to `shape`."""
    if len(b.shape) != len(shape):  # a single number
        return constant(b, shape, b.low.min(), b.high.max())
    for axis, n in enumerate(shape):
        if b.shape[axis] != n:
            b = put(b, axis, at(b, axis, np.arange(1)), 0, n)
    return b


def _conv(eqn, operands, statistics):
    b, kernel = operands
    p, spec = eqn.params, eqn.params["dimension_numbers"]
    if kernel is not None or p["batch_group_count"] != 1:
        return mixing.unknown(eqn, operands, statistics)
    b = _channels(b, spec.lhs_spec[1], p["feature_group_count"], eqn.outvars[0].aval.shape[spec.out_spec[1]])
    for k, axis in enumerate(spec.lhs_spec[2:]):
        length, size = eqn.outvars[0].aval.shape[spec.out_spec[2 + k]], eqn.invars[1].aval.shape[spec.rhs_spec[2 + k]]
        low, base, dilation = p["padding"][k][0], p["lhs_dilation"][k], p["rhs_dilation"][k]
        b = window(b, axis, length, size, p["window_strides"][k], low, base, dilation)
    order = [spec.lhs_spec[spec.out_spec.index(k)] for k in range(len(b.shape))]
    return [mixing.transposed(b, order)]


def _channels(b, axis, groups, outputs):
    """Each group of output channels sees the units of its group of input channels."""
    if b.low.shape[axis] == 1:
        return put(contract(b, [axis]), axis, None, 0, outputs)
    low, high = at(b, axis, np.arange(b.shape[axis]))
    apart = (*low.shape[:axis], groups, -1, *low.shape[axis + 1 :])
    low, high = low.reshape(apart).min(axis + 1), high.reshape(apart).max(axis + 1)
    return put(b, axis, [end.repeat(outputs // groups, axis) for end in (low, high)], 0, outputs)


def _windows(eqn, operands, statistics):
    p, b = eqn.params, operands[0]
    if any(other is not None for other in operands[1:]):
        return mixing.unknown(eqn, operands, statistics)
    for axis, size in enumerate(p["window_dimensions"]):
        low, base, dilation = p["padding"][axis][0], p["base_dilation"][axis], p["window_dilation"][axis]
        length = eqn.outvars[0].aval.shape[axis]
        b = window(b, axis, length, size, p["window_strides"][axis], low, base, dilation)
    return [b]


def _pad(eqn, operands, statistics):
    b, filler = operands
    if filler is not None:
        return mixing.unknown(eqn, operands, statistics)
    for axis, (low, _, interior) in enumerate(eqn.params["padding_config"]):
        b = window(b, axis, eqn.outvars[0].aval.shape[axis], low=low, base=interior + 1)
    return [b]


def _slice(eqn, operands, statistics):
    p, b = eqn.params, operands[0]
    for axis, first in enumerate(p["start_indices"]):
        step = p["strides"][axis] if p["strides"] else 1
        b = window(b, axis, eqn.outvars[0].aval.shape[axis], stride=step, low=-first)
    return [b]


def _split(eqn, operands, statistics):
    (b,), axis, first, parts = operands, eqn.params["axis"], 0, []
    for size in eqn.params["sizes"]:
        parts.append(window(b, axis, size, low=-first))
        first += size
    return parts


def _reverse(eqn, operands, statistics):
    (b,) = operands
    for axis in eqn.params["dimensions"]:
        n, period = b.shape[axis], b.low.shape[axis]
        b = put(b, axis, at(b, axis, n - 1 - np.arange(period)), -b.shift[axis], n)
    return [b]


def _transpose(eqn, operands, statistics):
    return [mixing.transposed(operands[0], eqn.params["permutation"])]


def _reshape(eqn, operands, statistics):
    (b,), order = operands, eqn.params["dimensions"]
    return [reshape(b if order is None else mixing.transposed(b, order), eqn.outvars[0].aval.shape)]


def _squeeze(eqn, operands, statistics):
    return [functools.reduce(drop, sorted(eqn.params["dimensions"], reverse=True), operands[0])]


def _broadcast(eqn, operands, statistics):
    shape, kept = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    return [_stretched(functools.reduce(insert, (k for k in range(len(shape)) if k not in kept), operands[0]), shape)]


def _concatenate(eqn, operands, statistics):
    axis = eqn.params["dimension"]
    return [_joined(operands, axis, [variable.aval.shape[axis] for variable in eqn.invars])]


def _stack(eqn, operands, statistics):
    axis = eqn.params["axis"]
    return [_joined([b if b is None else insert(b, axis) for b in operands], axis, [1] * len(operands))]


def _joined(operands, axis, sizes):
    """Operands one after another along `axis`, where they have `sizes`."""
    result, first = None, 0
    alone = sum(b is not None for b in operands) == 1
    for size, b in zip(sizes, operands):
        if b is not None:
            moved = window(b, axis, sum(sizes), low=first)
            result = union(result, moved if alone else _only(moved, axis, first, first + size), apart=True)
        first += size
    return result


def _unstack(eqn, operands, statistics):
    (b,), axis = operands, eqn.params["axis"]
    return [drop(window(b, axis, 1, low=-i), axis) for i in range(b.shape[axis])]


def _tile(eqn, operands, statistics):
    (b,) = operands
    for axis, times in enumerate(eqn.params["reps"]):
        n, repeated = b.shape[axis], put(insert(b, axis), axis, None, 0, times)
        b = reshape(repeated, (*b.shape[:axis], n * times, *b.shape[axis + 1 :]))
    return [b]


def _only(b, axis, first, last):
    """b where its units along `axis` are in [first, last), nothing elsewhere; all of them listed."""
    index = np.arange(b.shape[axis])
    low, high = at(b._replace(exact=False), axis, index)
    other = ((index < first) | (index >= last)).reshape([-1 if k == axis else 1 for k in range(b.low.ndim)])
    ends = np.where(other, np.inf, low), np.where(other, -np.inf, high)
    return put(
        b, axis, ends, 0 if b.exact else round(abs(b.shift[axis]) * b.shape[axis] / b.low.shape[axis]), b.shape[axis]
    )


ELEMENTWISE = """abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp clz
complex conj convert_element_type copy cos cosh device_put digamma div eq eq_to erf erf_inv erfc exp exp2 expm1
floor ge gt igamma igammac
imag integer_pow is_finite le le_to lgamma log log1p logistic lt lt_to max min mul name ne neg
nextafter not or polygamma population_count pow real reduce_precision regularized_incomplete_beta rem round rsqrt
select_n sharding_constraint shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt square
stop_gradient sub tan tanh xor zeta"""
RULES = {
    **dict.fromkeys(ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(("reduce_window_sum", "reduce_window_max", "reduce_window_min", "reduce_window"), _windows),
    **dict.fromkeys([f"reduce_{op}" for op in ("sum", "max", "min", "prod", "and", "or", "xor")], mixing.reduce),
    **dict.fromkeys(("argmax", "argmin", "reduce"), mixing.reduce),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"), mixing.along("axis")),
    "sort": mixing.along("dimension"),
    "optimization_barrier": lambda eqn, operands, statistics: operands,
    "conv_general_dilated": _conv,
    "pad": _pad,
    "slice": _slice,
    "split": _split,
    "stack": _stack,
    "tile": _tile,
    "unstack": _unstack,
    "rev": _reverse,
    "transpose": _transpose,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "dot_general": mixing.dot_general,
    "dynamic_slice": mixing.dynamic_slice,
    "gather": mixing.gather,
}
