"""The command lines as a user meets them: one sentence for each mistake, a status that tells, nothing overwritten."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.processes import call

TOY = "--config=configs/rectified_flow_toy2d.py:tiny"
EULER = "--config.sampler.name=euler"  # compiles faster than the adaptive solver of the experiment


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The workdir of a finished tiny run."""
    workdir = tmp_path_factory.mktemp("runs") / "toy"
    done = call("run", TOY, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    assert "samples.npz" in done.stdout
    return workdir


def test_a_run_leaves_what_was_promised(trained):
    names = {p.name for p in trained.iterdir()}
    wanted = "config.json versions.json metrics.jsonl timing.jsonl checkpoints samples.npz samples.png params.npz"
    assert set(wanted.split()) | {"evaluation.json", "tensorboard"} <= names
    with np.load(trained / "samples.npz") as archive:
        assert archive["x"].shape == (32, 2) and archive["x"].dtype == np.float32 and archive["seed"] == 0
    for line in (trained / "metrics.jsonl").read_text().splitlines():
        assert "step" in json.loads(line)


def test_64_bits_everywhere_are_a_mistake():
    code = "import jax, sys; jax.config.update('jax_enable_x64', True); from launch import cli; cli.run(print)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: JAX_ENABLE_X64 is on;") and done.stderr.count("\n") == 1


def test_a_finished_run_says_so(trained):
    before = files(trained)
    again = call("run", *TOY.split("="), f"--workdir={trained}")  # --config FILE is one way to write it
    assert again.returncode == 0 and "is finished" in again.stderr
    assert files(trained) == before


def test_sample_and_evaluate(trained, tmp_path):
    done = call(
        "sample",
        f"--workdir={trained}",
        "--num_samples=5",
        "--sampler=euler",
        "--num_steps=3",
        f"--out={tmp_path}/s.npz",
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "s.npz") as archive:
        assert archive["x"].shape == (5, 2) and archive["nfe"] == 3
    unasked = call("sample", f"--workdir={trained}", "--num_samples=4", "--condition=3", f"--out={tmp_path}/g")
    mistaken(unasked, "trained without classes")
    done = call("evaluate", f"--workdir={trained}", "--num_samples=8")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (
        result["step"] == 6
        and result["num_samples"] == 8
        and result["likelihood/kind"] == "exact"
        and result["versions"]["jax"]
    )


def test_a_new_run_starts_from_an_old_one(trained, tmp_path):
    """With no steps' worth of learning rate the weights are the old run's."""
    done = call(
        "run", TOY, EULER, f"--workdir={tmp_path}/new", f"--init_from={trained}", "--config.optimizer.learning_rate=0.0"
    )
    assert done.returncode == 0, done.stderr
    with np.load(trained / "params.npz") as old, np.load(tmp_path / "new" / "params.npz") as new:
        assert all(np.allclose(old[name], new[name], rtol=1e-6) for name in old) and set(old) == set(new)


def test_sweep_runs_every_trial(tmp_path):
    arguments = [TOY, EULER, f"--workdir={tmp_path}", "--sweep=interpolant", "--backend=local"]
    dry = call("sweep", *arguments, "--dry_run")
    assert dry.returncode == 0 and not list(tmp_path.iterdir())
    wanted = [f"interpolant={name}" for name in ("linear", "trigonometric", "vp")]
    assert all(f"--workdir={tmp_path}/{name}" in line for name, line in zip(wanted, dry.stdout.splitlines()))
    done = call("sweep", *arguments, "--parallel=2")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["code", *wanted, "sweep.json"]
    assert sorted(json.loads(line)["trial"] for line in done.stdout.splitlines()) == wanted


@pytest.mark.parametrize("command", ["run", "sample", "evaluate", "sweep", "bench"])
def test_help_gives_an_example(command):
    done = call(command, "--help")
    assert f"python -m launch.{command}" in done.stdout and "Traceback" not in done.stderr
    assert command == "bench" or "--workdir" in done.stdout


def mistaken(done, *words):
    """Holds the law of a mistake: status 2, one sentence on stderr, no traceback."""
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and last.startswith("error: ") and done.stderr.count("error: ") == 1
    for word in words:
        assert word in last, last


