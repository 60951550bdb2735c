"""Successive halving (Jamieson & Talwalkar 2016): the worse half of a sweep's trials stops at given steps.

What was stopped, when, and at what value is in halving.json of the sweep's folder.
"""

import json
import math

from research.errors import UserError
from research.metrics_writer import read
from research.workdir import write_json

HIGHER = ("accuracy", "mass")  # a metric with such an ending is good if large, every other one if small


def decide(path, names, metric, step):
    """Names of the trials that go on after `step`: the better half, by their last number; recorded in halving.json.

    path: of the sweep. A decision that was recorded before is kept. Raises UserError where no trial has the metric.
    """
    rungs = {rung["step"]: rung for rung in load(path)["rungs"]}
    if step not in rungs:
        values = {name: value(path / name, metric, step) for name in names}
        if not any(map(math.isfinite, values.values())):
            raise UserError(f"no trial has a finite number '{metric}' by step {step}; name another --metric.")
        ranked = sorted(names, key=lambda name: cost(metric, values[name]))  # ties: the first ones go on
        stopped = ranked[math.ceil(len(names) / 2) :]
        rungs[step] = {"step": step, "metric": metric, "values": values, "stopped": stopped}
        finite = {name: x if math.isfinite(x) else None for name, x in values.items()}
        write_json(path / "halving.json", {"rungs": [*load(path)["rungs"], rungs[step] | {"values": finite}]})
    return [name for name in names if name not in rungs[step]["stopped"]]


def load(path):
    """What halving.json of a sweep's folder holds: {"rungs": [{"step", "metric", "values", "stopped"}]}."""
    file = path / "halving.json"
    return json.loads(file.read_text()) if file.exists() else {"rungs": []}


def check(path, steps, metric):
    """Raises UserError for steps that are none, or that are not those that halving.json was begun with."""
    if list(steps) != sorted(set(steps)) or min(steps) < 1:
        raise UserError(f"--halving is {','.join(map(str, steps))}; it takes steps from 1 up, each beyond the last.")
    begun = [(rung["step"], rung["metric"]) for rung in load(path)["rungs"]]
    if begun != [(step, metric) for step in steps][: len(begun)]:
        raise UserError(f"{path} was halved by {begun[0][1]} at {[step for step, _ in begun]}; ask for the same again.")


def value(path, metric, step):
    """The last number of a trial's metric up to `step`; nan where there is none."""
    found = [line[metric] for line in read(path / "metrics.jsonl") if line["step"] <= step and metric in line]
    return found[-1] if found and found[-1] is not None else math.nan


def cost(metric, x):
    """A number to be small: x, or -x of a metric that is good if large; infinity where x is not finite."""
    return (-x if metric.endswith(HIGHER) else x) if math.isfinite(x) else math.inf
