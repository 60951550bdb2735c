"""Sampling and comparing samplers from the command line: options, shards that survive a kill, a table that goes on."""

import json
import os
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from configs import activations_mlp, rectified_flow_toy2d
from launch import sampler_flags
from research.errors import UserError
from tests.processes import call, start

TOY = "--config=configs/rectified_flow_toy2d.py:tiny"
SWEEP = """
def sweep_steps():
    for steps in (2, 3):
        yield {"sampler.name": "euler", "sampler.num_steps": steps}
    yield {"sampler.name": "heun", "sampler.num_steps": 2, "sampler.variable": "sigma"}


def sweep_hard():
    yield {"sampler.name": "diffrax", "sampler.max_steps": 1}
    yield {"sampler.name": "euler", "sampler.num_steps": 2}


def sweep_trained():
    yield {"sampler.num_steps": 3, "optimizer.learning_rate": 1e-3}


def sweep_late():
    yield {"sampler.num_steps": 3}
    yield {"sampler.name": "eulr"}


def sweep_text():
    yield {"sampler.num_steps": "ten"}


def sweep_twice():
    yield {"sampler.num_steps": 3}
    yield {"sampler.num_steps": 3}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The workdir of a finished tiny run."""
    workdir = tmp_path_factory.mktemp("runs") / "toy"
    done = call("run", TOY, "--config.sampler.name=euler", "--config.model.label_dropout=0.1", f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    file = tmp_path_factory.mktemp("configs") / "steps.py"
    file.write_text(SWEEP)
    return file


def load(path):
    with np.load(path) as archive:
        return dict(archive)


def test_many_samples_are_joined_and_no_shard_is_left(trained, tmp_path):
    options = "--option=variable=sigma", "--num_steps=3", "--guidance=2", "--condition=1"
    done = call("sample", f"--workdir={trained}", "--num_samples=2050", *options, f"--out={tmp_path}/many.npz")
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["many.npz", "many.png"] and "3/3" in done.stderr
    found = load(tmp_path / "many.npz")
    assert found["x"].shape == (2050, 2) and found["nfe"] == 6 and (found["condition"] == 1).all()
    assert len(np.unique(found["x"][:, 0])) == 2050


def test_evaluate_takes_the_samplers_flags(trained):
    done = call("evaluate", f"--workdir={trained}", "--num_samples=8", "--sampler=heun", "--num_steps=3")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["nfe"] == 6 and result["options"] == {"sampler": "heun", "num_steps": 3}


def test_a_sweep_of_samplers_goes_on_where_it_was(trained, sweeps):
    arguments = f"--workdir={trained}", f"--config={sweeps}", "--sweep=steps", "--num_samples=8"
    done = call("evaluate", *arguments)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    labels = ["name=euler,num_steps=2", "name=euler,num_steps=3", "name=heun,num_steps=2,variable=sigma"]
    assert [row["trial"] for row in rows] == labels and [row["nfe"] for row in rows] == [2, 3, 4]
    assert all(row["sliced_wasserstein/ours"] > 0 and row["frechet/ours"] > 0 for row in rows)
    assert all(label in done.stderr for label in labels) and "sliced W2" in done.stderr
    file = trained / "sweep_steps.json"
    kept = json.loads(file.read_text())
    assert [row["trial"] for row in kept["rows"]] == labels and "likelihood/nats" not in kept["rows"][0]
    lost = kept["rows"].pop()
    kept["rows"][0]["nfe"] = 77  # a row that is there is taken as it is
    file.write_text(json.dumps(kept))
    again = call("evaluate", *arguments)
    assert again.returncode == 0, again.stderr
    assert [json.loads(line)["nfe"] for line in again.stdout.splitlines()] == [77, 3, 4]
    assert json.loads(file.read_text())["rows"] == [*kept["rows"], lost]
    other = call("evaluate", *arguments[:3], "--num_samples=9")
    assert other.returncode == 2 and "has rows of num_samples 8, not 9" in other.stderr


def test_a_row_that_fails_does_not_stop_the_others(trained, sweeps):
    done = call("evaluate", f"--workdir={trained}", f"--config={sweeps}", "--sweep=hard", "--num_samples=8")
    assert done.returncode == 2 and "1 of 2 rows failed: name=diffrax,max_steps=1." in done.stderr.splitlines()[-1]
    assert "name=diffrax,max_steps=1: the samples are not finite" in done.stderr
    kept = json.loads((trained / "sweep_hard.json").read_text())
    assert [row["trial"] for row in kept["rows"]] == ["name=euler,num_steps=2"]
    assert len(done.stdout.splitlines()) == 1 and "Traceback" not in done.stderr


def test_a_fid_of_a_finished_run_and_of_a_table(tmp_path, sweeps):
    means = jax.jit(lambda x: x.astype(jnp.float32).mean((1, 2)))
    made = export.export(means)(jax.ShapeDtypeStruct((8, 4, 4, 1), np.uint8))
    (tmp_path / "means").write_bytes(made.serialize())
    images = "--config.data.name=synthetic", "--config.data.levels=256", "--config.data.shape=(4,4,1)"
    run = tmp_path / "run"
    done = call("run", TOY, *images, "--config.sampler.name=euler", f"--workdir={run}")
    assert done.returncode == 0, done.stderr
    assert "fid/ours" not in json.loads((run / "evaluation.json").read_text())
    options = f"--workdir={run}", "--num_samples=8", f"--features={tmp_path}/means"
    done = call("evaluate", *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["fid/ours"] > 0
    done = call("evaluate", *options, f"--config={sweeps}", "--sweep=steps")
    assert done.returncode == 0 and "FID" in done.stderr, done.stderr
    assert all(json.loads(line)["fid/ours"] > 0 for line in done.stdout.splitlines())
    other = call("evaluate", *options[:2], "--features=none", f"--config={sweeps}", "--sweep=steps")
    assert other.returncode == 2 and "none" in other.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "text, value",
    [
        ("0.5", 0.5),
        ("3", 3),
        ("True", True),
        ("false", False),
        ("None", None),
        ("beta", "beta"),
        ("'beta'", "beta"),
        ("[1.0, 0.5]", [1.0, 0.5]),
        ("1e-3", 1e-3),
        ("a b", "a b"),
        ("{1}", "{1}"),
        ("", ""),
    ],
)
def test_values_of_options(text, value):
    found = sampler_flags._value(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"key": 3}, "key is no option of a sampler"),
        ({"trajectory": True}, "trajectory is no option"),
        ({"sampler": "heum"}, "did you mean 'heun'"),
        ({"num_steps": 2.5}, "num_steps of the sampler 'euler' is a whole number such as 2, not 2.5"),
        ({"guidance": "two"}, "guidance of the sampler 'euler' is a number such as 1.0, not 'two'"),
        ({"sampler": "diffrax", "max_steps": "many"}, "max_steps of the sampler 'diffrax' is a whole number"),
    ],
)
def test_options_that_no_sampler_takes(options, words):
    config = rectified_flow_toy2d.get_config("tiny")
    config.sampler.name = "euler"
    with pytest.raises(UserError, match=words):
        sampler_flags.check(config, options)


