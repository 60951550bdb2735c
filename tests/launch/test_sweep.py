"""Sweeps as one program, from the command line: the plan is said first, and only what is missing runs."""

import json
import shutil

import pytest

import launch.sweep
import research.sweep
from configs import gbdt_oblivious_california
from research import results
from research.errors import UserError
from tests.processes import call

FILE = """from configs.gbdt_oblivious_california import get_config


def sweep_rates():
    for depth in (2, 3):
        for rate in (0.1, 0.3):
            yield {"model.depth": depth, "model.learning_rate": rate}
"""
ROUNDS = """from configs.reflow_toy2d import get_config


def sweep_rounds():
    yield {"reflow.rounds": 1}
"""
NAMES = [f"depth={depth},learning_rate={rate}" for depth in (2, 3) for rate in (0.1, 0.3)]


@pytest.fixture
def arguments(tmp_path):
    file = tmp_path / "trees.py"
    file.write_text(FILE)
    return [f"--config={file}:tiny", f"--workdir={tmp_path}/all", "--sweep=rates", "--backend=one_program"]


def test_the_plan_is_said_first(arguments, tmp_path):
    done = call("sweep", *arguments, "--dry_run")
    assert done.returncode == 0 and not (tmp_path / "all").exists()
    assert done.stdout.splitlines() == [f"{tmp_path}/all/{name}" for name in NAMES]
    lines = done.stderr.splitlines()
    assert lines[0] == "4 trials in 2 programs:"
    assert lines[1:] == [
        f"  program {i + 1}: 2 trials of model.depth={depth}; numbers: model.learning_rate"
        for i, depth in enumerate((2, 3))
    ]


def test_every_trial_is_a_run_and_only_missing_ones_run_again(arguments, tmp_path):
    done = call("sweep", *arguments)
    assert done.returncode == 0, done.stderr
    said = {json.loads(line)["trial"]: json.loads(line)["loss"] for line in done.stdout.splitlines()}
    assert list(said) == NAMES and len(set(said.values())) == 4
    files = ["config.json", "metrics.jsonl", "params.npz", "evaluation.json", "predictions.npz"]
    assert all((tmp_path / "all" / name / file).exists() for name in NAMES for file in files)
    alone = ["--config.model.depth=3", "--config.model.learning_rate=0.3", f"--workdir={tmp_path}/all/{NAMES[3]}"]
    assert "is finished" in call("run", "--config=configs/gbdt_oblivious_california.py:tiny", *alone).stderr
    shutil.rmtree(tmp_path / "all" / NAMES[1])
    kept = [tmp_path / "all" / name / "metrics.jsonl" for name in NAMES if name != NAMES[1]]
    stamps = [file.stat().st_mtime_ns for file in kept]
    again = call("sweep", *arguments)
    found = {json.loads(line)["trial"]: json.loads(line)["loss"] for line in again.stdout.splitlines()}
    assert found == said
    assert [file.stat().st_mtime_ns for file in kept] == stamps


def test_a_trial_that_cannot_be_finished_fails_alone(tmp_path, monkeypatch):
    config, rate = gbdt_oblivious_california.get_config("tiny"), "model.learning_rate"
    (group,) = research.sweep.plan(config, [{rate: 0.1}, {rate: 0.3}])
    finish = results.finish

    def broken(built, params, path):
        if path.name == group.names[0]:
            raise UserError("it has no end.")
        return finish(built, params, path)

    monkeypatch.setattr(results, "finish", broken)
    found = dict(launch.sweep.by_group([group], tmp_path))
    assert str(found[group.names[0]]) == "it has no end." and found[group.names[1]]["loss"] > 0


def test_reflow_takes_another_backend(tmp_path):
    file = tmp_path / "rounds.py"
    file.write_text(ROUNDS)
    one = "--backend=one_program"
    done = call("sweep", f"--config={file}:tiny", f"--workdir={tmp_path}/all", "--sweep=rounds", one)
    assert done.returncode == 2 and "'rounds' runs launch.reflow for each trial; use --backend=local" in done.stderr
