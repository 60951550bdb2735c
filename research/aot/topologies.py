"""TPUs by name: their chips' figures, and topologies of devices that are described and not there.

Figures are those of Google's pages on each generation (cloud.google.com/tpu/docs/v5e, /v5p, /v6e, /tpu7x, /v4): peak
FLOP/s in bfloat16 and in 8 bits, bytes of HBM, and bytes a second of HBM, of all links to other chips (ICI) one way,
which is half of the bidirectional figure there, and of the network between slices (DCN). v4's networks are those of
"How to Scale Your Model" (Austin et al. 2025), table of TPUs.
"""

import importlib.util
import math
from typing import NamedTuple

from research.errors import UserError


class Chip(NamedTuple):
    """A generation of TPUs, all figures for a chip; `cores`: devices that JAX sees in it."""

    flops: float
    flops_8bit: float
    hbm_bytes: float
    hbm: float
    ici: float
    dcn: float
    cores: int = 1
    options: tuple = ()  # of jax's description of it


class Topology(NamedTuple):
    """name, such as "v5e:16x16"; slices of it; the Chip; the devices of all slices."""

    name: str
    slices: int
    chip: Chip
    devices: list


GIB = 2**30
CHIPS = {
    "v4": Chip(275e12, 275e12, 32 * GIB, 1200e9, 270e9, 6.25e9, options=(("chip_config_name", "megacore"),)),
    "v5e": Chip(197e12, 394e12, 16 * GIB, 819e9, 200e9, 3.125e9),
    "v5p": Chip(459e12, 918e12, 95 * GIB, 2765e9, 600e9, 6.25e9),
    "v6e": Chip(918e12, 1836e12, 32 * GIB, 1638e9, 400e9, 12.5e9),
    "tpu7x": Chip(2307e12, 4614e12, 192 * GIB, 7380e9, 600e9, 12.5e9, cores=2),
}
# A slice of v5e or v6e is one of these; larger ones of the others are made of cubes of 64 chips.
FLAT = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
SMALL = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")
LARGEST = {"v4": 4096, "v5p": 6144, "tpu7x": 9216}  # chips
# Names as Google sells them: v5e and v6e by chips, v5p and tpu7x by TensorCores, of which a chip has two.
SOLD = {
    "v5e-4": ("v5e:2x2", 1),
    "v5e-256": ("v5e:16x16", 1),
    "v6e-256": ("v6e:16x16", 1),
    "v5p-512": ("v5p:4x8x8", 1),
    "tpu7x-128": ("tpu7x:4x4x4", 1),
    "4 x v5e-256": ("v5e:16x16", 4),
}


def describe(name, num_slices=1):
    """The Topology of a name, also one of SOLD, and of so many slices of it.

    Raises UserError for one that there is not, and where libtpu, which compiles, is not installed.
    """
    if num_slices < 1:
        raise UserError(f"--num_slices is {num_slices}; it must be at least 1.")
    name, more = SOLD.get(name, (name, 1))
    num_slices *= more
    kind, _, shape = name.partition(":")
    check(name, kind, shape)
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("compiling for TPUs takes libtpu, which is not installed: pip install -e '.[tpu]'.")
    from jax.experimental import topologies

    options = dict(CHIPS[kind].options) | ({"num_slices": num_slices} if num_slices > 1 else {})
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name, **options)
    except Exception as error:  # of libtpu's own kinds
        raise UserError(f"libtpu does not know --topology={name}: {str(error).splitlines()[0]}") from None
    return Topology(name, num_slices, CHIPS[kind], found.devices)


def check(name, kind, shape):
    """Raises UserError, with what there is, for a topology that is not sold."""
    if kind not in CHIPS:
        kinds = ", ".join(f"{kind}:{'2x2' if kind not in LARGEST else '2x2x1'}" for kind in CHIPS)
        sold = ", ".join(f"'{name}'" for name in SOLD)
        raise UserError(f"there is no topology '{name}'; take a kind and a shape in chips ({kinds} ...), or {sold}.")
    if kind not in LARGEST:
        if shape not in FLAT:
            raise UserError(f"there is no topology '{name}'; shapes of {kind} are {', '.join(FLAT)}.")
        return
    sides = [int(side) for side in shape.split("x") if side.isdecimal()]
    cubes = len(sides) == 3 and shape.count("x") == 2 and all(side and side % 4 == 0 for side in sides)
    if shape not in SMALL and not (cubes and sorted(sides) == sides and math.prod(sides) <= LARGEST[kind]):
        raise UserError(
            f"there is no topology '{name}'; shapes of {kind} are {', '.join(SMALL)}, and AxBxC with A <= B <= C, "
            f"multiples of 4, of at most {LARGEST[kind]} chips, such as 4x4x4 and 8x8x16."
        )
