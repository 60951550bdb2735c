"""Sweeps from the command line: the plan is said first, only what is missing runs, the worse half may be stopped."""

import json
import shutil

import pytest

import launch.sweep
import research.sweep
from configs import gbdt_oblivious_california
from launch.backends import one_program
from research import one_program as training
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
    report = call("sweep", f"--workdir={tmp_path}/all", "--report", "--plot=", "--where=model.depth=2")
    assert report.returncode == 0 and (tmp_path / "all" / "report.png").stat().st_size > 5000
    lines = report.stdout.splitlines()
    assert lines[0].split()[:5] == ["trial", "state", "step", "model.depth", "model.learning_rate"]
    assert [line.split()[:3] for line in lines[1:3]] == [[name, "finished", "6"] for name in NAMES[:2]]
    nothing = call("sweep", f"--workdir={tmp_path}", "--report")
    assert nothing.returncode == 2 and "holds no sweep" in nothing.stderr


@pytest.fixture
def group():
    """Two trials of one program, where flags have their defaults."""
    if not launch.sweep.flags.FLAGS.is_parsed():
        launch.sweep.flags.FLAGS.mark_as_parsed()
    config, rate = gbdt_oblivious_california.get_config("tiny"), "model.learning_rate"
    return research.sweep.plan(config, [{rate: 0.1}, {rate: 0.3}])[0]


def test_a_trial_that_cannot_be_finished_fails_alone(group, tmp_path, monkeypatch):
    finish = results.finish

    def broken(built, params, path):
        if path.name == group.names[0]:
            raise UserError("it has no end.")
        return finish(built, params, path)

    monkeypatch.setattr(results, "finish", broken)
    found = dict(one_program.train(group, tmp_path))
    assert str(found[group.names[0]]) == "it has no end." and found[group.names[1]]["loss"] > 0


@pytest.mark.parametrize("failures", [1, 2])
def test_a_program_that_fails_is_tried_once_more(failures, group, tmp_path, monkeypatch):
    left = iter(range(failures))

    def run(*arguments):
        if next(left, None) is not None:
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory\nand a long story")
        return iter([(name, None, None) for name in group.names])

    monkeypatch.setattr(training, "run", run)
    found = dict(one_program.train(group, tmp_path))
    words = {1: "not finite", 2: "RuntimeError: RESOURCE_EXHAUSTED: out of memory"}[failures]
    assert list(found) == list(group.names) and all(words in str(error) for error in found.values())
    assert not any("story" in str(error) for error in found.values())


def test_half_of_the_trials_stop_at_each_step(arguments, tmp_path):
    done = call("sweep", *arguments, "--halving=2,4")
    assert done.returncode == 0, done.stderr
    rungs = json.loads((tmp_path / "all" / "halving.json").read_text())["rungs"]
    assert [(rung["step"], len(rung["values"]), len(rung["stopped"])) for rung in rungs] == [(2, 4, 2), (4, 2, 1)]
    for rung in rungs:
        worst = sorted(rung["values"], key=rung["values"].get)[-len(rung["stopped"]) :]
        assert sorted(rung["stopped"]) == sorted(worst)
        for name in rung["stopped"]:
            assert [p.name for p in (tmp_path / "all" / name / "checkpoints").iterdir()][-1:] == [str(rung["step"])]
    (last,) = [json.loads(line)["trial"] for line in done.stdout.splitlines()]
    assert last in set(NAMES) - {name for rung in rungs for name in rung["stopped"]}
    said = call("sweep", f"--workdir={tmp_path}/all", "--report", "--format=json", "--metric=eval/loss")
    states = {row["trial"]: row["state"] for row in json.loads(said.stdout)["trials"]}
    assert states[last] == "finished" and sorted(states.values()) == ["finished", *["stopped at 2"] * 2, "stopped at 4"]
    assert "the same again" in call("sweep", *arguments, "--halving=3").stderr


def test_a_halved_sweep_goes_on_and_leaves_those_that_stopped(arguments, tmp_path):
    """Asked to stop between the first half and the end, the same command goes on from the steps that are saved."""
    one = [*arguments, "--halving=2", "--config.train.checkpoint_every=1"]
    file = tmp_path / "trees.py"
    whole = call("sweep", *one)
    assert whole.returncode == 0, whole.stderr
    shutil.move(tmp_path / "all", tmp_path / "whole")
    stop = "import os, signal\nfrom research import one_program\nreal = one_program.checkpoint.save\n"
    stop += "def save(manager, step, *rest):\n    real(manager, step, *rest)\n"
    stop += "    step == 3 and os.kill(os.getpid(), signal.SIGTERM)\none_program.checkpoint.save = save\n"
    file.write_text(stop + FILE)
    assert call("sweep", *one).returncode == 75
    file.write_text(FILE)
    done = call("sweep", *one)
    assert done.returncode == 0 and "step 1/" not in done.stderr, done.stderr
    assert not list((tmp_path / "all").rglob("damaged_checkpoints"))
    assert done.stdout.splitlines() == whole.stdout.splitlines()


@pytest.mark.parametrize(
    "flag, words",
    [
        ("--halving=4,2", "steps from 1 up, each beyond the last"),
        ("--halving=half", "--halving=half must be steps such as 200,400"),
        ("--sweep=rate", "there is no sweep 'rate' in"),
        ("--backend=slurn", "slurn"),
        ("--until=3", "--until is of launch.run alone"),
        ("--backend=local --workdir=runs/12:30", "--workdir=runs/12:30 has a colon"),
    ],
)
def test_mistakes(flag, words, arguments):
    done = call("sweep", *arguments, *flag.split())
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


def test_reflow_takes_another_backend(tmp_path):
    file = tmp_path / "rounds.py"
    file.write_text(ROUNDS)
    one = "--backend=one_program"
    done = call("sweep", f"--config={file}:tiny", f"--workdir={tmp_path}/all", "--sweep=rounds", one)
    assert done.returncode == 2 and "runs launch.reflow for each trial; use --backend=local" in done.stderr