def test_a_model_that_predicts(tmp_path):
    arguments = "--config=configs/activations_mlp.py:tiny", f"--workdir={tmp_path}/run", "--config.mesh.data=1"
    done = call("run", *arguments)
    assert done.returncode == 0 and "accuracy" in done.stdout and "parameters" in done.stderr, done.stderr
    with np.load(tmp_path / "run" / "predictions.npz") as file:
        right = np.mean(file["logits"].argmax(1) == file["label"])
    found = json.loads(call("evaluate", f"--workdir={tmp_path}/run").stdout.strip().splitlines()[-1])
    assert found["accuracy"] == pytest.approx(right, abs=1e-6) and "start/gradient/03" in found
    mistaken(call("sample", f"--workdir={tmp_path}/run", f"--out={tmp_path}/x.npz"), "predictions.npz")


RUN_MISTAKES = {  # arguments after --workdir: words of the sentence
    "no config": ([], ["--config is missing"]),
    "no such config": (["--config=configs/nothing.py"], ["no config file configs/nothing.py"]),
    "override without config": (["--config.seed=3"], ["--config=configs/NAME.py must come"]),
    "typo in a field": ([TOY, "--config.optimizer.learning_rat=1"], ["did you mean 'optimizer.learning_rate'"]),
    "typo in a section": ([TOY, "--config.optimiser.learning_rate=1"], ["did you mean 'optimizer.learning_rate'"]),
    "text for a number": ([TOY, "--config.train.num_steps=many"], ["'train.num_steps' takes a int, not 'many'"]),
    "fraction for a count": ([TOY, "--config.train.num_steps=1.5"], ["takes a int, not '1.5'"]),
    "number for a switch": ([TOY, "--config.sampler.balanced=maybe"], ["takes a bool, not 'maybe'"]),
    "value for a section": ([TOY, "--config.train=3"], ["train"]),
    "typo in a flag": ([TOY, "--workdr=x"], ["workdr"]),
    "a word that is no flag": ([TOY, "train"], ["'train' is not a flag"]),
    "data set": ([TOY, "--config.data.name=8gausians"], ["8gaussians"]),
    "variant": ([TOY.replace("tiny", "tinny")], ["'tinny'", "tiny"]),
    "no experiment": (["--config=configs/base.py"], ["no get_config"]),
    "no blocks": ([TOY, "--config.net.mlp.depth=0"], ["net.mlp.depth is 0", "at least 1"]),
    "no channels": ([TOY, "--config.net.name=unet", "--config.net.unet.channels=(0,)"], ["net.unet.channels"]),
    "model": ([TOY, "--config.model.name=rectifiedflow"], ["did you mean 'rectified_flow'"]),
    "sampler": ([TOY, "--config.sampler.name=huen"], ["heun"]),
    "optimizer": ([TOY, "--config.optimizer.name=adamv"], ["optimizer.name is 'adamv'"]),
    "schedule": ([TOY, "--config.optimizer.schedule=cos"], ["optimizer.schedule is 'cos'"]),
    "net": ([TOY, "--config.net.name=mpl"], ["mlp"]),
    "dtype": ([TOY, "--config.net.dtype=float33"], ["float33"]),
    "time density": ([TOY, "--config.model.time_density=normal"], ["normal"]),
    "batch size": ([TOY, "--config.data.batch_size=0"], ["batch_size"]),
    "accumulation": ([TOY, "--config.optimizer.accumulate=5"], ["does not divide a batch of 16"]),
    "warm-up": ([TOY, "--config.optimizer.warmup_steps=1000"], ["warmup_steps"]),
    "too many devices": ([TOY, "--config.mesh.data=4096"], ["4096", "devices"]),
    "profile": ([TOY, "--profile=20"], ["--profile=20 must be START:STOP"]),
    "init_from": ([TOY, "--init_from=nowhere"], ["nowhere has no params.npz"]),
    "a transformer on vectors": ([TOY, "--config.net.name=dit"], ["dit", "patch of 2"]),
    "an activation": ([TOY, "--config.net.mlp.activation=rellu"], ["rellu", "relu"]),
    "missing files": (
        ["--config=configs/rectified_flow_mnist.py", "--config.data.dir={tmp}/none"],
        ["train-images", "sha256"],
    ),
    "imagenet": ([TOY, "--config.data.name=imagenet64", "--config.data.dir={tmp}"], ["train_data_batch_1.npz"]),
    "npz": ([TOY, "--config.data.name=npz", "--config.data.dir={tmp}/x.npz"], ["x.npz"]),
    "empty image folder": ([TOY, "--config.data.name=image_folder", "--config.data.dir={tmp}"], ["image"]),
    "no steps": ([TOY, "--config.train.num_steps=0"], ["train.num_steps"]),
    "no logs": ([TOY, "--config.train.log_every=0"], ["train.log_every"]),
    "no sampler steps": ([TOY, "--config.sampler.num_steps=0", "--config.sampler.name=euler"], ["step"]),
    "no samples": ([TOY, "--config.sampler.num_samples=0"], ["sampler.num_samples"]),
    "two words": ([*TOY.split("="), "--config.train.num_stepz=3"], ["did you mean 'train.num_steps'"]),
    "nonfinite": ([TOY, "--config.train.on_nonfinite=hope"], ["train.on_nonfinite is 'hope'"]),
}


