"""What is told of a step that was compiled for a topology: a dict of JSON, and the same as text."""

import importlib.metadata
import re

from research.aot import collectives, hlo, roofline, step, traffic
from research.errors import UserError

GIB = 2**30
UNKNOWN = ("collectives", "compile_seconds")  # of a step that does not fit


class TooLarge(UserError):
    """A sentence about HBM that is too small; `report` is what is known all the same."""

    def __init__(self, sentence, report):
        super().__init__(sentence)
        self.report = report


def make(config, topology, lowered):
    """(the report, the executable) of a step.Lowered.

    Bytes are those of one device. Raises TooLarge where HBM is too small; UserError for VMEM, and for what the compiler
    does not take.
    """
    report = known(config, topology, lowered)
    try:
        executable, seconds = step.compiled(lowered)
    except Exception as error:  # jax's own, which has no kinds
        raise mistake(error, report, topology) from None
    report |= {"fits": True, "compile_seconds": round(seconds, 2), "bytes_per_device": memory(executable)}
    return report | analysed(executable.as_text(), lowered, topology), executable


def known(config, topology, lowered):
    """The part of the report that needs no compiler."""
    chip, devices = topology.chip, lowered.mesh.size
    return {
        "model": config.model.name,
        "what": lowered.what,
        "topology": topology.name,
        "num_slices": topology.slices,
        "devices": devices,
        "mesh": dict(lowered.mesh.shape),
        "rows": lowered.rows,
        "note": lowered.note,
        "flops": lowered.flops,
        "hbm_per_device": chip.hbm_bytes // chip.cores,
        "state_per_device": lowered.state,
        "versions": versions(),
    }


def versions():
    """{name: version} of what compiles."""
    return {name: importlib.metadata.version(name) for name in ("jax", "libtpu")}


def memory(executable):
    """{kind: bytes} of a device; the total counts what the results take over from the arguments once."""
    found = executable.memory_analysis()
    kinds = {"arguments": "argument", "results": "output", "reused": "alias", "temporaries": "temp"}
    sizes = {name: getattr(found, f"{kind}_size_in_bytes") for name, kind in kinds.items()}
    sizes["code"] = found.generated_code_size_in_bytes
    return sizes | {"total": sum(sizes.values()) - 2 * sizes["reused"]}


def analysed(text, lowered, topology):
    """Collectives, traffic and the roofline, from the compiled program's text."""
    computations, entry = hlo.parse(text)
    runs, unknown = hlo.runs(computations, entry)
    found = collectives.find(computations, runs, lowered.mesh.size, topology.slices)
    moved, flops = traffic.hbm_bytes(computations, runs), lowered.flops
    bound = roofline.bound(flops, moved, found, topology.chip, lowered.mesh.size, eight_bits=lowered.x64)
    return {
        "collectives": collectives.by_kind(found),
        "sent_per_device": round(sum(one.sent for one in found)),
        "hbm_traffic_per_device": moved,
        "arithmetic_intensity": flops / lowered.mesh.size / moved if flops and moved else None,
        "roofline_bound": bound,
        "loops_of_unknown_length": unknown,
    }


def mistake(error, report, topology):
    """The UserError that an error of the compiler becomes."""
    text, where = str(error), f"{topology.name}" + (f" x {topology.slices} slices" if topology.slices > 1 else "")
    if "RESOURCE_EXHAUSTED" not in text:
        return UserError(f"the compiler for {where} says: {text.splitlines()[0]}")
    if fusion := re.search(r"stack for %?([\w.-]+).*?size ([\d.]+)M and limit ([\d.]+)M", text, re.DOTALL):
        name, asked, most = fusion.groups()
        return UserError(
            f"{name}, which the compiler made itself, takes {asked} MiB of VMEM, and a chip of {where} has {most} for "
            "it: change the sizes that it comes of (rows, borders, levels or block of trees), or take another chip."
        )
    if "vmem" in text.lower():
        asked = [int(size) for size in re.findall(r"size=(\d+)", text)]
        sizes = f": {asked[0] / 2**20:.0f} MiB of {asked[1] / 2**20:.0f}" if len(asked) > 1 else ""
        kernel = text.rsplit(":: ", 1)[-1].strip()
        return UserError(
            f"a kernel ({kernel}) takes more VMEM than a chip of {where} has{sizes}; give it smaller blocks, or a grid "
            "with more of them."
        )
    sizes = [float(size) for size in re.findall(r"\(([\d.]+)G\)", text)]
    state = sum(report["state_per_device"].values())
    asked = round(sizes[0] * GIB) if sizes else None
    report = report | {"fits": False, "bytes_per_device": {"total": asked}} | dict.fromkeys(UNKNOWN)
    needs = f"{sizes[0]:.2f} GiB of HBM a device and {sizes[1]:.2f} are there" if len(sizes) == 2 else text[:200]
    state_size = f"{state / GIB:.2f} for the state"
    return TooLarge(f"a step on {where} needs {needs}, {state_size}: {advice(report, state)}", report)


