"""What every test shares: CPU, eight host devices, a compile cache that outlives the run, and a program to drive."""

import os
import pathlib
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile much and compute little: without LLVM's optimiser a small U-Net compiles in a fifth of the time.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from configs import base
from research import data
from research.contracts import Program
from research.data.source import from_arrays

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


@pytest.fixture(scope="module", autouse=True)
def _programs_are_let_go():
    """A compiled program holds some forty memory maps, of which Linux gives a process 65,530; beyond, it crashes."""
    yield
    jax.clear_caches()


def line_program():
    """Least squares on a line: a Program small enough to be driven a thousand steps a second."""

    def init(key):
        return {"w": jax.random.normal(key, (3,)), "step": jnp.zeros((), jnp.int32)}

    def step(state, batch):
        error = batch["x"] @ state["w"] - batch["y"]
        w = state["w"] - 0.05 * batch["x"].T @ error / len(error)
        bad = 1 - jnp.isfinite(w).all().astype(jnp.int32)
        return {"w": jnp.where(bad, state["w"], w), "step": state["step"] + 1}, {
            "loss": jnp.mean(error**2),
            "nonfinite": bad,
        }

    return Program(init, step, lambda state, key: {"eval/loss": float(state["w"] @ state["w"])}, explain=lambda *_: "w")


def line_source():
    """Fifty points on a line in three variables."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5], np.float32)
    return data.Source(50, lambda i: {"x": x[i], "y": y[i]})


def line_batches(seed=0, batch_size=8):
    """An endless, resumable iterator of batches for `line_program`."""
    return data.iterate(line_source(), batch_size, seed)


@pytest.fixture
def line():
    """(program, function that makes a fresh iterator)."""
    return line_program(), line_batches


@pytest.fixture
def loop_config():
    """A function: fields of `train` -> a locked config that `loop.run` takes."""

    def make(**train):
        fields = {"num_steps": 20, "log_every": 5, "eval_every": 10, "checkpoint_every": 5} | train
        mesh = base.update(base.mesh(), data=1)
        return base.config(train=base.update(base.train(), **fields), mesh=mesh, precision=base.precision())

    return make


@pytest.fixture
def vectors():
    """A Source of 64 labelled vectors."""
    rng = np.random.default_rng(0)
    return from_arrays(rng.normal(size=(64, 2)).astype(np.float32), rng.integers(0, 3, 64).astype(np.int32))
