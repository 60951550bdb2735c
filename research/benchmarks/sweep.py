"""A sweep of 32 trials as one program beside the same trials as commands of their own, and in one process that compiles
each anew. All are whole runs: data, training, checkpoints, samples or predictions, evaluation.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import jax

from research import benchmarks

ONLY, TRIALS = "SWEEP_ROWS", 32
QUICK = {"TRIALS": 8, ONLY: "trees"}
ROWS = {  # name: (config, field of a rate, values, changes)
    "toy2d": (
        "rectified_flow_toy2d",
        *("optimizer.learning_rate", (3e-4, 6e-4, 1e-3, 2e-3, 3e-3, 6e-3, 1e-2, 2e-2)),
        {"train.num_steps": 200, "train.eval_every": 0, "data.batch_size": 128, "sampler.num_samples": 1000}
        | {"sampler.rtol": 1e-3, "sampler.atol": 1e-3},
    ),
    "trees": (
        "gbdt_oblivious_california",
        *("model.learning_rate", (0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3)),
        {"train.num_steps": 20, "train.eval_every": 0, "model.num_trees": 200, "data.name": "friedman"},
    ),
}
FILE = """from configs import {config}


def get_config(arg=""):
    config = {config}.get_config(arg)
    config.update_from_flattened_dict({changes})
    return config


def sweep_all():
    for rate in {rates}:
        for seed in range({seeds}):
            yield {{"{field}": rate, "seed": seed}}
"""
ANEW = """import pathlib, sys
from launch import run
from research import sweep
module = sweep.load_module(sys.argv[1])
for name, config in sweep.trials(module, "all", module.get_config()):
    run.train(config, pathlib.Path(sys.argv[2]) / name)
"""


def contestants(file, field, rates):
    """{name: function of a folder -> the command lines, one after another, that run all trials there}."""
    config, seeds = f"--config={file}", TRIALS // len(rates)

    def sweep(folder, *more):
        return [["-m", "launch.sweep", config, "--sweep=all", f"--workdir={folder}", *more]]

    def each(folder):
        pairs = [(rate, seed) for rate in rates for seed in range(seeds)]
        options = [[f"--config.{field}={rate}", f"--config.seed={seed}"] for rate, seed in pairs]
        return [["-m", "launch.run", config, f"--workdir={folder}/{i}", *x] for i, x in enumerate(options)]

    return {
        "one_program": lambda folder: sweep(folder, "--backend=one_program"),
        "one_process": lambda folder: [["-c", ANEW, str(file), str(folder)]],
        "separate": each,
        "separate, two at once": lambda folder: sweep(folder, "--backend=local", "--parallel=2"),
    }


def seconds(commands):
    """Wall seconds of Python commands, one after another. Raises CalledProcessError where one fails."""
    begin = time.perf_counter()
    for command in commands:
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - begin


def row(config, field, rates, changes):
    """{contestant: seconds, how many times as long as one program}."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "experiment.py")
        text = FILE.format(config=config, changes=changes, rates=rates, seeds=TRIALS // len(rates), field=field)
        file.write_text(text)
        ways = contestants(file, field, rates)
        found = {name: seconds(make(pathlib.Path(folder, name))) for name, make in ways.items()}
    times = {f"{name} over one_program": s / found["one_program"] for name, s in found.items() if name != "one_program"}
    return {"trials": TRIALS, "changes": changes, "seconds": found, **times}


def main():
    """A dict: seconds of each way, and ratios to the sweep as one program."""
    about = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "load": os.getloadavg()[0]}
    return about | {name: row(*ROWS[name]) for name in benchmarks.picked(ONLY, ROWS)}
