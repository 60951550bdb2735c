"""Layers, and graphs of them: a graph is a sequence of Layer and Parallel."""

from dataclasses import dataclass
from typing import NamedTuple

from research.errors import UserError


@dataclass(frozen=True)
class Layer:
    """A convolution or pooling: kernel, stride and dilation are an int, or one a dimension.

    padding: an int, a pair (low, high), one pair a dimension, "SAME" (TensorFlow's rule, by the size of the input) or
    "VALID". transposed: the stride spreads the input out, and the padding is cut off the output. Raises UserError.
    """

    kernel: int | tuple
    stride: int | tuple = 1
    padding: int | tuple | str = 0
    dilation: int | tuple = 1
    transposed: bool = False
    name: str = ""
    kind: str = "conv"

    def __post_init__(self):
        for field in ("kernel", "stride", "dilation"):
            value = getattr(self, field)
            if not all(isinstance(v, int) and v >= 1 for v in (value if isinstance(value, tuple) else (value,))):
                raise UserError(
                    f"the {field} of layer '{self.name}' is {value!r}; give an int of at least 1, or a tuple."
                )
        if isinstance(self.padding, str) and self.padding not in ("SAME", "VALID"):
            raise UserError(
                f"the padding of layer '{self.name}' is '{self.padding}'; choose 'SAME', 'VALID' or numbers."
            )
        if not isinstance(self.padding, str) and not _is_padding(self.padding):
            raise UserError(
                f"the padding of layer '{self.name}' is {self.padding!r}; give n, (low, high) or pairs of them."
            )
        _dims(self)

    def at(self, dim):
        """(kernel with dilation, stride) along a dimension."""
        kernel, stride, dilation = (_pick(v, dim) for v in (self.kernel, self.stride, self.dilation))
        return dilation * (kernel - 1) + 1, stride

    def taps(self, dim):
        """(kernel, dilation) along a dimension."""
        return _pick(self.kernel, dim), _pick(self.dilation, dim)

    def pads(self, dim, length):
        """(low, high) padding along a dimension of `length` units; SAME is TensorFlow's: the odd one is at the end."""
        kernel, stride = self.at(dim)
        if self.padding == "SAME":
            total = kernel - stride if self.transposed else _same(length, kernel, stride)
            low = max(total // 2, 0)
            return low, total - low
        if isinstance(self.padding, str):
            return 0, 0
        pair = self.padding if isinstance(self.padding, tuple) else (self.padding,) * 2
        return pair[dim] if isinstance(pair[0], tuple) else pair


class Parallel(NamedTuple):
    """Branches that start from one array and are added or concatenated; an empty one is a skip."""

    branches: tuple
    name: str = ""
    kind: str = "join"


def parallel(*branches, name=""):
    """Parallel from branches that are a Layer or a sequence."""
    return Parallel(tuple((b,) if isinstance(b, Layer) else tuple(b) for b in branches), name)


def pool(kernel, stride=1, padding=0, name=""):
    """A pooling layer."""
    return Layer(kernel, stride, padding, name=name, kind="pool")


def _same(length, kernel, stride):
    if length is None and stride > 1:
        raise UserError("a strided 'SAME' layer pads by the size of its input; give input_size.")
    return kernel - 1 if length is None else max((-(-length // stride) - 1) * stride + kernel - length, 0)


def _is_padding(padding):
    if not isinstance(padding, tuple):
        return isinstance(padding, int)
    pairs = padding if padding and isinstance(padding[0], tuple) else (padding,)
    return all(isinstance(p, tuple) and len(p) == 2 and all(isinstance(n, int) for n in p) for p in pairs)


def _pick(value, dim):
    return value[dim] if isinstance(value, tuple) else value


def _dims(layer):
    pairs = layer.padding if isinstance(layer.padding, tuple) and isinstance(layer.padding[0], tuple) else 0
    sizes = {len(v) for v in (layer.kernel, layer.stride, layer.dilation, pairs) if isinstance(v, tuple)}
    if len(sizes) > 1:
        raise UserError(
            f"the fields of layer '{layer.name}' have {sorted(sizes)} dimensions; give each the same number."
        )
    return sizes


def walk(graph):
    """Every Layer of a graph, in order."""
    for part in graph:
        if isinstance(part, Parallel):
            for branch in part.branches:
                yield from walk(branch)
        elif isinstance(part, Layer):
            yield part
        else:
            raise UserError(f"a graph consists of Layer and Parallel, not of {part!r}.")


def dimensions(graph):
    """Number of spatial dimensions that a graph tells: 1 where its layers have ints only."""
    sizes = set().union({0}, *(_dims(layer) for layer in walk(graph))) - {0}
    if len(sizes) > 1:
        raise UserError(f"layers of {sorted(sizes)} dimensions stand in one graph; give each the same number.")
    return max(sizes, default=1)


def joined(values):
    """One number where all dimensions agree, else the tuple."""
    return values[0] if len(set(values)) == 1 else tuple(values)
