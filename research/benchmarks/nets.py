"""What the structure of the large nets costs: compile time against depth, arithmetic against the count, memory."""

import statistics
import time

import jax
import jax.numpy as jnp

from research.nets import cost
from research.nets.dit import SIZES, DiT
from research.nets.unet import UNet

ROUNDS, BATCH = 3, 8
QUICK = {"ROUNDS": 1}
DDPM = UNet(channels=(128, 256, 256, 256), blocks=2, attention=(16,), head_dim=256, scale_shift=False)


def lowered(net, shape, batch):
    """(lowered value-and-gradient step, analytic arithmetic of a step: three forward calls)."""
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((batch, *shape), (batch,))]
    params = jax.eval_shape(net.init, jax.random.key(0), *shapes)
    step = jax.jit(jax.value_and_grad(lambda params, *a: jnp.mean(net.apply(params, *a) ** 2)))
    return step.lower(params, *shapes), 3 * cost.flops(net.apply, params, *shapes)


def compile_seconds(depth):
    """Seconds to trace, lower and compile the step of a DiT of width 384 and `depth` blocks, nothing cached."""
    jax.clear_caches()
    start = time.perf_counter()
    lowered(DiT(**SIZES["S"] | {"depth": depth}), (32, 32, 4), BATCH)[0].compile()
    return time.perf_counter() - start


def main():
    """A dict: the ratio of compile times at 48 and 12 blocks, of compiled to counted arithmetic, of memory by remat."""
    jax.config.update("jax_enable_compilation_cache", False)
    pairs = [(compile_seconds(12), compile_seconds(48)) for _ in range(ROUNDS)]
    result = {"compile_12_s": [a for a, _ in pairs], "compile_48_s": [b for _, b in pairs]}
    result["compile_ratio"] = statistics.median(b / a for a, b in pairs)
    for name, net, shape in (("unet_ddpm", DDPM, (32, 32, 3)), ("dit_s", DiT(**SIZES["S"], unroll=12), (32, 32, 4))):
        step, counted = lowered(net, shape, BATCH)
        result[f"flops_ratio_{name}"] = step.compile().cost_analysis()["flops"] / counted
    plain, again = (
        lowered(DiT(**SIZES["S"], remat=remat), (32, 32, 4), BATCH)[0].compile().memory_analysis().temp_size_in_bytes
        for remat in (False, True)
    )
    return result | {"remat_memory_ratio": again / plain, "batch": BATCH, "device": jax.devices()[0].device_kind}
