"""The loop drives any Program, and what it leaves does not depend on how often it was stopped."""

import inspect
import json
import os
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from research import interrupts, loop
from research.contracts import Program
from research.errors import UserError
from research.metrics_writer import read
from tests import conftest
from tests.processes import FORKS


def lines(workdir):
    return (workdir / "metrics.jsonl").read_text()


def test_it_is_one_function_of_at_most_a_hundred_lines():
    source = inspect.getsource(loop)
    assert source.count("\n") <= 100
    assert "class " not in source.replace('"""', "").split("def run")[1]


def test_learns_records_and_keeps_the_newest(line, loop_config, tmp_path):
    program, batches = line
    state = loop.run(program, batches(), loop_config(num_steps=200, keep_last=2), tmp_path)
    np.testing.assert_allclose(state["w"], [1.0, -2.0, 0.5], atol=0.05)
    records = read(tmp_path / "metrics.jsonl")
    assert [r["step"] for r in records if "loss" in r] == list(range(5, 201, 5))
    assert [r["step"] for r in records if "eval/loss" in r] == list(range(10, 201, 10))
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["195", "200"]
    assert {r["step"] for r in read(tmp_path / "timing.jsonl")} == {r["step"] for r in records}
    assert any(name.startswith("events") for name in os.listdir(tmp_path / "tensorboard"))


def test_keeps_the_best_too(line, loop_config, tmp_path):
    program, batches = line
    scores = iter([3.0, 1.0, 2.0, 4.0])
    program = program._replace(evaluate=lambda *_: {"eval/loss": next(scores)})
    config = loop_config(num_steps=20, eval_every=5, keep_last=1, keep_best="eval/loss")
    loop.run(program, batches(), config, tmp_path)
    assert sorted(map(int, os.listdir(tmp_path / "checkpoints"))) == [10, 20]


class Killed(BaseException):
    pass


def interrupted(program, at):
    """The program, stopped dead in the evaluation of a step, as a kill would."""

    def evaluate(state, key):
        if int(state["step"]) == at:
            raise Killed
        return program.evaluate(state, key)

    return program._replace(evaluate=evaluate)


def test_it_ends_where_it_is_told_and_goes_on_from_there(line, loop_config, tmp_path):
    program, batches = line
    config = loop_config(num_steps=23, log_every=1, eval_every=0, checkpoint_every=0)
    whole = loop.run(program, batches(), config, tmp_path / "whole")
    part = loop.run(program, batches(), config, tmp_path / "parts", until=7)
    assert int(part["step"]) == 7 and os.listdir(tmp_path / "parts" / "checkpoints") == ["7"]
    assert "eval/loss" in read(tmp_path / "parts" / "metrics.jsonl")[-1]
    parts = loop.run(program, batches(), config, tmp_path / "parts", until=99)
    assert np.array_equal(whole["w"], parts["w"]) and read(tmp_path / "parts" / "metrics.jsonl")[-1]["step"] == 23


def test_a_resumed_run_ends_with_the_same_bits_and_the_same_lines(line, loop_config, tmp_path):
    program, batches = line
    whole = loop.run(program, batches(), loop_config(num_steps=60, log_every=1), tmp_path / "whole")
    for stop in (10, 30, 40):
        with pytest.raises(Killed):
            loop.run(interrupted(program, stop), batches(), loop_config(num_steps=60, log_every=1), tmp_path / "parts")
    parts = loop.run(program, batches(), loop_config(num_steps=60, log_every=1), tmp_path / "parts")
    assert np.array_equal(whole["w"], parts["w"])
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert lines(tmp_path / "whole").count("\n") == 60 + 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_at_the_step_it_arrived(line, loop_config, tmp_path, number):
    program, batches = line
    config, asked = loop_config(num_steps=300, checkpoint_every=0, eval_every=0, log_every=300), []

    def step(state, batch):
        jax.debug.callback(
            lambda k: k == 12 and not asked and asked.append(os.kill(os.getpid(), number)), state["step"]
        )
        return program.step(state, batch)

    with pytest.raises(interrupts.Preempted) as stop:
        loop.run(program._replace(step=step), batches(), config, tmp_path)
    assert stop.value.signal == number
    assert os.listdir(tmp_path / "checkpoints") == [str(stop.value.step)]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # handlers are given back
    resumed = loop.run(program, batches(), config, tmp_path)
    whole = loop.run(program, batches(), config, tmp_path / "whole")
    assert np.array_equal(resumed["w"], whole["w"])


def test_stops_where_numbers_are_not_finite(line, loop_config, tmp_path):
    program, batches = line

    def step(s, batch):
        new, metrics = program.step(s, batch)
        bad = jnp.where(s["step"] == 12, 7, 0)
        return {**new, "step": jnp.where(bad, s["step"], new["step"])}, {**metrics, "nonfinite": bad}

    broken = program._replace(step=step, explain=lambda s, code, batch: f"tensor {code} of {len(batch['x'])}")
    with pytest.raises(UserError, match=r"step 13: tensor 7 of 8 is not finite; the last good checkpoint is 10"):
        loop.run(broken, batches(), loop_config(num_steps=50), tmp_path)
    assert max(map(int, os.listdir(tmp_path / "checkpoints"))) == 10


