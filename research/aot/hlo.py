"""The text of a compiled program, read: its computations, how often each runs, and how many bytes each array takes.

A program that XLA has scheduled for a TPU marks arrays that stay in the chip's own memory by S(1) in their layout.
"""

import math
import re
from typing import NamedTuple

ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{([^}]*)\})?")
WRAPPED = ("fusion", "async-start", "call-start")  # what has its work in a computation of its own
DIGITS = re.compile(r"\d+")


class Instruction(NamedTuple):
    """One line: its name, its shape as text, what it does, the names it takes, and the text behind them."""

    name: str
    shape: str
    op: str
    operands: tuple
    rest: str

    def called(self, what):
        """The name of the computation that the attribute `what` names, or None."""
        found = re.search(rf"\b{what}=%([^,\s)]+)", self.rest)
        return found and found[1]


class Computation(NamedTuple):
    """Instructions by name, in order; the name of the one whose value is returned; the names of the parameters."""

    body: dict
    root: str
    parameters: tuple


def parse(text):
    """({name: Computation}, the name of the one that is the program) of a module's text."""
    found, entry, name = {}, None, None
    for line in text.splitlines():
        if name is None and line.endswith("{") and line.startswith(("%", "ENTRY")):
            name, lines = line.removeprefix("ENTRY ").removeprefix("%").split(" ", 1)[0], []
            entry = name if line.startswith("ENTRY") else entry
        elif line.startswith("}") and name is not None:  # a thread may be named behind it
            found[name], name = _computation(lines), None
        elif name is not None and " = " in line:
            lines.append(line)
    return found, entry


def _computation(lines):
    body, root, parameters = {}, None, {}
    for line in lines:
        one = instruction(line)
        body[one.name] = one
        if line.lstrip().startswith("ROOT "):
            root = one.name
        if one.op == "parameter":
            parameters[int(one.operands[0])] = one.name
    return Computation(body, root or one.name, tuple(parameters[i] for i in sorted(parameters)))


def instruction(line):
    """The Instruction of a line such as "ROOT %sum = f32[8]{0} add(%a, %b), metadata={...}"."""
    name, text = line.strip().removeprefix("ROOT ").split(" = ", 1)
    end = _closing(text, 0) + 1 if text.startswith("(") else text.index(" ")
    shape, text = text[:end], text[end:].lstrip()
    start = text.index("(")
    end = _closing(text, start)
    operands = re.findall(r"%([^\s,()]+)", text[start:end]) or re.findall(r"\d+", text[start:end])
    return Instruction(name.removeprefix("%"), shape, text[:start], tuple(operands), text[end + 1 :])


def _closing(text, start):
    """Where the parenthesis that opens at `start` closes."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    raise ValueError(f"a parenthesis stays open: {text[start : start + 80]}")


def parts(shape):
    """The texts of a shape's arrays, in order."""
    return [found[0] for found in ARRAY.finditer(shape)]


def num_bytes(shape, hbm=False):
    """Bytes of the arrays of a shape's text; with hbm=True only of those that lie in HBM."""
    total = 0
    for kind, dims, layout in ARRAY.findall(shape):
        bits = 8 if kind == "pred" else int(DIGITS.search(kind)[0]) if DIGITS.search(kind) else 0  # 0: a token
        if not (hbm and "S(" in layout):
            total += math.prod(map(int, filter(None, dims.split(",")))) * bits / 8
    return int(total)


def runs(computations, entry):
    """(times, name) of every computation that runs as such, loops multiplied; not those inside of fusions.

    And the number of loops whose length is not known from the text, which are taken to run once.
    """
    found, unknown, waiting = [], 0, [(1, entry)]
    while waiting:
        times, name = waiting.pop()
        found.append((times, name))
        for one in computations[name].body.values():
            if one.op == "while":
                length = trip_count(computations, one)
                unknown += length is None
                waiting.append((times * (1 if length is None else length), one.called("body")))
            elif one.op == "conditional":
                branches = re.search(r"branch_computations=\{([^}]*)\}", one.rest)
                names = re.findall(r"%([^\s,]+)", branches[1]) if branches else []
                names = names or [one.called(f"{kind}_computation") for kind in ("true", "false")]
                waiting += [(times, branch) for branch in names]
            elif one.op == "call":
                waiting.append((times, one.called("to_apply")))
    return found, unknown


def trip_count(computations, loop):
    """How often a loop runs that counts from 0 to a constant, as scans do; None of any other.

    A count of 64 bits is compared in two halves, of which the upper is below 0 or equals it.
    """
    condition = computations[loop.called("condition")]
    bounds = {*_bounds(condition)}
    for one in condition.body.values():
        if one.op == "fusion":
            given = [_constant(condition, name) for name in one.operands]
            bounds |= {*_bounds(computations[one.called("calls")], given)}
    bounds -= {0}
    return bounds.pop() if len(bounds) == 1 else None


def _bounds(computation, given=()):
    """The constants that something has to be below, by a comparison; given: those of a fusion's parameters."""
    for one in computation.body.values():
        if one.op == "compare" and "direction=LT" in one.rest:
            right = one.operands[1]
            at = computation.parameters.index(right) if right in computation.parameters else len(given)
            value = given[at] if at < len(given) else _constant(computation, right)
            yield from () if value is None else (value,)


def _constant(computation, name):
    """The whole number that a name stands for, or None."""
    one = computation.body.get(name)
    return int(one.operands[0]) if one and one.op == "constant" and one.operands else None
