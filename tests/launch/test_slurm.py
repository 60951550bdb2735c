"""Jobs of a SLURM cluster: the script that is submitted, and a real cluster that loses tasks and takes nodes away."""

import builtins
import contextlib
import filecmp
import getpass
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest
from absl import flags

from configs import rectified_flow_toy2d
from launch.backends import Task, package, slurm
from research import workdir
from research.errors import UserError
from tests import slurm_cluster
from tests.conftest import ROOT

CLUSTER = pytest.mark.cluster
os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")  # else it sets up logging anew, and shuts pytest's handlers
pytest.importorskip("submitit")


@pytest.fixture
def options(monkeypatch):
    """A function that sets flags of the backend; each has its default before."""
    values = dict.fromkeys(("PARTITION", "ACCOUNT", "TASKS", "GPUS", "CPUS", "MEM"))
    values |= {"TIME": "1:00:00", "NODES": 1, "AT_ONCE": 256, "GRACE": 90, "OPTIONS": [], "SETUP": []}

    def put(**changes):
        for name, value in (values | changes).items():
            monkeypatch.setattr(slurm, name, types.SimpleNamespace(value=value))

    monkeypatch.setattr(flags, "FLAGS", types.SimpleNamespace(retries=1, heartbeat=20))
    put()
    return put


@pytest.fixture
def code(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "location", lambda root: tmp_path / "code")
    monkeypatch.setattr(package, "snapshot", lambda root: tmp_path / "code")
    return tmp_path / "code"


def tasks_of(root, names):
    return [Task(name, root / name) for name in names]


def test_the_dry_run_is_the_script_and_what_it_runs(options, code, tmp_path, capsys):
    options(PARTITION="gpu", ACCOUNT="us", NODES=2, GPUS=4, CPUS=8, MEM="64G", SETUP=["module load cuda"])
    assert list(slurm.run(tasks_of(tmp_path, "ab"), tmp_path, True)) == []
    lines = capsys.readouterr().out.splitlines()
    asked = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert asked >= {"partition=gpu", "account=us", "nodes=2", "ntasks-per-node=4", "gpus-per-node=4", "array=0-1%2"}
    assert asked >= {"cpus-per-task=8", "mem=64G", "time=1:00:00", "signal=TERM@90", "requeue"}
    assert f"export PYTHONPATH={code}${{PYTHONPATH:+:$PYTHONPATH}} PYTHONSAFEPATH=1" in lines
    assert lines.index("module load cuda") < next(i for i, line in enumerate(lines) if line.startswith("srun "))
    b = tmp_path / "b"
    assert lines[-1] == (
        f"# array task 1 runs {sys.executable} -P -m launch.run --config={code}/launch/frozen.py:{b}/frozen.json "
        f"--workdir={b} --heartbeat=20"
    )


def test_other_options_of_sbatch_and_those_that_change_ours(options, code, tmp_path, capsys):
    options(OPTIONS=["qos=high", "exclusive", "signal=TERM@300"])
    list(slurm.run(tasks_of(tmp_path, "a"), tmp_path, True))
    lines = capsys.readouterr().out.splitlines()
    assert {"#SBATCH --qos=high", "#SBATCH --exclusive", "#SBATCH --signal=TERM@300"} <= set(lines)
    assert not any("--array" in line or "--heartbeat" in line for line in lines)


@pytest.mark.parametrize("sizes", [{"GPUS": 8, "TASKS": 2}, {"GPUS": 8, "NODES": 2, "TASKS": 1}])
def test_tasks_that_do_not_fit_the_gpus(sizes, options, code, tmp_path):
    options(**sizes)
    with pytest.raises(UserError, match="with 8 GPUs a node; JAX gives each task one GPU .* make them equal"):
        list(slurm.run(tasks_of(tmp_path, "a"), tmp_path, True))


def test_tools_that_are_absent(options, code, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="sbatch is not on PATH; run this on a login node"):
        list(slurm.run(tasks_of(tmp_path, "a"), tmp_path, False))
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "submitit":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="needs submitit: pip install 'generative-tabular-research"):
        list(slurm.run(tasks_of(tmp_path, "a"), tmp_path, True))


