"""Two processes that are one run: the same numbers as one process, and one step at which both stop and save."""

import json
import os
import pathlib
import signal
import socket
import time

import jax
import numpy as np
import pytest

from configs import base, ot_flow_toy2d
from research import data, experiment, interrupts, loop
from research.metrics_writer import read
from tests import conftest
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
        jax.distributed.initialize(address, num_processes=count, process_id=index, heartbeat_timeout_seconds=10)
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
    return [record["loss"] for record in read(path / "metrics.jsonl")]


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
