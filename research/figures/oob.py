"""The error of a random forest by its number of trees: out of bag, from training rows alone, and on held-out rows."""

import json

from research.errors import UserError
from research.figures import canvas


def load(workdirs):
    """{run: {"oob" or "test": {"trees": [int], "value": [number]}}} of runs of random forests: the share of wrong
    classes, or the mean squared error. Raises UserError for a workdir without numbers of them.
    """
    return {path.name: _curves(path) for path in workdirs}


def _curves(path):
    try:
        rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        block = next(row["trees"] // row["step"] for row in rows if "oob_error" in row)
    except (OSError, ValueError, StopIteration):
        make = f"train one with launch.run --config=configs/random_forest_digits.py --workdir={path}"
        raise UserError(f"{path} holds no out-of-bag errors of a random forest; {make}.") from None
    found = {"oob": [(row["trees"], row["oob_error"]) for row in rows if "oob_error" in row]}
    tested = [row for row in rows if "eval/loss" in row]
    found["test"] = [(row["step"] * block, row.get("eval/mse", 1 - row.get("eval/accuracy", 0))) for row in tested]
    return {kind: dict(zip(("trees", "value"), map(list, zip(*points)))) for kind, points in found.items() if points}


def draw(points):
    """A matplotlib Figure: dashed lines are out-of-bag errors, whole ones those on held-out rows; a colour is a run."""
    figure = canvas.figure(6.5, 4.5)
    axis = figure.subplots()
    for i, (run, curves) in enumerate(points.items()):
        for kind, style, words in (("oob", "--", "out of bag"), ("test", "-", "held out")):
            if kind in curves:
                axis.plot(*curves[kind].values(), style, color=f"C{i % 10}", label=f"{run}, {words}")
    axis.set(xlabel="trees", ylabel="error")
    axis.grid(alpha=0.3)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure
