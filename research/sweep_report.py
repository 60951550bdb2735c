"""What the trials of a sweep reached: a row a trial, and means over seeds. Read from sweep.json and the workdirs."""

import contextlib
import csv
import io
import itertools
import json
import math
import operator
import re
import statistics

from scipy import stats

from research import halving, reflow, results, workdir
from research.errors import UserError, nearest
from research.metrics_writer import read

COMPARE = {">=": operator.ge, "<=": operator.le, "!=": operator.ne, "==": operator.eq}
COMPARE |= {">": operator.gt, "<": operator.lt, "=": operator.eq}


def record(path, trials):
    """Adds {trial: overrides} to sweep.json of a sweep's folder."""
    file = path / "sweep.json"
    known = json.loads(file.read_text())["trials"] if file.exists() else {}
    workdir.write_json(file, {"trials": known | trials})


def load(path, metric=None, where=()):
    """{"metric", "best": a trial, "fields": swept ones, "trials": [row], "over_seeds": [row]} of a sweep's folder.

    A row of trials, in the order of the fields' values: trial, state, step, the swept fields, the metric's last number,
    its best one along the run, and the headline of its evaluation. A row of over_seeds: fields but seeds, count, mean,
    and the half width of the 95 % t interval (None of one). metric: the first headline by default. where: conditions
    such as "model.depth>=4", on fields and metrics. Raises UserError for a folder that is no sweep's, an unknown field
    or metric, or no trial left.
    """
    if not (path / "sweep.json").exists():
        raise UserError(f"{path} holds no sweep (no sweep.json); start one with launch.sweep --workdir={path}.")
    trials = json.loads((path / "sweep.json").read_text())["trials"]
    fields = list(dict.fromkeys(itertools.chain(*trials.values())))
    stopped = {name: rung["step"] for rung in halving.load(path)["rungs"] for name in rung["stopped"]}
    order = sorted(trials, key=lambda name: [_sortable(trials[name].get(field)) for field in fields])
    rows = [_row(path / name, name, fields, stopped.get(name)) for name in order]
    metric = metric or next((name for row in rows for name in row["metrics"]), "loss")
    known = sorted({name for row in rows for name in (*row["metrics"], *row["curves"])})
    if metric not in known and any(row["curves"] for row in rows):
        raise UserError(f"no trial has the metric '{metric}'; {nearest(metric, known)}")
    rows = [row for row in rows if all(_holds(condition, row) for condition in where)]
    if not rows:
        raise UserError(f"no trial of {path} fulfils {' and '.join(where)}; loosen a --where.")
    table = [_flat(row, metric) for row in rows]
    done = [row for row in table if row[metric] is not None]
    best = min(done, key=lambda row: halving.cost(metric, row[metric]))["trial"] if done else None
    return {
        "metric": metric,
        "best": best,
        "fields": fields,
        "trials": table,
        "over_seeds": _over_seeds(done, [x for x in fields if x.split(".")[-1] != "seed"], metric),
    }


def _sortable(value):
    """What orders the values of a field: numbers as such, before all else as text."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return not number, value if number else 0, str(value)


def text(report):
    """The report as lines: trials, then means over seeds where seeds are swept."""
    lines = aligned(report["trials"])
    if any(row["count"] > 1 for row in report["over_seeds"]):
        lines += ["", f"{report['metric']} over seeds, 95 % t intervals:", *aligned(report["over_seeds"])]
    return "\n".join([*lines, f"best {report['metric']}: {report['best']}"])


def as_csv(report):
    """The rows of trials as CSV with a header."""
    file, rows = io.StringIO(), report["trials"]
    writer = csv.DictWriter(file, list(dict.fromkeys(itertools.chain(*rows))), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def result_of(path, fields):
    """The folder with the result of the trial at `path`: where fields of reflow are swept, that of its last round."""
    if not any(field.startswith("reflow.") for field in fields):
        return path
    return reflow.last(path, json.loads((path / "frozen.json").read_text())["reflow"])


def _row(path, name, fields, stopped_at):
    """All that is known of a trial; "all": its config and last numbers, to filter by."""
    curves, last = {}, result_of(path, fields)
    for line in read(last / "metrics.jsonl"):
        for key, value in line.items():
            curves.setdefault(key, []).append((line["step"], value))
    config = workdir.flatten(json.loads((path / "frozen.json").read_text())) if (path / "frozen.json").exists() else {}
    evaluation = workdir.load_evaluation(last) or {}
    step = curves.pop("step", [(0, 0)])[-1][0]
    begun = step or (path / "metrics.jsonl").exists()
    state = "finished" if evaluation else f"stopped at {stopped_at}" if stopped_at else "begun" if begun else "to do"
    return {
        "trial": name,
        "state": state,
        "step": step,
        "swept": {field: config.get(field) for field in fields},
        "metrics": results.headline(evaluation),
        "curves": curves,
        "all": config | {k: _finite(v[-1][1]) for k, v in curves.items()} | evaluation,
    }


def _flat(row, metric):
    curve = [(step, x) for step, x in row["curves"].get(metric, []) if _finite(x) is not None]
    last = row["all"].get(metric)
    best = min(curve, key=lambda point: halving.cost(metric, point[1]))[1] if curve else last
    head = {key: row[key] for key in ("trial", "state", "step")}
    return head | row["swept"] | {metric: _finite(last), "best": _finite(best)} | row["metrics"]


def _finite(x):
    return x if isinstance(x, int | float) and math.isfinite(x) else None


def _holds(condition, row):
    """Whether a row fulfils a condition such as "optimizer.learning_rate>1e-4"; a number it has not yet does not."""
    found = re.fullmatch(r"([\w./]+)\s*(>=|<=|!=|==|>|<|=)\s*(.+)", condition)
    if not found:
        raise UserError(f"--where={condition} is no condition; write one such as 'optimizer.learning_rate>1e-4'.")
    field, compare, value = found.groups()
    if field not in row["all"] and (row["state"] == "finished" or "." in field):
        raise UserError(f"--where={condition}: no trial has '{field}'; {nearest(field, row['all'])}")
    with contextlib.suppress(ValueError):  # a word stays one
        value = json.loads(value)
    try:
        return COMPARE[compare](row["all"][field], value)
    except (KeyError, TypeError):
        return False


def _over_seeds(rows, fields, metric):
    groups = {}
    for row in rows:
        groups.setdefault(tuple((field, _hashable(row[field])) for field in fields), []).append(row[metric])
    found = []
    for key, values in groups.items():
        n, width = len(values), None
        if n > 1:
            width = float(stats.t.ppf(0.975, n - 1) * statistics.stdev(values) / n**0.5)
        found.append({**dict(key), "count": n, "mean": statistics.fmean(values), "interval": width})
    return sorted(found, key=lambda row: halving.cost(metric, row["mean"]))


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value


def aligned(rows):
    """Rows of dicts as lines in columns under a header."""
    names = list(dict.fromkeys(itertools.chain(*rows)))
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]


def _cell(value):
    return "-" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