def put(folder, name, text):
    """A command of that name, first on PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_what_sbatch_gets_and_what_is_in_the_queue_already(options, code, tmp_path, monkeypatch, capsys):
    bin = tmp_path / "bin"
    put(bin, "sbatch", f"cat $1 > {tmp_path}/script; echo Submitted batch job 7")
    put(bin, "srun", "exit 1")
    put(bin, "squeue", "echo 5_1; echo 6")
    monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
    tasks = tasks_of(tmp_path / "runs", ["a", "b", "c", "d"])
    for task, job in zip(tasks, ("5_1", "5_0", None, "6")):
        task.workdir.mkdir(parents=True)
        if job:
            (task.workdir / slurm.JOB).write_text(job)
    found = dict(slurm.run(tasks, tmp_path / "runs", False))
    assert found["a"] == "a: is in the queue, as job 5_1" and found["d"].endswith("as job 6")
    assert found["b"].startswith("b: submitted as job 7_0;") and found["c"].startswith("c: submitted as job 7_1;")
    assert [(task.workdir / slurm.JOB).read_text() for task in tasks] == ["5_1", "7_0", "7_1", "6"]
    capsys.readouterr()
    list(slurm.run(tasks[1:3], tmp_path / "runs", True))
    shown = capsys.readouterr().out.split("\n# array task 0")[0]
    assert shown == (tmp_path / "script").read_text()
    put(bin, "sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    with pytest.raises(UserError, match="sbatch refused the job: error: invalid partition specified: gpu"):
        list(slurm.run(tasks[1:2], tmp_path / "runs", False))


@pytest.mark.parametrize(
    "status, failed, again",
    [(0, 0, False), (2, 0, False), (130, 0, False), (75, 9, True), (137, 0, True), (1, 1, False)],
)
def test_which_ends_give_the_job_back_to_the_queue(status, failed, again, options, tmp_path, monkeypatch):
    put(tmp_path / "bin", "scontrol", f"echo $* > {tmp_path}/asked")
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "failed_3").write_text("1\n" * failed)
    environ = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "SLURM_JOB_ID": "3"}
    lines = slurm.parameters(tmp_path, tmp_path)["teardown"]
    done = subprocess.run(["bash", "-c", "\n".join([f"(exit {status})", *lines])], env=environ, check=False)
    assert done.returncode == status
    assert (tmp_path / "asked").exists() == again
    assert not again or (tmp_path / "asked").read_text() == "requeue 3\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A real cluster of one node with two CPUs, on PATH."""
    folder = tmp_path_factory.mktemp("slurm")
    daemons, environ = slurm_cluster.start(slurm_cluster.unpacked(ROOT / ".cache" / "slurm"), folder)
    environ |= {"JAX_COMPILATION_CACHE_DIR": f"{ROOT}/.cache/jax", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        yield folder
        subprocess.run(["scancel", "--full", f"--user={getpass.getuser()}"], check=False)
    for daemon in reversed(daemons):
        daemon.terminate()
        daemon.wait(30)


def frozen(root, names, **train):
    """Tasks of a run of seconds, each with its own seed: that of its name's number."""
    config = rectified_flow_toy2d.get_config("tiny")
    config.train.update({"num_steps": 200, "log_every": 1, "eval_every": 0, "checkpoint_every": 20, **train})
    config.sampler.update({"name": "euler", "num_samples": 8})
    tasks = tasks_of(root, names)
    for task in tasks:
        config.seed = int(task.name.partition("=")[2].strip("'"))
        workdir.freeze(task.workdir, config)
    return tasks


def wait_for(condition, what, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.3)


def under_way(path, size=3000):
    return lambda: (path / "metrics.jsonl").exists() and (path / "metrics.jsonl").stat().st_size > size


def processes_of(path):
    """Ids of the processes that run in a workdir."""
    for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"--workdir={path}".encode() in file.read_bytes().split(b"\0"):
                yield int(file.parent.name)


def hurry(task):
    """Spares a job that SLURM gets back the two minutes that it would wait."""
    job = (task.workdir / slurm.JOB).read_text()

    def waits():
        asked = ["squeue", "--noheader", f"--jobs={job}", "--format=%r"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == "BeginTime"

    wait_for(waits, lambda: f"job {job} was not given back to the queue", 60)
    time.sleep(3)  # at once its old credential, which is revoked, would count as the new one
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)


def logs(root):
    return lambda: "".join(x.read_text()[-2000:] for x in [*root.glob("*/stderr*.log"), *root.glob("slurm/*log.err")])


@CLUSTER
def test_an_array_of_eight_survives_the_kill_of_a_task(cluster, options, tmp_path):
    """The trial that is killed has a twin of the same seed, whose bits it must have in the end."""
    tasks = frozen(tmp_path, ["seed=1", *(f"seed={i}" for i in range(2, 8)), "seed=1'"])
    submitted = dict(slurm.run(tasks, tmp_path, False))
    assert len(submitted) == 8 and all("submitted as job" in line for line in submitted.values())
    wait_for(under_way(tasks[0].workdir), logs(tmp_path))
    for process in processes_of(tasks[0].workdir):
        os.kill(process, signal.SIGKILL)
    again = dict(slurm.run(tasks[-1:], tmp_path, False))
    assert "is in the queue" in again[tasks[-1].name]
    hurry(tasks[0])
    wait_for(lambda: all(workdir.is_finished(task.workdir) for task in tasks), logs(tmp_path))
    (record,) = (tmp_path / "slurm").glob("failed_*")
    assert record.read_text() == "137\n"
    assert "resumed at step" in (tasks[0].workdir / "stderr.log").read_text()
    for name in ("params.npz", "samples.npz", "metrics.jsonl", "evaluation.json"):
        assert filecmp.cmp(tasks[0].workdir / name, tasks[-1].workdir / name, shallow=False), name


@CLUSTER
def test_two_tasks_are_one_run_that_goes_on_after_a_preemption(cluster, options, tmp_path):
    options(TASKS=2)
    (task,) = frozen(tmp_path, ["seed=0"], num_steps=300)
    list(slurm.run([task], tmp_path, False))
    wait_for(under_way(task.workdir), logs(tmp_path))
    subprocess.run(["scancel", "--signal=TERM", (task.workdir / slurm.JOB).read_text()], check=True)
    hurry(task)
    wait_for(lambda: workdir.is_finished(task.workdir), logs(tmp_path))
    said = [(task.workdir / name).read_text() for name in ("stderr.log", "stderr_1.log")]
    assert all("preempted at step" in text for text in said) and "resumed at step" in said[0]
    assert json.loads((task.workdir / "versions.json").read_text())["processes"] == 2
    assert not list((tmp_path / "slurm").glob("failed_*"))


@CLUSTER
def test_a_mistake_is_not_given_back_to_the_queue(cluster, options, tmp_path):
    (task,) = frozen(tmp_path, ["seed=0"], num_steps=0)
    list(slurm.run([task], tmp_path, False))
    job = (task.workdir / slurm.JOB).read_text()

    def state():
        return subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout

    wait_for(lambda: "JobState=FAILED" in state(), state)
    assert "Restarts=0" in state() and "ExitCode=2:0" in state()
    assert "error: train.num_steps is 0; it must be at least 1." in (task.workdir / "stderr.log").read_text()
