"""What a training step of the experiments costs on this device: time, arithmetic, memory and compilation.

Batches are generated in the shape of the real ones and stay on the device. The environment variable STEPS_CONFIGS picks
configs by their names, with commas between.
"""

import importlib
import os
import statistics
import time

import jax

from configs import base
from research import data, experiment, precision
from research.errors import UserError, nearest
from research.nets import cost

ONLY, SECONDS, ROUNDS = "STEPS_CONFIGS", 4.0, 5
CONFIGS = {  # name: (shape of an example, examples a step); pods take more of them
    "nice_mnist": ((28, 28, 1), 256),
    "realnvp_cifar10": ((32, 32, 3), 64),
    "glow_cifar10": ((32, 32, 3), 64),
    "jet_imagenet64": ((64, 64, 3), 64),
    "ddpm_cifar10": ((32, 32, 3), 128),
    "edm_cifar10": ((32, 32, 3), 128),
    "rectified_flow_imagenet64_dit": ((64, 64, 3), 128),
}


def built(name, shape, batch_size):
    """The Experiment of configs/NAME.py, on generated images of that shape."""
    config = importlib.import_module(f"configs.{name}").get_config()
    fields = {"name": "synthetic", "shape": shape, "levels": 256, "num_classes": 10, "size": 2 * batch_size}
    base.update(config.data, batch_size=batch_size, **fields)
    return experiment.build(config)


def measured(name, shape, batch_size):
    """{"ms": of a step, the median of ROUNDS, and what else there is to know of it}."""
    made = built(name, shape, batch_size)
    precision.apply(made.config.precision)
    batch = jax.device_put(next(data.epochs(made.dataset.train, batch_size)))
    state = jax.jit(made.program.init)(jax.random.key(0))
    forward = cost.flops(made.model.loss, made.program.params(state), jax.random.key(0), batch)
    begin = time.perf_counter()
    step = jax.jit(made.program.step, donate_argnums=0).lower(state, batch).compile()
    compiled = time.perf_counter() - begin

    def run(count):
        nonlocal state
        begin = time.perf_counter()
        for _ in range(count):
            state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))
        return (time.perf_counter() - begin) / count

    run(2)
    count = max(1, int(SECONDS / ROUNDS / run(2)))
    ms = [1e3 * run(count) for _ in range(ROUNDS)]
    memory = step.memory_analysis()
    return {
        "batch": batch_size,
        "ms": statistics.median(ms),
        "spread": max(ms) / min(ms),
        "examples_per_s": 1e3 * batch_size / statistics.median(ms),
        "tflops": 3e-9 * forward / statistics.median(ms),  # a step is three times its forward count
        "compile_s": compiled,
        "mib": (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 2**20,
    }


def main():
    """A dict: for each experiment what its step takes."""
    jax.config.update("jax_enable_compilation_cache", False)
    wanted = list(filter(None, os.environ.get(ONLY, "").split(","))) or list(CONFIGS)
    for name in wanted:
        if name not in CONFIGS:
            raise UserError(f"{ONLY} names the config '{name}'; {nearest(name, CONFIGS)}")
    rows = {name: measured(name, *CONFIGS[name]) for name in wanted}
    return {"device": jax.devices()[0].device_kind, "jax": jax.__version__, **rows}
