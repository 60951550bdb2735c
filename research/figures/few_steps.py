"""What a flow gives for few steps, and how straight it is: rounds of reflow side by side (Liu et al. 2022)."""

import json
import math

from research.errors import UserError
from research.figures import canvas

MEASURES = {"sliced_wasserstein": "sliced W2", "frechet": "Frechet distance"}
COLUMNS = ("nfe", *(f"{measure}/{row}" for measure in MEASURES for row in ("ours", "floor")))
MORE = {"classifier/confident", "fid/ours"}  # of some images only
COSTS = {"E|x1-x0| / at random": ("cost_1", "independent_1"), "E|x1-x0|^2 / at random": ("cost_2", "independent_2")}
MOVED = ("straightness", "times", "curve", *sum(COSTS.values(), ()))
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)


def load(folders):
    """{name: {"rows": {label: {measure: number}}} and what transport.json tells, where it is} of {name: workdir}.

    Labels are steps, or "adaptive"; what was not finite is None. Raises UserError for a missing or damaged table.
    """
    return {name: {"rows": _rows(path)} | _transport(path / "transport.json") for name, path in folders.items()}


def _rows(path):
    try:
        rows = {row["trial"]: row for row in json.loads((path / "sweep_few_steps.json").read_text())["rows"]}
        ordered = [(label, rows[label]) for label in sorted(rows, key=_order)]
        return {label: {name: row[name] for name in (*COLUMNS, *(MORE & {*row}))} for label, row in ordered}
    except DAMAGE:
        make = f"remove what is there, and run python -m launch.evaluate --workdir={path} --few_steps"
        raise UserError(f"{path} has no sweep_few_steps.json, or a damaged one: {make}.") from None


def _order(label):
    return int(label) if label.isdigit() else math.inf


def _transport(file):
    try:
        return {name: json.loads(file.read_text())[name] for name in MOVED} if file.exists() else {}
    except DAMAGE:
        raise UserError(f"{file} is damaged; remove it, and launch.reflow measures again.") from None


def table(points):
    """Aligned text, a column a run: sliced W2 over its floor by steps, the floor, straightness and transport costs."""
    runs, lines = points.values(), {"sliced W2 / floor": points}
    for label in sorted(set().union(*(run["rows"] for run in runs)), key=_order):
        lines[f"{label} (nfe)" if label == "adaptive" else label] = [_multiple(run["rows"], label) for run in runs]
    lines["floor"] = [_text(next(iter(run["rows"].values()))["sliced_wasserstein/floor"]) for run in runs]
    lines["straightness S"] = [_text(run.get("straightness")) for run in runs]
    for name, both in COSTS.items():
        lines[name] = [" / ".join(_text(run[cost]) for cost in both) if both[0] in run else "-" for run in runs]
    columns = [[f"{name:{max(map(len, lines))}}" for name in lines], *zip(*lines.values())]
    wide = [max(map(len, column)) for column in columns]
    return "\n".join("   ".join(f"{cell:>{w}}" for cell, w in zip(row, wide)) for row in zip(*columns))


def _multiple(rows, label):
    if rows.get(label, {}).get("sliced_wasserstein/ours") is None:
        return "-"
    ours, floor = (rows[label][f"sliced_wasserstein/{name}"] for name in ("ours", "floor"))
    return f"{ours / max(floor, 1e-12):.2f}" + (f" ({_text(rows[label]['nfe'])})" if label == "adaptive" else "")


def _text(number):
    return "-" if number is None else f"{number:.4g}"


def draw(points):
    """A matplotlib Figure: both distances by evaluations, the straightness over time where it was measured."""
    curves = [(i, run) for i, run in enumerate(points.values()) if "curve" in run]
    figure = canvas.figure(14 if curves else 9.5, 5)
    axes = figure.subplots(1, 3 if curves else 2)
    for axis, (measure, title) in zip(axes, MEASURES.items()):
        for i, (name, run) in enumerate(points.items()):
            label = f"{name}, S = {_text(run['straightness'])}" if "straightness" in run else name
            fixed = len(run["rows"]) - ("adaptive" in run["rows"])  # which is the last
            x, y = ([row[column] for row in run["rows"].values()] for column in ("nfe", f"{measure}/ours"))
            axis.plot(x[:fixed], y[:fixed], "o-", color=f"C{i % 10}", label=label)
            axis.plot(x[fixed:], y[fixed:], "*", color=f"C{i % 10}", markersize=13)
        for floor in {row[f"{measure}/floor"] for run in points.values() for row in run["rows"].values()}:
            axis.axhline(floor, color="0.4", linestyle="--")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set(yscale="log", xlabel="evaluations of the net a sample", title=title)
    highest = sorted(max(run["curve"]) for _, run in curves)
    for i, run in curves:
        axes[2].plot(run["times"], run["curve"], color=f"C{i % 10}")
        axes[2].set_yscale("log" if highest[-1] > 10 * highest[0] else "linear")
        axes[2].set(xlabel="t, from data to noise", title="E|(x1-x0) - v(x_t, t)|$^2$, on average S")
    for axis in axes:
        axis.grid(alpha=0.3)
    names, title = axes[0].get_legend_handles_labels(), "dashed: the floor; star: an adaptive solver"
    figure.legend(*names, loc="outside lower center", ncols=4, title=title)
    return figure
