"""docs/aot.md: what is in the JSON of `table`, as tables of Markdown."""

from research.aot import report, table, topologies

HEAD = """# Every experiment, compiled for TPUs

`python -m launch.aot --all` made this page on a CPU, with {versions}: the training step of each config (for trees, of a
block of trees) as the loop jits it, compiled by the TPU compiler for devices that are described and not there. It says
whether a step fits, what it sends, and a time below which no step can be. It says nothing about how fast a step is, and
nothing here was run: a roofline takes each chip at its peak and all of its work at once.

- A cell: memory of a device, the roofline's least time of a step, and what limits it (compute, hbm, ici between chips,
  dcn between slices). "too large": what the compiler asked for.
- v5e and v6e are named by chips, v5p and tpu7x by TensorCores, of which a chip has two: v5p-512 is 4x8x8 = 256 chips,
  and tpu7x-128 is 4x4x4 = 64 chips, in each of which JAX sees two devices. "4 x v5e-256" is one program on four slices.
- A batch that does not divide over the devices is made larger, an `fsdp` above their number smaller; see the notes
  below. Configs with `mesh.data=1` stay on one device, however many there are.
- FLOPs are those of matrix products and convolutions, from the step's jaxpr, loops multiplied and recomputation
  included. HBM traffic is that of the scheduled program: what each operation reads and writes, loops multiplied,
  without arrays that stay in the chip's own memory. Collectives are counted in that program too, loops multiplied.
- Peak FLOP/s are those of bfloat16, at which float32 products run too by default; for trees those of 8-bit integers.
- Chips' figures and their sources are in `research/aot/topologies.py`. What is sent goes along a ring, at the speed of
  all of a chip's links.

"""
SCALING = """## {name} from 8 to 6144 chips, on paper

v5p, {examples} images a chip, so that the batch grows with the chips; weights split over at most {fsdp}. Communication
is a step's and a device's. The last column is the roofline's efficiency: the share of the peak FLOP/s that is left if
all is overlapped.

"""


def page(cells, names, pods):
    """docs/aot.md: the overview of all configs, those for pods in detail, the scaling on paper, and the notes."""
    found = next((cell["versions"] for cell in cells.values() if "versions" in cell), {})
    parts = [HEAD.format(versions=" and ".join(f"{name} {x}" for name, x in found.items())), overview(cells, names)]
    keys = {f"{name}, {sold}": f"{name} | {sold}" for name in pods for sold in topologies.SOLD}
    parts += ["\n\n## Those that are meant for pods\n\n", detailed(cells, keys)]
    chips = {f"v5p:{shape}": f"{table.SCALED} | scaling | v5p:{shape}" for shape in table.SHAPES}
    fsdp = max((cells[key]["mesh"]["fsdp"] for key in chips.values() if "mesh" in cells.get(key, {})), default=1)
    parts += ["\n\n", SCALING.format(name=table.SCALED, examples=table.EXAMPLES, fsdp=fsdp), detailed(cells, chips)]
    notes = sorted({f"- {key.replace(' | ', ', ')}: {cell['note']}" for key, cell in cells.items() if cell.get("note")})
    return "".join([*parts, "\n\n## Notes\n\n", "\n".join(notes), "\n"])


def overview(cells, names):
    """A table in Markdown: a row for each config, a column for each topology."""
    titles = list(topologies.SOLD)
    lines = ["| config | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for name in names:
        found = [_brief(cells.get(f"{name} | {title}")) for title in titles]
        lines.append(f"| {name} | " + " | ".join(found) + " |")
    return "\n".join(lines)


def _brief(cell):
    """A cell of the table: bytes a device, and the least time of a step with what limits it."""
    if cell is None:
        return "not run"
    if "error" in cell:
        total = (cell.get("bytes_per_device") or {}).get("total")
        return f"**too large**: {total / report.GIB:.1f} GiB" if total else f"fails: {cell['error']}"
    bound = cell["roofline_bound"]
    single = ", 1 device" if cell["devices"] == 1 else ""
    return f"{report.size(cell['bytes_per_device']['total'])}, {_ms(bound['seconds'])} {bound['limit']}{single}"


def detailed(cells, keys):
    """A table in Markdown with a row for each of the cells: memory, what is sent, intensity and the roofline."""
    titles = ("devices", "mesh", "rows", "state", "temporaries", "total", "payload of collectives", "FLOPs / byte")
    titles += ("compute", "HBM", "ICI", "DCN", "at most of peak")
    lines = ["| | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for label, key in keys.items():
        cell = cells.get(key)
        if not (cell and cell.get("fits")):
            lines.append(f"| {label} | {_brief(cell)} |" + " |" * (len(titles) - 1))
            continue
        sizes, bound = cell["bytes_per_device"], cell["roofline_bound"]
        share = bound["efficiency"]
        row = [cell["devices"], "x".join(map(str, cell["mesh"].values())), f"{cell['rows']:,}"]
        row += map(report.size, (sum(cell["state_per_device"].values()), sizes["temporaries"], sizes["total"]))
        row += [_kinds(cell), f"{cell['arithmetic_intensity']:.0f}" if cell["arithmetic_intensity"] else ""]
        row += [_ms(bound[f"{name}_seconds"]) for name in ("compute", "hbm", "ici", "dcn")]
        row.append(f"{100 * share:.0f} %" if share else "")
        lines.append(f"| {label} | " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


def _kinds(cell):
    found = [f"{kind} {report.size(x['bytes'])}" for kind, x in cell["collectives"].items() if x["bytes"] > 1e6]
    return ", ".join(found) or "less than 1 MB"


def _ms(seconds):
    return f"{1e3 * seconds:.3g} ms"
