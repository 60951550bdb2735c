"""What the loop costs over a bare loop of the same jitted step, both fed the same batches from memory."""

import itertools
import pathlib
import statistics
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

from configs import base
from research import loop
from research.contracts import Program

STEPS, ROUNDS, WIDTH = 1000, 15, 224
QUICK = {"ROUNDS": 5}


def program():
    """A step of about 1 ms on a CPU: matrix products of a state that is donated."""

    def init(key):
        return {"w": jnp.eye(WIDTH), "step": jnp.zeros((), jnp.int32)}

    def step(state, batch):
        w = state["w"]
        for _ in range(4):
            w = jnp.tanh(w @ batch["x"])
        metrics = {"loss": jnp.mean(w), "grad_norm": jnp.sum(w), "nonfinite": jnp.zeros((), jnp.int32)}
        return {"w": w, "step": state["step"] + 1}, metrics

    return Program(init, step, lambda state, key: {})


def bare(item, batches):
    """Seconds of STEPS calls with nothing around them, after the compilation."""
    step = jax.jit(item.step, donate_argnums=0)
    state, _ = step(item.init(jax.random.key(0)), next(batches))
    jax.block_until_ready(state)
    start = time.perf_counter()
    for _ in range(STEPS):
        state, metrics = step(state, next(batches))
    jax.block_until_ready((state, metrics))
    return time.perf_counter() - start


def driven(item, batches):
    """Seconds of the same calls inside `loop.run`, from its own timing of the first to the last logged step."""
    marks = []

    class Timed:
        """The iterator, noting when the second and the last batch were asked for."""

        def __iter__(self):
            return self

        def __next__(self):
            marks.append(time.perf_counter())
            return next(batches)

        def get_state(self):
            return b"{}"

    train = base.update(base.train(), num_steps=STEPS + 1, eval_every=0, checkpoint_every=0)
    config = base.config(train=train, mesh=base.update(base.mesh(), data=1), precision=base.precision())
    with tempfile.TemporaryDirectory() as folder:
        loop.run(item, Timed(), config, pathlib.Path(folder))
    return marks[-1] - marks[1]


def main():
    """A dict: milliseconds a step of both in their fastest of alternating rounds, and the ratio of these two.

    Other work on a machine only ever adds time, so the fastest rounds compare the loops themselves; the median ratio of
    neighbouring rounds and its quartiles say how noisy the machine was.
    """
    batch = {"x": np.eye(WIDTH, dtype=np.float32)}
    item, batches = program(), itertools.repeat(batch)
    pairs = [(bare(item, batches), driven(item, batches)) for _ in range(ROUNDS)]
    fastest = [min(times) for times in zip(*pairs)]
    quartiles = statistics.quantiles([b / a for a, b in pairs], n=4)
    return {
        "bare_ms": 1e3 * fastest[0] / STEPS,
        "loop_ms": 1e3 * fastest[1] / STEPS,
        "ratio": fastest[1] / fastest[0],
        "ratio_median": quartiles[1],
        "ratio_quartiles": [quartiles[0], quartiles[2]],
        "steps": STEPS,
        "rounds": ROUNDS,
        "device": jax.devices()[0].device_kind,
    }
