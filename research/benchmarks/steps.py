"""What a training step of the experiments costs on this device: time, arithmetic, memory and compilation.

Batches are generated in the shape of the real ones and stay on the device. The environment variable STEPS_CONFIGS picks
rows by their names, with commas between. `mfu` is the counted arithmetic over the card's peak in bfloat16.
"""

import importlib
import statistics
import time

import jax

from configs import base
from research import benchmarks, data, experiment, precision
from research.nets import cost

ONLY, SECONDS, ROUNDS = "STEPS_CONFIGS", 4.0, 5
QUICK = {ONLY: "nice_mnist"}
PEAK = {"NVIDIA H100 80GB HBM3": 989.0, "NVIDIA H200": 989.0}  # dense bfloat16 TFLOP/s, by their data sheets
DIT, FUSED = "rectified_flow_imagenet64_dit", {"attention": "cudnn"}
CONFIGS = {  # row: (config, shape of an example, examples a step, changes of net.dit); pods take more examples
    "nice_mnist": ("nice_mnist", (28, 28, 1), 256, {}),
    "realnvp_cifar10": ("realnvp_cifar10", (32, 32, 3), 64, {}),
    "glow_cifar10": ("glow_cifar10", (32, 32, 3), 64, {}),
    "jet_imagenet64": ("jet_imagenet64", (64, 64, 3), 64, {}),
    "ddpm_cifar10": ("ddpm_cifar10", (32, 32, 3), 128, {}),
    "edm_cifar10": ("edm_cifar10", (32, 32, 3), 128, {}),
    "dit_b": (DIT, (64, 64, 3), 256, {"width": 768, "depth": 12, "heads": 12}),
    "dit_xl": (DIT, (64, 64, 3), 128, {}),
    "dit_b_fused": (DIT, (64, 64, 3), 256, {"width": 768, "depth": 12, "heads": 12, "unroll": 12} | FUSED),
    "dit_xl_fused": (DIT, (64, 64, 3), 128, {"unroll": 28} | FUSED),
}


def built(name, shape, batch_size, changes):
    """The Experiment of configs/NAME.py with changes of its `net.dit`, on generated images of that shape."""
    config = importlib.import_module(f"configs.{name}").get_config()
    if changes:
        base.update(config.net.dit, **changes)
    fields = {"name": "synthetic", "shape": shape, "levels": 256, "num_classes": 10, "size": 2 * batch_size}
    base.update(config.data, batch_size=batch_size, **fields)
    return experiment.build(config)


def measured(name, shape, batch_size, changes):
    """{"ms": of a step, the median of ROUNDS, and what else there is to know of it}."""
    made = built(name, shape, batch_size, changes)
    precision.apply(made.config.precision)
    batch = jax.device_put(next(data.epochs(made.dataset.train, batch_size)))
    state = jax.jit(made.program.init)(jax.random.key(0))
    plain = built(name, shape, batch_size, changes and changes | {"attention": "xla"})  # a fused one cannot be counted
    forward = cost.flops(plain.model.loss, made.program.params(state), jax.random.key(0), batch)
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
    memory, rate = step.memory_analysis(), 3e-9 * forward / statistics.median(ms)  # thrice its forward count
    peak = PEAK.get(jax.devices()[0].device_kind)
    return {
        "batch": batch_size,
        "ms": statistics.median(ms),
        "spread": max(ms) / min(ms),
        "examples_per_s": 1e3 * batch_size / statistics.median(ms),
        "parameters": cost.parameters(made.program.params(state)),
        "tflops": rate,
        **({"mfu": rate / peak} if peak else {}),
        "compile_s": compiled,
        "mib": (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 2**20,
    }


def main():
    """A dict: for each experiment what its step takes."""
    jax.config.update("jax_enable_compilation_cache", False)
    fused = jax.default_backend() == "gpu"
    here = [name for name, (*_, changes) in CONFIGS.items() if fused or "attention" not in changes]
    wanted = benchmarks.picked(ONLY, here)
    rows = {name: measured(*CONFIGS[name]) for name in wanted}
    return {"device": jax.devices()[0].device_kind, "jax": jax.__version__, **rows}
