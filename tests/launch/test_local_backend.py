"""Trials as processes of this machine: how many at once, what is tried again, and what a signal does."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import types

import pytest
from absl import flags

from launch import cli
from launch.backends import Task, local, package, processes
from research.errors import UserError
from tests.processes import FORKS

# A run in little: does what plan.json in its workdir says, one entry a try, and writes down when.
FAKE = """
import json, os, pathlib, signal, sys, time
began = time.time()
options = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
workdir, index = pathlib.Path(options["workdir"]), os.environ.get("JAX_PROCESS_ID", "0")
tries = workdir / f"tries_{index}"
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
plan = json.loads((workdir / "plan.json").read_text())
act = plan[min(len(tries.read_text()), len(plan)) - 1].get(index, {})
print("out of", index)
print(act.get("say", "nothing"), file=sys.stderr, flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
(workdir / f"ready_{index}").write_text(json.dumps(dict(os.environ)))
time.sleep(act.get("seconds", 0))
if "signal" in act:
    os.kill(os.getpid(), act["signal"])
(workdir / f"times_{index}").write_text(json.dumps([began, time.time()]))
sys.exit(act.get("status", 0))
"""


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A function: plans {name: [{process: act} of each try]} -> tasks of the run in little."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "fake.py").write_text(FAKE)
    monkeypatch.setattr(package, "snapshot", lambda root: tmp_path / "code")

    def make(plans, parallel=1, nproc=1, retries=1):
        settings(parallel, nproc, retries, monkeypatch.setattr)
        for name, plan in plans.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "plan.json").write_text(json.dumps(plan))
        return [Task(name, tmp_path / name, "fake") for name in plans]

    return make


def settings(parallel, nproc, retries, setattr):
    """Flags as a command line would set them."""
    setattr(local, "PARALLEL", types.SimpleNamespace(value=parallel))
    setattr(local, "NPROC", types.SimpleNamespace(value=nproc))
    setattr(flags, "FLAGS", types.SimpleNamespace(retries=retries, heartbeat=10))


def test_as_many_at_once_as_asked_for(prepared, tmp_path, capsys):
    tasks = prepared({f"t{i}": [{"0": {"seconds": 1.0}}] for i in range(4)}, parallel=2)
    assert sorted(local.run(tasks, tmp_path, False)) == [(f"t{i}", {}) for i in range(4)]
    spans = [json.loads((tmp_path / f"t{i}" / "times_0").read_text()) for i in range(4)]
    at_once = [sum(began <= moment < end for began, end in spans) for moment, _ in spans]
    assert max(at_once) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["trial t0: started; 3 more wait", "trial t1: started; 2 more wait"]
    assert sum(re.fullmatch(r"trial t\d: done in \d+ s", line) is not None for line in said) == 4
    assert (tmp_path / "t0" / "stdout.log").read_text() == "out of 0\n"
    assert (tmp_path / "t0" / "stderr.log").read_text() == "nothing\n"


@pytest.mark.parametrize(
    "plan, tries, words",
    [
        ([{"0": {"status": 1}}, {}], "xx", None),
        ([{"0": {"signal": signal.SIGKILL}}, {"0": {"status": 1}}], "xx", "ended with status 1, at try 2 of 2; see .*"),
        ([{"0": {"status": 2, "say": "error: a is 1; it must be 2."}}], "x", "a is 1; it must be 2."),
        ([{"0": {"status": 75}}] * 3 + [{}], "xxxx", None),
        ([{"0": {"status": 130}}], "x", "was stopped by Ctrl-C, and saved; the same command goes on from there."),
    ],
    ids=["lost once", "lost twice", "mistake", "preempted", "interrupted"],
)
def test_what_is_tried_again(plan, tries, words, prepared, tmp_path):
    ((name, result),) = local.run(prepared({"a": plan}), tmp_path, False)
    assert name == "a" and (tmp_path / "a" / "tries_0").read_text() == tries
    if words is None:
        assert result == {}
    else:
        assert isinstance(result, UserError) and re.fullmatch(words, str(result))


def test_the_last_lines_of_a_failure_are_shown(prepared, tmp_path, capsys):
    lines = "\n".join(f"line {i}" for i in range(20))
    tasks = prepared({"a": [{"0": {"say": "first", "status": 1}}, {"0": {"say": lines, "status": 3}}]})
    ((_, result),) = local.run(tasks, tmp_path, False)
    said, log = capsys.readouterr().err.splitlines(), tmp_path / "a" / "stderr.log"
    assert re.fullmatch(rf"trial a: ended with status 1 after \d+ s; the end of {re.escape(str(log))}:", said[1])
    assert said[2:4] == ["    first", "trial a: starts again: try 2 of 2"]
    assert said[-12:] == [f"    line {i}" for i in range(8, 20)]
    assert f"see {log}." in str(result) and log.read_text() == f"first\n{lines}\n"


def test_processes_of_one_run_end_and_start_again_together(prepared, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 0.3)
    dying = {"0": {"seconds": 60}, "1": {"signal": signal.SIGKILL, "say": "going"}}
    began = time.monotonic()
    assert list(local.run(prepared({"a": [dying, {}]}, nproc=2), tmp_path, False)) == [("a", {})]
    assert 0.3 < time.monotonic() - began < 20
    said = capsys.readouterr().err.splitlines()
    assert re.match("trial a: process 1 was killed by SIGKILL after . s; the end of .*/a/stderr_1.log:", said[1])
    assert said[2:4] == ["    going", "trial a: starts again: try 2 of 2"]
    found = [json.loads((tmp_path / "a" / f"ready_{i}").read_text()) for i in range(2)]
    assert [(x["JAX_NUM_PROCESSES"], x["JAX_PROCESS_ID"]) for x in found] == [("2", "0"), ("2", "1")]
    assert len({x["JAX_COORDINATOR_ADDRESS"] for x in found}) == 1
    assert [(tmp_path / "a" / f"tries_{i}").read_text() for i in range(2)] == ["xx", "xx"]


def launcher(tasks, root, parallel, nproc):
    """A command line that runs tasks, its words in root/said and its results in root/results."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where it is ignored
    os.dup2(os.open(f"{root}/said", os.O_CREAT | os.O_WRONLY), 2)
    package.snapshot = lambda root: root / "code"
    settings(parallel, nproc, 1, setattr)
    for name, result in local.run(tasks, root, False):
        with open(f"{root}/results", "a") as file:
            file.write(f"{name} {result}\n")


@pytest.mark.parametrize(
    "number, nproc, status, what",
    [(signal.SIGTERM, 1, 75, "SIGTERM"), (signal.SIGINT, 1, 130, "Ctrl-C"), (signal.SIGINT, 2, 130, "Ctrl-C")],
)
def test_a_signal_reaches_all_trials_and_what_is_left_is_said(number, nproc, status, what, prepared, tmp_path):
    act = {str(i): {"seconds": 60} for i in range(nproc)}
    tasks = prepared({"a": [act], "b": [act], "c": [act]}, parallel=2, nproc=nproc)
    process = FORKS.Process(target=launcher, args=(tasks, tmp_path, 2, nproc))
    process.start()
    until(*(tmp_path / name / f"ready_{i}" for name in "ab" for i in range(nproc)))
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == status
    said = (tmp_path / "said").read_text().splitlines()
    assert said[-1] == f"stopped by {what} with 3 of 3 trials left; the same command goes on from there."
    assert sum("saved and stopped" in line for line in said) == 2
    assert not (tmp_path / "results").exists() and not (tmp_path / "c" / "tries_0").exists()


def test_trials_save_where_the_terminal_is_closed(prepared, tmp_path):
    """To write to it fails, which must not end what still saves."""
    tasks = prepared({name: [{"0": {"seconds": 60}}] for name in "ab"}, parallel=2)
    slowly = "(time.sleep(0.5), (workdir / 'saved').touch(), sys.exit(75))"
    fake = FAKE.replace("sys.exit(75)", slowly)
    (tmp_path / "code" / "fake.py").write_text(fake)
    master, terminal = os.openpty()
    (tmp_path / "said").symlink_to(os.ttyname(terminal))
    process = FORKS.Process(target=launcher, args=(tasks, tmp_path, 2, 1))
    process.start()
    until(*(tmp_path / name / "ready_0" for name in "ab"))
    os.close(terminal)
    os.close(master)
    os.kill(process.pid, signal.SIGHUP)
    process.join(60)
    assert process.exitcode == 75 and all((tmp_path / name / "saved").exists() for name in "ab")


def test_a_second_signal_kills(prepared, tmp_path):
    """Of a trial that does not end when it is asked to."""
    (task,) = prepared({"a": [{"0": {"seconds": 60}}]})
    (tmp_path / "code" / "fake.py").write_text(FAKE.replace("sys.exit(75)", "None"))
    process = FORKS.Process(target=launcher, args=([task], tmp_path, 1, 1))
    process.start()
    until(tmp_path / "a" / "ready_0")
    os.kill(process.pid, signal.SIGTERM)
    process.join(0.5)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 75


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a process that its parent has ended")
def test_trials_save_and_end_with_a_launcher_that_was_killed(prepared, tmp_path):
    (task,) = prepared({"a": [{"0": {"seconds": 60}}]})
    fake = FAKE.replace("sys.exit(75)", "(workdir / 'saved').touch() or sys.exit(75)")
    fake = f"from launch import cli\ncli.follow_launcher()\n{fake}"
    (tmp_path / "code" / "fake.py").write_text(fake)
    process = FORKS.Process(target=launcher, args=([task], tmp_path, 1, 1))
    process.start()
    until(tmp_path / "a" / "ready_0")
    assert not (tmp_path / "a" / "saved").exists()
    os.kill(process.pid, signal.SIGKILL)
    until(tmp_path / "a" / "saved")
    assert not (tmp_path / "a" / "times_0").exists()


def test_a_process_ends_where_its_launcher_has_already():
    code = "from launch import cli; cli.run(lambda: print('goes on'))"
    for launcher, status, said in ((os.getpid(), 0, "goes on\n"), (1, cli.EXIT_PREEMPTED, "")):
        env = os.environ | {cli.LAUNCHER: str(launcher)}
        found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        assert (found.returncode, found.stdout) == (status, said)


def until(*paths, seconds=60):
    """Waits for files."""
    end = time.monotonic() + seconds
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, f"not all of {paths}"
        time.sleep(0.02)


def test_the_dry_run_says_what_would_run(prepared, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(package, "location", lambda root: root / "code")
    monkeypatch.setenv("PYTHONPATH", "mine")
    (task,) = prepared({"lr=1e-3,seed=0": [{}]})
    assert list(local.run([task], tmp_path, True)) == [] and not (task.workdir / "tries_0").exists()
    (line,) = capsys.readouterr().out.splitlines()
    code, config = tmp_path / "code", f"{task.workdir}/frozen.json"
    assert line == (
        f"cd {os.getcwd()} && PYTHONPATH={code}:mine {sys.executable} -P -m fake "
        f"--config={code}/launch/frozen.py:{config} --workdir={task.workdir}"
    )
    monkeypatch.setattr(local, "NPROC", types.SimpleNamespace(value=2))
    list(local.run([task], tmp_path, True))
    both = capsys.readouterr().out.splitlines()
    assert len(both) == 2 and "JAX_PROCESS_ID=1" in both[1] and both[0].endswith("--heartbeat=10 &")


def test_trials_share_the_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert processes.gpus(0, 1) == {}
    assert [processes.gpus(i, 2)["CUDA_VISIBLE_DEVICES"] for i in range(2)] == ["0,1", "2,3"]
    assert processes.gpus(5, 8) == {"CUDA_VISIBLE_DEVICES": "1", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.450"}
    of_second = processes.variables("code", slot=1, port=5000, index=0, parallel=2, nproc=2)
    assert of_second["CUDA_VISIBLE_DEVICES"] == "2"  # each process of a run its own
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert processes.gpus(1, 2) == {}


def test_a_port_is_free_and_given_once(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert processes.free_port() != taken.getsockname()[1]
    offered = iter([5001, 5001, 5002])
    monkeypatch.setattr(socket.socket, "bind", lambda *_: None)
    monkeypatch.setattr(socket.socket, "getsockname", lambda _: ("127.0.0.1", next(offered)))
    with pytest.raises(StopIteration):
        processes.free_port({5001, 5002})
