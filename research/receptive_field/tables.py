"""The table of a graph of layers, row by row, and its last line: size, stride and padding."""

import functools
from fractions import Fraction
from typing import NamedTuple

from research.errors import UserError
from research.receptive_field import bounds
from research.receptive_field.layers import Layer, Parallel, dimensions, joined

ENDLESS = 1 << 10  # the length that stands for any: bounds repeat, so it changes nothing


class Measures(NamedTuple):
    """Unit i sees positions from i * stride - padding on, `size` of them; tuples where dimensions differ."""

    size: int | tuple
    stride: int | Fraction | tuple
    padding: int | tuple


class Row(NamedTuple):
    """One layer: its units, the input positions from one unit to the next (jump), what a unit sees, the padding seen
    by the first, and the centre of what the first sees, pixel 0 being at 0.5. Tuples where dimensions differ; `depth`
    counts the joins around it."""

    name: str
    kind: str
    output: int | tuple | None
    jump: int | Fraction | tuple
    receptive_field: int | tuple
    padding: int | tuple
    start: float | tuple
    depth: int = 0


class _State(NamedTuple):
    length: int | None
    seen: bounds.Bounds

    @property
    def jump(self):
        return Fraction(self.seen.shift[0], self.seen.low.shape[0])


def table(layers, input_size=None):
    """List of Row, the input first. input_size: an int or one a dimension; None leaves sizes open.

    Raises UserError where nothing is left of the input, where branches differ in size or stride, and for a strided
    'SAME' layer without input_size: TensorFlow pads an even input of a 3-wide kernel of stride 2 at the end only.
    """
    layers = (layers,) if isinstance(layers, Layer) else layers
    dims = len(input_size) if isinstance(input_size, tuple) else dimensions(layers)
    sizes = input_size if isinstance(input_size, tuple) else (input_size,) * dims
    states = [_State(n, bounds.start((ENDLESS,), 0, False)) for n in sizes]
    rows = [_row("input", "input", states, 0)]
    _walk(layers, states, rows, 0)
    return rows


def receptive_field(layers, input_size=None):
    """Measures of the graph's last unit; where branches are not aligned, all that they see together."""
    last = table(layers, input_size)[-1]
    return Measures(last.receptive_field, last.jump, last.padding)


def _walk(graph, states, rows, depth):
    for part in graph:
        if isinstance(part, Parallel):
            ends = [_walk(branch, states, rows, depth + 1) for branch in part.branches]
            states = [_join(part, dim, several) for dim, several in enumerate(zip(*ends))]
        else:
            states = [_apply(part, dim, state) for dim, state in enumerate(states)]
        kind = "transposed conv" if isinstance(part, Layer) and part.transposed else part.kind
        rows.append(_row(part.name or kind, kind, states, depth))
    return states


def _apply(layer, dim, state):
    n, (kernel, stride), (low, high) = state.length, layer.at(dim), layer.pads(dim, state.length)
    taps, dilation = layer.taps(dim)
    if layer.transposed:
        length = n and (n - 1) * stride + kernel - low - high
        seen = bounds.window(state.seen, 0, ENDLESS, taps, 1, kernel - 1 - low, stride, dilation)
    else:
        length = n and (n + low + high - kernel) // stride + 1
        seen = bounds.window(state.seen, 0, ENDLESS, taps, stride, low, 1, dilation)
    if length is not None and length < 1:
        raise UserError(
            f"nothing is left at layer '{layer.name or layer.kind}': {n} units reach it and its kernel spans {kernel}; "
            "give a larger input."
        )
    return _State(length, seen)


def _join(part, dim, states):
    lengths = {state.length for state in states}
    if len(lengths) > 1:
        raise UserError(
            f"the branches of '{part.name or part.kind}' end with {sorted(lengths)} units along dimension {dim}; "
            "a sum needs the same number."
        )
    if len({state.jump for state in states}) > 1:
        raise UserError(f"the branches of '{part.name or part.kind}' have different strides along dimension {dim}.")
    return _State(lengths.pop(), functools.reduce(bounds.union, (state.seen for state in states)))


def _row(name, kind, states, depth):
    sizes = [int((s.seen.high - s.seen.low).max()) + 1 for s in states]
    padding = [bounds.first_padding(s.seen, 0) for s in states]
    jumps = [int(s.jump) if s.jump.denominator == 1 else s.jump for s in states]
    starts = [float(s.seen.low[0] + s.seen.high[0] + 1) / 2 for s in states]
    return Row(name, kind, *map(joined, ([s.length for s in states], jumps, sizes, padding, starts)), depth)


def format_table(rows):
    """Aligned text, a line a row; branches are indented."""
    lines = [("layer", "kind", "output", "jump", "field", "padding", "start")]
    lines += [("  " * row.depth + row.name, row.kind, *map(_text, row[2:7])) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join([a.ljust(widths[0]), b.ljust(widths[1]), *map(str.rjust, rest, widths[2:])]).rstrip()
                     for a, b, *rest in lines)  # fmt: skip


def _text(value):
    if isinstance(value, tuple):
        return "x".join(map(_text, value))
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