def advice(report, state):
    """What to change so that it fits."""
    if report["what"] == "boosting":
        return "take more devices, or fewer rows, borders or levels."
    if report["what"] == "sample":
        return "lower sampler.num_samples, or take more devices."
    split = f"--mesh=fsdp={min(2 * report['mesh']['fsdp'], report['devices'])} splits the weights further"
    if state > report["hbm_per_device"] / 2 and report["mesh"]["fsdp"] < report["devices"]:
        return f"{split}; or take more devices."
    less = "set net.remat=True (model.remat of flows) or optimizer.accumulate, lower data.batch_size"
    return f"{less}, or take more devices."


def text(report):
    """A page for a person; a roofline is a bound from below and says so."""
    slices = f", {report['num_slices']} slices" if report["num_slices"] > 1 else ""
    mesh, rows = " x ".join(f"{name} {size}" for name, size in report["mesh"].items()), f"{report['rows']:,}"
    lines = [f"{report['what']} of {report['model']} on {report['topology']}{slices}: mesh {mesh}, rows {rows}"]
    lines += [f"note: {report['note']}"] if report["note"] else []
    total, there = size(report["bytes_per_device"]["total"]), size(report["hbm_per_device"])
    lines.append(f"{'fits' if report['fits'] else 'DOES NOT FIT'}: {total} of {there} HBM a device")
    lines += [f"  {name}: {size(x)}" for name, x in report["bytes_per_device"].items() if name != "total"]
    lines += [f"  of the state, {name}: {size(x)}" for name, x in report["state_per_device"].items() if x >= 1000]
    if report["flops"] is not None:
        lines.append(f"FLOPs a step, in products, all devices: {report['flops']:.4g}")
    return "\n".join(lines + (_analysis(report) if report["fits"] else []))


def _analysis(report):
    """Lines on what a compiled step sends and moves, and on how fast it can be."""
    lines = ["collectives a step and device:"] if report["collectives"] else ["no collectives"]
    lines += [f"  {kind}: {x['count']} of {size(x['bytes'])} together" for kind, x in report["collectives"].items()]
    if report["arithmetic_intensity"]:
        lines.append(f"arithmetic intensity: {report['arithmetic_intensity']:.1f} FLOPs for a byte of HBM traffic")
    bound = report["roofline_bound"]
    times = ", ".join(f"{name} {1e3 * bound[f'{name}_seconds']:.3g}" for name in ("compute", "hbm", "ici", "dcn"))
    lines.append(f"roofline: no step takes less than {1e3 * bound['seconds']:.3g} ms, by {bound['limit']} ({times} ms)")
    if bound["efficiency"]:
        lines.append(f"  at most {100 * bound['efficiency']:.1f} % of the peak FLOP/s")
    if report["loops_of_unknown_length"]:
        lines.append(f"  {report['loops_of_unknown_length']} loops of unknown length are counted as running once")
    return [*lines, f"compiled in {report['compile_seconds']:.1f} s"]


def size(count):
    """Bytes as text."""
    if count is None:
        return "an unknown size"
    for unit, least in (("GiB", GIB), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= 0.95 * least:
            return f"{count / least:.1f} {unit}"
    return f"{count} bytes"
