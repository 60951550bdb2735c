"""Two processes that are one run: the same numbers as one process, one step at which both stop and save, and a start
again as a whole, to the same bits, where one is killed."""

import filecmp
import json
import os
import pathlib
import re
import runpy
import signal
import socket
import sys
import threading
import time
import types

import jax
import numpy as np
import pyarrow as pa
import pytest
from absl import flags

from configs import base, ot_flow_toy2d, rectified_flow_toy2d
from launch.backends import Task, local
from research import data, distributed, experiment, interrupts, loop, workdir
from research.metrics_writer import read
from tests import conftest
from tests.data import shard_files
from tests.processes import FORKS

pytestmark = pytest.mark.cluster


def line(train):
    """(config, program, source) of the line that a mean square finds."""
    config = base.config(train=train, mesh=base.mesh(), precision=base.precision())
    return config, conftest.line_program()._replace(evaluate=lambda *_: {}), conftest.line_source()


def coupled(train):
    """The same of a rectified flow whose noise is paired with the whole batch, by the host and within the program."""
    config = ot_flow_toy2d.get_config("tiny")
    config.update({"train": train, "data": {"batch_size": 8}, "model": {"coupling": "exact"}})
    built = experiment.build(config)
    return built.config, built.program._replace(evaluate=lambda *_: {}), built.dataset.train


def drive(index, count, port, path, num_steps, out, kind=line):
    """One process of `count`, two devices each; leaves 'done' or the step it was preempted at."""
    os.dup2(os.open(f"{out}-{index}.err", os.O_CREAT | os.O_WRONLY), 2)
    jax.config.update("jax_num_cpu_devices", 4 // count)
    if count > 1:
        address = f"127.0.0.1:{port}"
        os.environ.update(distributed.variables(address, count, index))
        distributed.start(heartbeat=10)
    fields = {"num_steps": num_steps, "log_every": 1, "eval_every": 0, "checkpoint_every": 50}
    config, program, source = kind(base.update(base.train(), **fields))
    batches = data.iterate(source, 8, 0, process_index=index, process_count=count)
    try:
        state = loop.run(program, batches, config, path)
        result = [float(jax.numpy.sum(x)) for x in jax.tree.leaves(state.get("params", state))]
    except interrupts.Preempted as stop:
        result = stop.step
    with open(f"{out}-{index}", "w") as file:
        file.write(json.dumps(result))
    jax.distributed.shutdown()  # as the interpreter does at its end, but not in a fork


def start(count, path, num_steps, out, kind=line):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path.mkdir(exist_ok=True)
    arguments = [(index, count, port, path, num_steps, out, kind) for index in range(count)]
    processes = [FORKS.Process(target=drive, args=each) for each in arguments]
    for process in processes:
        process.start()
    return processes


def results(processes, out):
    for process in processes:
        process.join(120)
    texts = [pathlib.Path(f"{out}-{index}").read_text() for index in range(len(processes))]
    assert len(set(texts)) == 1
    return texts[0]


def losses(path):
    return [record["loss"] for record in read(path / "metrics.jsonl") if "loss" in record]


def test_two_processes_are_one_run(tmp_path):
    alone = results(start(1, tmp_path / "one", 60, tmp_path / "a"), tmp_path / "a")
    together = results(start(2, tmp_path / "two", 60, tmp_path / "b"), tmp_path / "b")
    np.testing.assert_allclose(json.loads(together), json.loads(alone), rtol=1e-6)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-4, atol=1e-7)


def test_pairs_of_a_batch_that_two_processes_share(tmp_path):
    alone = results(start(1, tmp_path / "one", 12, tmp_path / "a", coupled), tmp_path / "a")
    together = results(start(2, tmp_path / "two", 12, tmp_path / "b", coupled), tmp_path / "b")
    np.testing.assert_allclose(json.loads(together), json.loads(alone), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-4)


def test_a_signal_to_one_stops_both_at_one_step_and_they_go_on(tmp_path):
    path, metrics = tmp_path / "run", tmp_path / "run" / "metrics.jsonl"
    processes = start(2, path, 100000, tmp_path / "c")
    end = time.monotonic() + 60
    while time.monotonic() < end and not (metrics.exists() and metrics.stat().st_size > 5000):
        time.sleep(0.05)
    os.kill(processes[1].pid, signal.SIGTERM)
    step = int(results(processes, tmp_path / "c"))
    assert str(step) in os.listdir(path / "checkpoints")
    results(start(2, path, step + 5, tmp_path / "d"), tmp_path / "d")
    assert read(metrics)[-1]["step"] == step + 5


