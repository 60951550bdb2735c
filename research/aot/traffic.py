"""What a compiled program moves between HBM and the chip."""

import math

from research.aot import hlo

NOTHING = (  # moves nothing by itself
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all"),
    *("partition-id", "replica-id", "opt-barrier", "iota", "domain", "add-dependency"),
)
SLICES = ("dynamic-slice", "slice", "gather")
VIEWS = ("parameter", "bitcast", "copy")


def hbm_bytes(computations, runs):
    """Bytes that a device's program reads from and writes to HBM in a step, loops multiplied.

    Each operation, fused ones as one, reads what it takes and writes what it returns; of what it slices, or changes in
    place, the slice alone counts.
    """
    return sum(times * sum(moved(computations, name).values()) for times, name in runs)


def moved(computations, name):
    """{instruction: bytes that it moves} of a computation run once."""
    body = computations[name].body
    found = {one.name: one for one in body.values() if one.op not in NOTHING and "AllocateBuffer" not in one.rest}
    return {name: _read(computations, body, one) + _written(computations, body, one) for name, one in found.items()}


def _read(computations, body, one):
    """Bytes of HBM that an instruction reads: of each operand the part that is used."""
    if one.op.endswith("-done"):
        return 0
    total = 0
    for i, name in enumerate(one.operands):
        if name in body:
            total += _part(computations, [], one, i, body[name].shape) * hlo.num_bytes(body[name].shape, hbm=True)
    return round(total)


def _written(computations, body, one):
    """Bytes of HBM that an instruction writes: of what it changes in place the change alone."""
    if one.op.endswith("-start"):
        return 0
    if one.op == "dynamic-update-slice":
        return min(hlo.num_bytes(body[one.operands[1]].shape), hlo.num_bytes(one.shape, hbm=True))
    if one.op != "fusion":
        return hlo.num_bytes(one.shape, hbm=True)
    inner, total = computations[one.called("calls")], 0
    root = inner.body[inner.root]
    for array, name in zip(hlo.parts(one.shape), root.operands if root.op == "tuple" else (root.name,)):
        source, size = _source(computations, inner.body, name), hlo.num_bytes(array, hbm=True)
        if source.op in ("dynamic-update-slice", "fusion"):
            size = min(size, _written(computations, inner.body, source))
        total += size
    return total


def _source(computations, body, name):
    """The instruction that a value comes from, looked for behind others that only view or copy it whole."""
    one = body[name]
    while one.op in ("bitcast", "copy") or (one.op == "fusion" and _is_view(computations[one.called("calls")])):
        if one.operands[0] not in body:
            break
        one = body[one.operands[0]]
    return one


def _is_view(computation):
    return len(computation.parameters) == 1 and all(one.op in VIEWS for one in computation.body.values())


def _part(computations, frames, one, i, shape):
    """The share of its operand i, of that shape, that an instruction reads; frames: the fusions that it is inside of,
    each as (its computation, its name in the one above)."""
    size = max(_count(shape), 1)
    if one.op.removesuffix("-start") in SLICES and i == 0:
        return min(1, _count(hlo.parts(one.shape)[1 if one.op.endswith("-start") else 0]) / size)
    if one.op == "dynamic-update-slice" and i == 0:
        return 0
    if one.op in ("fusion", "async-start"):
        inner = computations[one.called("calls")]
        return _used(computations, [*frames, (inner, one.name)], inner.parameters[i])
    if frames and (one.op in ("tuple", "get-tuple-element") or _count(one.shape) == size):
        return _used(computations, frames, one.name)
    return 1


def _used(computations, frames, name):
    """The share of a value inside of a fusion that its users read, those included that take the fusion's result."""
    inner, outer = frames[-1]
    if name == inner.root:
        return 1 if len(frames) == 1 else _used(computations, frames[:-1], outer)
    total, shape = 0, inner.body[name].shape
    for one in inner.body.values():
        if name in one.operands and total < 1:
            total += _part(computations, frames, one, one.operands.index(name), shape)
    return min(total, 1)


def _count(shape):
    """Numbers in the arrays of a shape."""
    return sum(math.prod(map(int, filter(None, dims.split(",")))) for _, dims, _ in hlo.ARRAY.findall(shape))
