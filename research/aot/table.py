"""Every config on every topology: compiled one by one, kept in a JSON that a rerun goes on from."""

import hashlib
import json
import sys

import jax

from research import workdir
from research.aot import report, step, topologies
from research.atomic import replacing
from research.errors import UserError

SCALED = "rectified_flow_imagenet64_dit"  # whose scaling is told, with so many examples a device, by these shapes
EXAMPLES, SHAPES = 16, ("2x2x2", "4x4x4", "4x8x8", "8x8x8", "8x16x16", "16x16x24")


def fill(path, configs):
    """Compiles what `path`, a JSON of cells, does not hold yet; configs: {name: config}, in the order to go.

    A cell is held by the program before it is compiled, so that only what has changed is compiled again.
    """
    cells = read(path)
    for name, config in configs.items():
        for sold in topologies.SOLD:
            _cell(cells, path, f"{name} | {sold}", config, sold)
        for topology in (f"v5p:{shape}" for shape in SHAPES if name == SCALED):
            scaled = config.copy_and_resolve_references()
            scaled.data.batch_size = EXAMPLES * len(topologies.describe(topology).devices)
            _cell(cells, path, f"{name} | scaling | {topology}", scaled, topology)
    return cells


def read(path):
    """{name: report} of the cells that a JSON holds, none where there is no file."""
    return json.loads(path.read_text()) if path.exists() else {}


def _cell(cells, path, name, config, sold):
    """Compiles one cell, unless there is one with the same program, and writes all of them."""
    topology = topologies.describe(sold)
    devices = len(topology.devices) // topology.slices
    fsdp = min(config.mesh.fsdp, devices)
    note = f"fsdp {fsdp}, not {config.mesh.fsdp}" if fsdp < config.mesh.fsdp else ""
    try:
        lowered = step.lower(config, topology, fsdp=fsdp)
    except UserError as error:
        return _keep(cells, path, name, {"error": str(error)})
    program = _digest(lowered, topology)
    row = next((dict(cell) for cell in cells.values() if cell.get("program") == program), None)
    if row is None:
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        row = _compiled(config, topology, lowered)
        jax.clear_caches()  # of hundreds of programs, the large ones some gigabytes each
        print(row.get("error") or f"{row['compile_seconds']:.0f} s", file=sys.stderr, flush=True)
    notes = "; ".join(filter(None, (lowered.note, note)))
    row |= {"program": program, "topology": topology.name, "num_slices": topology.slices, "note": notes}
    return _keep(cells, path, name, row)


def _keep(cells, path, name, row):
    """Writes all cells where this one is new."""
    if cells.get(name) != row:
        cells[name] = row
        with replacing(path) as file:
            file.write(_lines(cells).encode())


def _compiled(config, topology, lowered):
    """The report of a cell, with an error's sentence where it does not fit or does not compile."""
    try:
        return report.make(config, topology, lowered)[0]
    except report.TooLarge as error:
        return error.report | {"error": str(error)}
    except UserError as error:
        return {"error": str(error)}


def _digest(lowered, topology):
    """What tells programs apart: their text, and the devices they are for, of which a single one is like any other."""
    kind = topology.name.partition(":")[0]
    where = kind if lowered.mesh.size == 1 else f"{topology.name} {topology.slices}"
    found = report.versions() | {"where": where, "text": lowered.lowered.as_text()}
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


def _lines(cells):
    """JSON with a cell a line."""
    rows = (f"{json.dumps(name)}: {json.dumps(workdir.finite(cells[name]))}" for name in sorted(cells))
    return "{\n" + ",\n".join(rows) + "\n}\n"