def test_options_that_a_sampler_may_take():
    config = rectified_flow_toy2d.get_config("tiny")
    sampler_flags.check(config, {"sampler": "diffrax", "rtol": 1, "max_steps": 9, "solver": "dopri5"})
    sampler_flags.check(config, {"sampler": "euler", "num_steps": 3, "guidance": 2, "variable": "t", "spacing": [1, 0]})
    sampler_flags.check(activations_mlp.get_config("tiny"), {})  # it predicts


SAMPLE = "sample", "--workdir={run}", "--out={tmp}/x.npz"
EVALUATE = "evaluate", "--workdir={run}", "--num_samples=8"
MISTAKES = {
    "no value": ([*SAMPLE, "--option=lam"], ["--option=lam must be NAME=VALUE"]),
    "twice": ([*SAMPLE, "--num_steps=3", "--option=num_steps=4"], ["num_steps is given twice"]),
    "unknown option": ([*SAMPLE, "--option=varable=sigma"], ["'varable'", "did you mean 'variable'"]),
    "of another sampler": ([*SAMPLE, "--eta=0.5"], ["'euler'", "'eta'"]),
    "no option": ([*SAMPLE, "--option=key=3"], ["key is no option of a sampler"]),
    "many samples": ([*SAMPLE, "--num_samples=3000", "--sampler=eulr"], ["did you mean 'euler'"]),
    "evaluate: option": ([*EVALUATE, "--option=varable=t"], ["did you mean 'variable'"]),
    "evaluate: features": ([*EVALUATE, "--features=x"], ["of 256 levels, not for 8gaussians; leave it empty"]),
    "sweep: alone": ([*EVALUATE, "--sweep=steps"], ["--config=FILE.py and --sweep=NAME come together"]),
    "sweep: name": ([*EVALUATE, "--config={file}", "--sweep=step"], ["did you mean 'steps'"]),
    "sweep: no file": ([*EVALUATE, "--config=none.py", "--sweep=steps"], ["no config file none.py"]),
    "sweep: of training": ([*EVALUATE, "--config={file}", "--sweep=trained"], ["'optimizer.learning_rate'", "trained"]),
    "sweep: the last row": (
        [*EVALUATE, "--config={file}", "--sweep=late"],
        ["row name=eulr: ", "did you mean 'euler'"],
    ),
    "sweep: text": ([*EVALUATE, "--config={file}", "--sweep=text"], ["num_steps", "whole number", "'ten'"]),
    "sweep: twice": ([*EVALUATE, "--config={file}", "--sweep=twice"], ["num_steps=3 more than once"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_writes_nothing(name, trained, sweeps, tmp_path):
    (command, *arguments), words = MISTAKES[name]
    before = sorted(trained.rglob("*"))
    done = call(command, *[a.format(run=trained, tmp=tmp_path, file=sweeps) for a in arguments])
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and "Traceback" not in done.stderr and last.startswith("error: "), done.stderr
    assert all(word in last for word in words), last
    assert not list(tmp_path.iterdir()) and sorted(trained.rglob("*")) == before


@pytest.mark.slow
def test_kills_leave_shards_that_the_same_command_ends_from(trained, tmp_path):
    """One SIGTERM, then SIGKILLs at random moments of a batch: the same command ends with the bits of a run in one."""
    rng, log, shards, many = np.random.default_rng(0), tmp_path / "log", tmp_path / "x.shards", "--num_samples=20000"
    log.mkdir()

    def command(name):
        return start("sample", f"--workdir={trained}", many, "--num_steps=100", f"--out={tmp_path}/{name}", folder=log)

    def stop(number, count):
        """The status of the command, sent this signal once it has left `count` shards."""
        process = command("x.npz")
        while process.is_alive() and len(list(shards.glob("*.npz"))) < count:
            time.sleep(0.001)
        time.sleep(float(rng.uniform(0, 0.05)))
        os.kill(process.pid, number)
        process.join(60)
        return process.exitcode

    assert stop(signal.SIGTERM, 2) == 75
    said = (log / "stderr").read_text().strip().splitlines()[-1]
    assert "stopped after batch" in said and "the same command goes on from there" in said
    assert (shards / "identity.json").exists() and not (tmp_path / "x.npz").exists()
    other = call("sample", f"--workdir={trained}", many, "--seed=1", f"--out={tmp_path}/x.npz")
    assert other.returncode == 2 and "seed is 0 there, 1 here" in other.stderr
    assert [stop(signal.SIGKILL, count) for count in (5, 8, 11)] == [-9] * 3
    for name in ("x.npz", "whole.npz"):
        process = command(name)
        process.join(240)
        assert process.exitcode == 0, (log / "stderr").read_text()
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes() and not shards.exists()