@pytest.mark.parametrize("name", RUN_MISTAKES)
def test_a_mistake_in_run_is_one_sentence(name, tmp_path):
    arguments, words = RUN_MISTAKES[name]
    arguments = [a.format(tmp=tmp_path) for a in arguments]
    mistaken(call("run", f"--workdir={tmp_path}/run", *arguments), *words)
    assert not (tmp_path / "run" / "samples.npz").exists()


OTHER_MISTAKES = {
    "sample: out missing": ("sample", ["--workdir={run}"], ["--out is missing"]),
    "sample: no run": ("sample", ["--workdir={tmp}", "--out={tmp}/x.npz"], ["is not a workdir"]),
    "sample: number": ("sample", ["--workdir={run}", "--out={tmp}/x.npz", "--num_samples=0"], ["at least 1"]),
    "sample: sampler": ("sample", ["--workdir={run}", "--out={tmp}/x.npz", "--sampler=eulr"], ["euler"]),
    "sample: steps": ("sample", ["--workdir={run}", "--out={tmp}/x.npz", "--sampler=euler", "--num_steps=0"], ["step"]),
    "sample: class": ("sample", ["--workdir={run}", "--out={tmp}/x.npz", "--condition=9"], ["from 0 to 7, not 9"]),
    "sample: unwritable": ("sample", ["--workdir={run}", "--out=/proc/no/x.npz"], ["/proc/no"]),
    "evaluate: no run": ("evaluate", ["--workdir={tmp}"], ["is not a workdir"]),
    "evaluate: workdir missing": ("evaluate", [], ["--workdir is missing"]),
    "sweep: name": ("sweep", [TOY, "--workdir={tmp}/s", "--sweep=time_densty"], ["did you mean 'time_density'"]),
    "sweep: backend": ("sweep", [TOY, "--workdir={tmp}/s", "--sweep=data", "--backend=slurp"], ["backend"]),
    "bench: name": ("bench", ["lop"], ["did you mean 'loop'"]),
    "run: workdir of another config": ("run", [TOY, "--workdir={run}", "--config.seed=7"], ["seed is 0 there, 7 here"]),
    "run: unwritable workdir": ("run", [TOY, "--workdir=/proc/run"], ["cannot write to workdir /proc/run"]),
    "run: init from another net": (
        "run",
        [TOY, "--workdir={tmp}/r", "--init_from={run}", "--config.net.mlp.width=24"],
        ["--init_from", "use the same net"],
    ),
}


@pytest.mark.parametrize("name", OTHER_MISTAKES)
def test_another_mistake_is_one_sentence(name, trained, tmp_path):
    command, arguments, words = OTHER_MISTAKES[name]
    before = files(trained)
    mistaken(call(command, *[a.format(run=trained, tmp=tmp_path) for a in arguments]), *words)
    assert files(trained) == before and not list(tmp_path.rglob("*.npz"))


def test_full_disk(tmp_path):
    """A disk with room for 16 kB files only: the checkpoint cannot be written, what was there before stays whole."""
    done = call("run", TOY, EULER, f"--workdir={tmp_path}/run", limit=16000)
    mistaken(done, "cannot write")
    assert not (tmp_path / "run" / "samples.npz").exists() and not list(
        (tmp_path / "run" / "checkpoints").glob("[0-9]")
    )
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["num_steps"] == 6
    assert call("run", TOY, EULER, f"--workdir={tmp_path}/run").returncode == 0  # with room, the same command finishes
