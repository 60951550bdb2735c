"""Losses by the number of trees, on the training rows and on held-out ones: where more trees no longer help."""

import json

from research.errors import UserError
from research.figures import canvas

MEASURES = {"loss": "loss", "eval/loss": "loss", "eval/mse": "MSE", "eval/accuracy": "accuracy"}  # "eval": held out


def load(workdirs):
    """{run: {measure: {"trees": [int], "value": [number]}}} of runs of trees; measures are those of MEASURES it has.

    Raises UserError for a workdir without numbers of trees.
    """
    return {path.name: _curves(path) for path in workdirs}


def _curves(path):
    try:
        rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        block = next(row["trees"] // row["step"] for row in rows if "trees" in row)
    except (OSError, ValueError, StopIteration):
        make = f"train one with launch.run --workdir={path}"
        raise UserError(f"{path} holds no numbers of a run of trees; {make}.") from None
    curves = {}
    for measure in MEASURES:
        points = [(row["step"] * block, row[measure]) for row in rows if measure in row]
        if points:
            curves[measure] = dict(zip(("trees", "value"), map(list, zip(*points))))
    return curves


def draw(points):
    """A matplotlib Figure: the loss at the left, with a dot where the held-out one is least; MSE or accuracy beside."""
    beside = [name for name in ("eval/mse", "eval/accuracy") if any(name in curves for curves in points.values())]
    figure = canvas.figure(5 * (1 + len(beside)), 4.5)
    axes = figure.subplots(1, 1 + len(beside), squeeze=False)[0]
    for axis, measures in zip(axes, [("loss", "eval/loss"), *((name,) for name in beside)]):
        for i, (run, curves) in enumerate(points.items()):
            for measure in [name for name in measures if name in curves]:
                trees, value = curves[measure].values()
                style = "--" if measure == "loss" else "-"
                label = f"{run}, training rows" if measure == "loss" else f"{run}, held out"
                axis.plot(trees, value, style, color=f"C{i % 10}", label=label)
                if measure == "eval/loss":
                    axis.plot(*min(zip(trees, value), key=lambda point: point[1]), "o", color=f"C{i % 10}")
        axis.set(xlabel="trees", ylabel=MEASURES[measures[0]])
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure
