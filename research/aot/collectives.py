"""What the devices of a compiled program send to one another."""

import re
from typing import NamedTuple

from research.aot import hlo

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")


class Collective(NamedTuple):
    """kind; times a step; bytes of its payload on a device; devices that take part; whether it crosses slices."""

    kind: str
    times: int
    bytes: int
    group: int
    crosses: bool = False

    @property
    def sent(self):
        """Bytes that a device must send, in the way that sends least: along a ring (Thakur et al. 2005, section 4)."""
        share = (self.group - 1) / self.group
        factor = {"collective-permute": 1, "all-reduce": 2 * share, "send": 1}.get(
            self.kind.removeprefix("dcn "), share
        )
        return self.times * self.bytes * factor


def find(computations, runs, devices, slices=1):
    """The list of Collectives of a program on so many devices in so many slices.

    The payload is the whole array: what an all-gather returns, what any other takes.
    """
    found = []
    for times, name in runs:
        seen = set()
        for one, scattered, fused in _inside(computations, name):
            kind = one.op.removesuffix("-start")
            if one.op == "send" and "megascale" in one.rest:  # libtpu's own way from slice to slice
                found.append(_across(one, times, slices))
            if kind not in KINDS:
                continue
            key = (re.search(r"channel_id=(\d+)", one.rest) or [None])[0], one.shape.split("{")[0]
            if fused and key in seen:  # the parts of one collective that goes on beside other work
                continue
            seen.add(key)
            size, group = hlo.num_bytes(one.shape), group_size(one.rest, devices)
            if one.op.endswith("-start") and kind != "all-reduce":  # its shape has what it takes, then what it returns
                size = hlo.num_bytes(hlo.parts(one.shape)[1])
            kind = "reduce-scatter" if kind == "all-reduce" and scattered else kind
            size *= group if one.op == "reduce-scatter" else 1
            found.append(Collective(kind, times, size, group))
    return found


def _across(one, times, slices):
    kind = (re.search(r'transfer_type="(\w+)"', one.rest) or ["", "send"])[1].lower().replace("_", "-")
    size = hlo.num_bytes(hlo.parts(one.shape)[0])  # a number and a token come with it
    return Collective(f"dcn {kind}", times, size * (slices if kind == "all-gather" else 1), slices, crosses=True)


def _inside(computations, name, scattered=False, fused=False):
    """(instruction, whether it is in a fusion that scatters what it reduced, whether in one at all), fusions' too."""
    for one in computations[name].body.values():
        yield one, scattered, fused
        inner = one.called("to_apply" if one.op == "call-start" else "calls")
        if one.op in hlo.WRAPPED:
            scatters = scattered or inner.startswith("all-reduce-scatter")
            yield from _inside(computations, inner, scatters, fused or one.op == "fusion")


def group_size(attributes, devices):
    """How many devices take part in a collective, from its attributes, in each of XLA's ways to say so."""
    named = re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes)
    if named:
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        size = 1
        for axis, part in re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", named[2]):
            size *= int(part or sizes[axis])
        return size
    counted = re.search(r"replica_groups=\[\d+,(\d+)\]<=", attributes)
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", attributes)
    return int(counted[1]) if counted else listed[1].count(",") + 1 if listed else devices


def by_kind(found):
    """{kind: {"count", "bytes"}} a step and device, loops multiplied."""
    result = {}
    for one in found:
        entry = result.setdefault(one.kind, {"count": 0, "bytes": 0})
        entry["count"] += one.times
        entry["bytes"] += one.times * one.bytes
    return dict(sorted(result.items()))
