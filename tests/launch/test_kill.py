"""launch.run stopped from outside: by SIGTERM, by Ctrl-C, and by SIGKILL at any moment."""

import os
import pathlib
import signal
import time

import numpy as np
import pytest

from tests.processes import start

TOY = "--config=configs/rectified_flow_toy2d.py:tiny"
LONG = [TOY, "--config.train.num_steps=100000", "--config.train.eval_every=0"]
SHORT = [
    TOY,
    *("--config.train.num_steps=600", "--config.train.checkpoint_every=10", "--config.train.eval_every=50"),
    *("--config.sampler.name=euler", "--config.sampler.num_samples=8"),
]


def wait_for(condition, process, seconds=120.0):
    """True once condition() holds, False where the process ends first."""
    end = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.001)
    return False


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_run_me_again(tmp_path, number, status):
    metrics = tmp_path / "run" / "metrics.jsonl"
    process = start("run", *LONG, f"--workdir={tmp_path}/run", folder=tmp_path)
    assert wait_for(lambda: metrics.exists() and metrics.stat().st_size > 1000, process)
    os.kill(process.pid, number)
    process.join(60)
    said = (tmp_path / "stderr").read_text().strip().splitlines()[-1]
    assert process.exitcode == status and said.startswith("preempted at step ")
    step = said.split()[3].rstrip(";")
    assert step in os.listdir(tmp_path / "run" / "checkpoints")
    assert not (tmp_path / "run" / "samples.npz").exists()


def test_a_signal_while_a_trained_run_is_evaluated_says_run_me_again(tmp_path):
    process = start("run", *SHORT, "--config.train.num_steps=20", f"--workdir={tmp_path}/run", folder=tmp_path)
    assert wait_for((tmp_path / "run" / "params.npz").exists, process)
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    said = (tmp_path / "stderr").read_text().strip().splitlines()[-1]
    assert process.exitcode == 75 and said.startswith("stopped by SIGTERM; the same command goes on"), said


def finish(workdir, folder):
    process = start("run", *SHORT, f"--workdir={workdir}", folder=folder)
    process.join(240)
    assert process.exitcode == 0, (folder / "stderr").read_text()
    with np.load(workdir / "params.npz") as params, np.load(workdir / "samples.npz") as samples:
        return {**params, "x": samples["x"], "metrics": (workdir / "metrics.jsonl").read_text()}


def same(a, b):
    return set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_and_one_in_a_checkpoint(tmp_path):
    """Five runs, killed four times each, and one killed in a write: all end with the bits of the run nobody stopped."""
    whole, rng, kills, mid_write = finish(tmp_path / "whole", tmp_path), np.random.default_rng(0), 0, 0
    for trial in range(6):
        workdir = tmp_path / f"trial{trial}"
        for _ in range(4 if trial < 5 else 1):
            process = start("run", *SHORT, f"--workdir={workdir}", folder=tmp_path)
            if trial == 5:
                mid_write += wait_for(lambda: list(pathlib.Path(workdir).glob("checkpoints/*tmp*")), process)  # noqa: B023
            else:
                process.join(float(rng.uniform(0.3, 6.0)))
            kills += process.is_alive()
            process.kill()
            process.join()
        assert same(finish(workdir, tmp_path), whole), trial
    assert mid_write == 1 and kills >= 18  # a run that had ended before its kill is none
