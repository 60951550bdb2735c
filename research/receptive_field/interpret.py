"""Follows bounds through the equations of a jaxpr: calls, loops and branches."""

import functools
import math

import numpy as np
from jax.extend.core import Literal

from research.receptive_field import mixing, rules
from research.receptive_field.bounds import contract, put, union
from research.receptive_field.reshape import drop, insert

CALLS = ("jit", "closed_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")


def interpret(jaxpr, arguments, statistics):
    """Bounds of the outputs of a jaxpr, None where they do not depend on an argument that has bounds."""
    known = dict(zip(jaxpr.invars, arguments))

    def read(variable):
        return None if isinstance(variable, Literal) else known.get(variable)

    for eqn in jaxpr.eqns:
        operands = [read(v) if math.prod(v.aval.shape) else None for v in eqn.invars]  # an empty array sees nothing
        if any(b is not None for b in operands):
            known.update(zip(eqn.outvars, _equation(eqn, operands, statistics)))
    return [read(v) for v in jaxpr.outvars]


def _equation(eqn, operands, statistics):
    name, inner = eqn.primitive.name, _inner(eqn)
    if name in CALLS and inner is not None and len(inner.invars) == len(operands):
        return interpret(inner, operands, statistics)
    if name == "scan":
        return _scan(eqn, operands, statistics)
    if name == "cond" and operands[0] is None:
        outputs = [interpret(branch.jaxpr, operands[1:], statistics) for branch in eqn.params["branches"]]
        return [functools.reduce(union, several) for several in zip(*outputs)]
    return rules.RULES.get(name, mixing.unknown)(eqn, operands, statistics)


def _inner(eqn):
    found = next((eqn.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params), None)
    return getattr(found, "jaxpr", found)


def _scan(eqn, operands, statistics):
    """Turn by turn, until nothing changes. A loop along space sees everything, one over stacked layers does not."""
    p, counts = eqn.params, _scan_counts(eqn)
    if counts is None:
        return mixing.unknown(eqn, operands, statistics)
    fixed, moving = counts
    constants, carry = operands[:fixed], operands[fixed : fixed + moving]
    rows = [b if b is None else drop(contract(b, [0]), 0) for b in operands[fixed + moving :]]
    collected = [None] * (len(eqn.outvars) - moving)
    for _ in range(p["length"]):
        outputs = interpret(p["jaxpr"].jaxpr, [*constants, *carry, *rows], statistics)
        collected = [union(a, b) for a, b in zip(collected, outputs[moving:])]
        if all(map(_equal, carry, outputs)):
            break
        carry = outputs[:moving]
    stacked = [b if b is None else put(insert(b, 0), 0, None, 0, p["length"]) for b in collected]
    return [*carry, *stacked]


def _scan_counts(eqn):
    """(number of constants, of carried arrays), as JAX 0.10 and 0.11 tell it; None where neither does."""
    p = eqn.params
    if "num_consts" in p:
        return p["num_consts"], p["num_carry"]
    if "ft_in" in p:
        constants, carry, _ = p["ft_in"].update(eqn.invars).unpack()
        return len(list(constants)), len(list(carry))
    return None


def _equal(a, b):
    if a is None or b is None:
        return a is b
    return a.shift == b.shift and a.statistic == b.statistic and _same_ends(a, b)


def _same_ends(a, b):
    return np.array_equal(a.low, b.low) and np.array_equal(a.high, b.high)
