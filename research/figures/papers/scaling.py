"""Memory, communication and the roofline's efficiency of a DiT-XL against chips, as the TPU compiler has them."""

import itertools
import json
import pathlib

import research
from research.errors import UserError
from research.figures import canvas
from research.reproduce import verdict

TITLE = "A DiT-XL from 4 to 6144 chips, on paper"
SOURCE = "docs/aot.md, steps compiled for TPUs that are described; Rajbhandari et al. 2020 (ZeRO), stage 3"
MINUTES, FULL = 0.1, None
FILE = pathlib.Path(research.__file__).parent.parent / "docs" / "aot.json"
NAME = "rectified_flow_imagenet64_dit"
WEAK = f"{NAME} | scaling | "  # and the topology; 16 images a chip
STRONG = tuple(f"{NAME} | {sold}" for sold in ("v5e-4", "v5e-256", "4 x v5e-256"))  # one batch of 1024 images
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
MARKERS, GIB = "osD^v", 2**30


def runs(scale):
    """Nothing is trained."""
    return {}


def load(workdirs, scale):
    """{"weak", "strong": {"chips", "fits", "state", "total", ...}} of docs/aot.json, bytes of a chip.

    Raises UserError where that file is absent or holds no such cells.
    """
    again = f"python -m launch.aot --all makes {FILE} anew"
    try:
        cells = json.loads(FILE.read_text())
    except FileNotFoundError:
        raise UserError(f"{FILE} is not there, and the figure is drawn from it; {again}.") from None
    weak = sorted((cell for name, cell in cells.items() if name.startswith(WEAK)), key=lambda cell: cell["devices"])
    strong = [cells[name] for name in STRONG if name in cells]
    if len(weak) < 2 or len(strong) < len(STRONG) or not all(cell["fits"] for cell in weak):
        raise UserError(f"{FILE} lacks steps of {NAME}; {again}.")
    return {"weak": columns(weak), "strong": columns(strong)}


def columns(cells):
    """{column: a value for each cell}; what is not known of a step that does not fit is None."""
    bounds = [cell.get("roofline_bound") or {} for cell in cells]
    return {
        "chips": [cell["devices"] for cell in cells],
        "fsdp": [cell["mesh"]["fsdp"] for cell in cells],
        "fits": [cell["fits"] for cell in cells],
        "hbm": [cell["hbm_per_device"] for cell in cells],
        "state": [sum(cell["state_per_device"].values()) for cell in cells],
        "total": [cell["bytes_per_device"]["total"] for cell in cells],
        "sent": [cell.get("sent_per_device") for cell in cells],
        "collectives": [{kind: x["bytes"] for kind, x in (cell["collectives"] or {}).items()} for cell in cells],
        "efficiency": [bound.get("efficiency") for bound in bounds],
        "limit": [bound.get("limit") for bound in bounds],
    }


def rows(points):
    """What is split in halves takes half, exactly; the others are claims on how a step scales."""
    weak, strong = points["weak"], points["strong"]
    halved = strong["state"][0] / strong["state"][1]
    shares = strong["fsdp"][1] / strong["fsdp"][0]
    totals = strong["total"]
    flat, sent, least = (
        max(weak["total"]) / min(weak["total"]),
        weak["sent"][-1] / weak["sent"][0],
        min(weak["efficiency"]),
    )
    reach = f"from {weak['chips'][0]} to {weak['chips'][-1]} chips, 16 images each"
    return [
        verdict.number(
            f"state of a chip, split over {strong['fsdp'][0]} over that of {strong['fsdp'][1]}", shares, halved, 0.01
        ),
        verdict.trend(
            f"memory of a chip at one batch, {strong['chips'][-1]} over {strong['chips'][0]} chips",
            "falls with chips",
            totals[-1] / totals[0],
            all(b < a for a, b in itertools.pairwise(totals)),
        ),
        verdict.trend(f"memory of a chip, most over least, {reach}", "stays flat, within a quarter", flat, flat < 1.25),
        verdict.trend(f"bytes that a chip sends, last over first, {reach}", "less than double", sent, sent < 2),
        verdict.trend(f"least efficiency by the roofline, {reach}", "over 80 % of peak", least, least > 0.8),
    ]


def draw(points):
    """A matplotlib Figure: memory, collectives and efficiency against chips; all is compiled, and nothing was run."""
    weak, strong = points["weak"], points["strong"]
    figure = canvas.figure(15, 4.8)
    memory, sent, share = figure.subplots(1, 3)
    lines = {
        "total, 16 images a chip (v5p)": (weak["chips"], weak["total"]),
        "state of these": (weak["chips"], weak["state"]),
        "total, 1024 images in all (v5e)": (strong["chips"], strong["total"]),
    }
    for (label, (x, y)), colour, marker in zip(lines.items(), COLOURS, MARKERS):
        memory.loglog(x, [each / GIB for each in y], marker=marker, color=colour, label=label)
    for chips, total, fits in zip(strong["chips"], strong["total"], strong["fits"]):
        if not fits:
            memory.annotate("does not fit", (chips, total / GIB), (8, -3), textcoords="offset points", fontsize=8)
    for cells, colour, name in ((weak, "#000000", "v5p"), (strong, "#E69F00", "v5e")):
        memory.axhline(cells["hbm"][0] / GIB, color=colour, linestyle=":", label=f"HBM of a {name} chip")
    memory.set(ylabel="memory of a chip (GiB)", title="memory", ylim=(1, 1000))
    memory.yaxis.set_major_formatter("{x:g}")
    kinds = sorted({kind for cell in weak["collectives"] for kind, size in cell.items() if size > 1e7})
    for kind, colour, marker in zip(kinds, COLOURS, MARKERS):
        y = [cell.get(kind, 0) / GIB or None for cell in weak["collectives"]]
        sent.semilogx(weak["chips"], y, marker=marker, color=colour, label=f"{kind}, payload")
    sent.semilogx(weak["chips"], [each / GIB for each in weak["sent"]], "k*--", label="sent, all of them")
    sent.set(ylabel="a step and chip (GiB)", title="communication, 16 images a chip (v5p)", ylim=(0, None))
    share.semilogx(
        weak["chips"],
        [100 * each for each in weak["efficiency"]],
        "o-",
        color=COLOURS[0],
        label="v5p, 16 images a chip",
    )
    share.axhline(80, color="0.4", linestyle="--", label="80 %")
    share.set(ylabel="share of peak FLOP/s (%)", title="efficiency at most, by the roofline", ylim=(0, 100))
    for axis in (memory, sent, share):
        axis.set(xlabel="chips")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="lower left" if axis is share else "best")
    return figure