TOY = "--config=configs/rectified_flow_toy2d.py:tiny"
LONG = ["--config.train.num_steps=100000", "--config.train.eval_every=0", "--config.train.log_every=1"]


def run(index, count, port, argv, out, what="run"):
    """launch.run, or another, as process `index` of `count`, one device each."""
    for name, stream in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(f"{out}-{index}.{name}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    os.chdir(conftest.ROOT)
    jax.config.update("jax_num_cpu_devices", 1)
    if count > 1:
        os.environ.update(distributed.variables(f"127.0.0.1:{port}", count, index))
    sys.argv[:] = [f"launch.{what}", *argv]
    try:
        runpy.run_module(f"launch.{what}", run_name="__main__", alter_sys=True)
    finally:
        jax.distributed.shutdown()


def begin(count, path, *argv, what="run"):
    """The processes of one run in the workdir `path`, under way."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [(index, count, port, [f"--workdir={path}", *argv], path, what) for index in range(count)]
    processes = [FORKS.Process(target=run, args=each) for each in arguments]
    for process in processes:
        process.start()
    return processes


def ended(processes, seconds=120):
    """Their exit codes."""
    for process in processes:
        process.join(seconds)
    return [process.exitcode for process in processes]


def wait_for(metrics, size, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (metrics.exists() and metrics.stat().st_size > size):
        time.sleep(0.02)
    assert metrics.exists() and metrics.stat().st_size > size


def said(path, index):
    return pathlib.Path(f"{path}-{index}.stderr").read_text()


def test_two_processes_read_groups_of_their_own_and_go_on_where_one_was_killed(tmp_path):
    x = pa.table({name: np.random.default_rng(i).normal(size=4000).astype(np.float32) for i, name in enumerate("abc")})
    columns = [shard_files.column(name) for name in x.column_names]
    shard_files.write(tmp_path / "table", {"train": x, "test": x}, columns, shard=1000, group=50, target=None)
    of = ["--config=configs/ddpm_tabular.py:tiny", "--config.data.name=shards", f"--config.data.dir={tmp_path}/table"]
    of += ["--config.data.batch_size=32", "--config.train.num_steps=1000", "--until=100", "--config.train.log_every=1"]
    of += ["--config.train.eval_every=0", "--config.train.checkpoint_every=20", "--heartbeat=10"]
    rows = {}
    for count in (1, 2):
        assert ended(begin(count, tmp_path / str(count), *of)) == [0] * count
        rows[count] = int(re.search(r"([\d,]+) rows read", said(tmp_path / str(count), 0))[1].replace(",", ""))
    np.testing.assert_allclose(losses(tmp_path / "2"), losses(tmp_path / "1"), rtol=1e-5)
    assert 0.4 < rows[2] / rows[1] < 0.6  # what the first of two has read
    processes = begin(2, tmp_path / "killed", *of)
    wait_for(tmp_path / "killed" / "metrics.jsonl", 2500)  # within the first epoch
    processes[1].kill()
    assert ended(processes)[0] != 0
    assert ended(begin(2, tmp_path / "killed", *of)) == [0, 0]
    assert "resumed at step" in said(tmp_path / "killed", 0)
    assert filecmp.cmp(*(tmp_path / name / "metrics.jsonl" for name in ("2", "killed")), shallow=False)


def test_the_same_command_on_one_process_and_on_two(tmp_path):
    argv = [TOY, "--config.train.log_every=1", "--config.train.num_steps=200", "--until=100"]
    for count in (1, 2):
        assert ended(begin(count, tmp_path / str(count), *argv)) == [0] * count
    alone, together = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert len(alone) == 100
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert said(tmp_path / "2", 1) == ""  # the first speaks for all
    assert json.loads((tmp_path / "2" / "versions.json").read_text())["processes"] == 2


def test_trees_of_two_processes_are_those_of_one(tmp_path):
    argv = ["--config=configs/gbdt_oblivious_california.py:tiny", "--config.mesh.data=-1"]
    for count in (1, 2):
        assert ended(begin(count, tmp_path / str(count), *argv)) == [0] * count
    for name in ("params.npz", "predictions.npz", "metrics.jsonl", "evaluation.json"):
        assert filecmp.cmp(tmp_path / "1" / name, tmp_path / "2" / name, shallow=False), name


def test_rounds_of_reflow_on_two_processes(tmp_path):
    """Both train, and the first draws the pairs."""
    path, fast = tmp_path / "run", ["--config.sampler.name=euler", "--config.sampler.num_samples=8"]
    argv = ["--config=configs/reflow_toy2d.py:tiny", "--notable", "--rounds=1", "--config.reflow.distill=()", *fast]
    assert ended(begin(2, path, *argv, what="reflow")) == [0, 0], said(path, 0) + said(path, 1)
    assert workdir.is_finished(path / "round_2") and list((path / "pairs_2").iterdir())
    assert said(path, 1) == "" and "round 2 of 2" in said(path, 0)


def test_a_mesh_that_leaves_a_process_out(tmp_path):
    processes = begin(2, tmp_path / "run", TOY, "--config.mesh.data=1", "--heartbeat=5")
    assert 2 in ended(processes)
    assert "1 x 1 leaves some of the 2 devices of 2 processes out: set mesh.data=-1" in said(tmp_path / "run", 0)


@pytest.mark.parametrize("victim, number, status", [(0, signal.SIGTERM, 75), (1, signal.SIGINT, 130)])
def test_a_signal_to_any_one_process_saves_one_step_and_says_so(victim, number, status, tmp_path):
    path = tmp_path / "run"
    processes = begin(2, path, TOY, *LONG)
    wait_for(path / "metrics.jsonl", 1000)
    os.kill(processes[victim].pid, number)
    codes = ended(processes)
    assert codes[victim] == status and codes[1 - victim] == 75
    steps = {said(path, i).strip().splitlines()[-1].split("step ")[1].split(";")[0] for i in range(2)}
    assert len(steps) == 1 and max(map(int, os.listdir(path / "checkpoints"))) == int(*steps)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_dies_or_hangs_ends_the_other_within_the_heartbeat(number, tmp_path):
    path = tmp_path / "run"
    first, second = begin(2, path, TOY, *LONG, "--heartbeat=5")
    wait_for(path / "metrics.jsonl", 1000)
    os.kill(second.pid, number)
    began = time.monotonic()
    first.join(60)
    took = time.monotonic() - began
    second.kill()
    assert first.exitcode not in (None, 0, 2, 75) and took < 15


def launcher(tasks, root, kill_after, settings):
    """local.run of tasks in this process; kills a process of the first as soon as its metrics are that long."""
    os.dup2(os.open(f"{root}/launcher.err", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
    os.chdir(conftest.ROOT)
    os.environ |= settings
    local.PARALLEL, local.NPROC = types.SimpleNamespace(value=1), types.SimpleNamespace(value=2)
    flags.FLAGS = types.SimpleNamespace(retries=1, heartbeat=10)
    start, jobs = local.processes.start, []
    local.processes.start = lambda *arguments: jobs.append(start(*arguments)) or jobs[-1]

    def kill():
        wait_for(tasks[0].workdir / "metrics.jsonl", kill_after)
        jobs[0].processes[1].kill()

    if kill_after:
        threading.Thread(target=kill).start()
    with open(f"{root}/results", "w") as file:
        file.write(repr(list(local.run(tasks, root, False))))


def test_the_launcher_starts_both_again_and_no_bit_differs(tmp_path):
    config = rectified_flow_toy2d.get_config("tiny")
    config.train.update({"num_steps": 60, "log_every": 1, "eval_every": 20, "checkpoint_every": 10})
    config.sampler.update({"name": "euler", "num_samples": 8})
    cache = {"JAX_COMPILATION_CACHE_DIR": f"{conftest.ROOT}/.cache/jax"}
    cache |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05"}
    for name, kill_after in (("whole", 0), ("killed", 1500)):
        root = tmp_path / name
        workdir.freeze(root / "trial", config)
        process = FORKS.Process(target=launcher, args=([Task("t", root / "trial")], root, kill_after, cache))
        process.start()
        assert ended([process], 300) == [0]
        assert (root / "results").read_text() == "[('t', {})]", (root / "launcher.err").read_text()
    assert "process 1 was killed by SIGKILL" in (tmp_path / "killed" / "launcher.err").read_text()
    assert "starts again: try 2 of 2" in (tmp_path / "killed" / "launcher.err").read_text()
    for name in ("params.npz", "samples.npz", "metrics.jsonl", "evaluation.json"):
        assert filecmp.cmp(tmp_path / "whole/trial" / name, tmp_path / "killed/trial" / name, shallow=False), name
