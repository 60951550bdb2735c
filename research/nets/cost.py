"""What a net costs, counted from shapes alone: parameters, and the arithmetic of its matrix products."""

import math

import jax


def parameters(tree):
    """Number of entries of all arrays of a pytree; shapes suffice."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def flops(function, *arguments):
    """Floating-point operations of the matrix products and convolutions in function(*arguments); shapes suffice.

    A product of [m, k] and [k, n] counts 2 m k n. A convolution counts the taps that fall on its input, not those on
    its padding. What adds up elementwise is left out. Loops count by their length; of the branches of a condition the
    dearest counts; what each device of a mesh runs (shard_map) counts for all of them. Raises ValueError for a loop
    whose length is not known from shapes.
    """
    return _total(jax.make_jaxpr(function)(*arguments).jaxpr)


def _total(jaxpr):
    return sum(_cost(eqn) for eqn in jaxpr.eqns)


def _cost(eqn):
    name, params = eqn.primitive.name, eqn.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = eqn.invars[0].aval.shape
        return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)
    if name == "conv_general_dilated":
        return _convolution(eqn)
    if name == "while":
        raise ValueError("the length of a while loop is not known from shapes; count its body alone.")
    inner = [_total(jaxpr) for jaxpr in _bodies(params)]
    if name == "cond":
        return max(inner)
    return sum(inner) * (params["length"] if name == "scan" else params["mesh"].size if name == "shard_map" else 1)


def _bodies(params):
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(item, "jaxpr", item)  # a closed jaxpr has one inside
            if hasattr(inner, "eqns"):
                yield inner


def _convolution(eqn):
    params, out = eqn.params, eqn.outvars[0].aval.shape
    numbers, (left, kernel) = params["dimension_numbers"], (v.aval.shape for v in eqn.invars)
    taps = 1
    for i, (axis, tap_axis, out_axis) in enumerate(
        zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:])
    ):
        low = params["padding"][i][0]
        step, stretch, spread = (params[name][i] for name in ("window_strides", "lhs_dilation", "rhs_dilation"))
        places = (o * step - low + k * spread for o in range(out[out_axis]) for k in range(kernel[tap_axis]))
        taps *= sum(0 <= p <= (left[axis] - 1) * stretch and p % stretch == 0 for p in places)
    batch, channels = (out[numbers.out_spec[i]] for i in (0, 1))
    inputs = kernel[numbers.rhs_spec[1]]  # input channels of one group
    return 2 * taps * channels * inputs * batch