def test_a_constant_batch_and_64_bit_programs(loop_config, tmp_path):
    """Boosting: the same table every step, sums in 64 bits inside, 32 bits at the border."""

    def step(total, batch):
        wide = jnp.sum(batch["x"].astype(jnp.float64) + 1e-9)
        return total + 1, {
            "wide": jnp.float32(wide.dtype == jnp.float64),
            "loss": (wide * 1e9 % 10).astype(jnp.float32),
        }

    program = Program(lambda key: jnp.zeros((), jnp.int32), step, lambda *_: {}, x64=True)
    total = loop.run(program, {"x": np.ones(4, np.float32)}, loop_config(), tmp_path)
    assert total == 20
    assert not jax.config.jax_enable_x64
    first = json.loads(lines(tmp_path).splitlines()[0])
    assert first["wide"] == 1.0
    assert first["loss"] == pytest.approx(4.0, abs=0.1)  # 32-bit sums would have lost the 1e-9 per entry


def test_dispatches_ahead_of_the_numbers_it_reads(line, loop_config, tmp_path, monkeypatch):
    """The order of events: step k + 1 is dispatched before the numbers of step k are fetched."""
    program, batches = line
    events, run_jit = [], jax.jit

    class Flag:
        def __init__(self, step):
            self.step = step

        def __int__(self):
            events.append(("read", self.step))
            return 0

    def jit(function, **options):
        if function is not program.step:
            return run_jit(function, **options)
        compiled, count = run_jit(function, **options), iter(range(1, 1000))

        def call(*arguments):
            k = next(count)
            events.append(("dispatch", k))
            state, metrics = compiled(*arguments)
            return state, {**metrics, "nonfinite": Flag(k)}

        return call

    monkeypatch.setattr(loop.jax, "jit", jit)
    loop.run(program, batches(), loop_config(num_steps=8, checkpoint_every=0, eval_every=0), tmp_path)
    assert events[:5] == [("dispatch", 1), ("dispatch", 2), ("read", 1), ("dispatch", 3), ("read", 2)]
    assert events[-1] == ("read", 8)


def test_profile_writes_a_trace(line, loop_config, tmp_path):
    program, batches = line
    loop.run(program, batches(), loop_config(num_steps=6), tmp_path, profile=(2, 4))
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("until, traced", [(3, True), (5, False)])
def test_a_profile_of_a_run_that_goes_on_has_what_is_left_of_it(line, loop_config, tmp_path, until, traced):
    program, batches = line
    config = loop_config(num_steps=6)
    loop.run(program, batches(), config, tmp_path, until=until)
    loop.run(program, batches(), config, tmp_path, profile=(2, 4))
    assert any((tmp_path / "profile").rglob("*.xplane.pb")) == traced


def test_a_best_metric_that_is_not_there_is_said_at_the_first_evaluation(line, loop_config, tmp_path):
    program, batches = line
    with pytest.raises(UserError, match="train.keep_best='eval/los'; did you mean 'eval/loss'"):
        loop.run(program, batches(), loop_config(num_steps=20, eval_every=5, keep_best="eval/los"), tmp_path)
    loop.run(program, batches(), loop_config(num_steps=20, eval_every=5, keep_best="eval/loss"), tmp_path)


def drive(path, folder):
    """Three hundred steps in a process of their own; the weights are left in a file."""
    os.dup2(os.open(f"{folder}/stderr", os.O_CREAT | os.O_WRONLY), 2)
    train = base.update(base.train(), num_steps=300, log_every=1, eval_every=20, checkpoint_every=7)
    mesh = base.update(base.mesh(), data=1)
    config = base.config(train=train, mesh=mesh, precision=base.precision())
    state = loop.run(conftest.line_program(), conftest.line_batches(), config, path)
    np.save(path / "w.npy", state["w"])


def test_sigkill_at_random_moments(tmp_path):
    """Killed, started again, killed ...: the end is the same bit for bit."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for path in (whole, parts):
        path.mkdir()

    def start(path):
        process = FORKS.Process(target=drive, args=(path, tmp_path))
        process.start()
        return process

    start(whole).join()
    rng, kills, metrics = np.random.default_rng(0), 0, parts / "metrics.jsonl"
    for size in np.cumsum(rng.integers(1500, 5000, 3)):
        process = start(parts)
        while process.is_alive() and (not metrics.exists() or metrics.stat().st_size < size):
            time.sleep(0.002)
        kills += process.is_alive()
        process.kill()
        process.join()
    start(parts).join()
    assert kills == 3
    assert np.array_equal(np.load(whole / "w.npy"), np.load(parts / "w.npy"))
    assert lines(whole) == lines(parts) and lines(whole).count("\n") == 300 + 15
