"""What samplers cost beside the calls of their net, diffusers beside them, and steps of diffrax beside a scan.

The net is the demo's U-Net, fresh: it answers 0, which costs what any answer costs.
"""

import functools
import os
import statistics
import time

import jax
import jax.numpy as jnp

from research import noise, parameterize, samplers
from research.benchmarks import sampler_peers
from research.nets import cost
from research.nets.mlp import MLP
from research.nets.unet import UNet

ROUNDS, BATCH, STEPS, SDE_STEPS = 15, 64, 50, 200
QUICK = {"ROUNDS": 5}
SIDE, WIDTHS = 8, (16, 32)
FIXED = ("ddim", "ddpm", "euler", "heun", "dpm_solver_pp")
UNET, PERCEPTRON = UNet(channels=WIDTHS, blocks=1), MLP(width=64, depth=2)


def start(net, shape):
    """(params, x [BATCH, *shape]) of a fresh net."""
    x = jax.random.normal(jax.random.key(1), (BATCH, *shape))
    return jax.jit(net.init)(jax.random.key(0), x, jnp.zeros(BATCH)), x


def drawing(name, net, params, x, process, num_steps):
    """(call() -> None that draws a batch by that sampler and waits for it, {seconds to compile, calls of the net})."""

    def draw(params, x, key):
        field = parameterize.field(lambda x, t: net.apply(params, x, t), process, "eps")
        out = samplers.find(name)(field, process, x, noise.times(process, num_steps), key)
        return out.x, out.nfe

    key, begin = jax.random.key(2), time.perf_counter()
    program = jax.jit(draw).lower(params, x, key).compile()
    about = {"compile_s": time.perf_counter() - begin, "calls": float(program(params, x, key)[1])}
    return lambda: jax.block_until_ready(program(params, x, key)), about


def calling(net, params, x):
    """call() -> None of STEPS calls of the jitted net, each on what the one before gave, as a sampler has them."""
    apply, t = jax.jit(net.apply), jnp.full(BATCH, 0.5)

    def call():
        jax.block_until_ready(functools.reduce(lambda y, _: apply(params, y, t), range(STEPS), x))

    return call


def turns(calls, rounds=None):
    """{name: [milliseconds] of ROUNDS} of calls that take turns, after one of each that is not counted."""
    times = {name: [] for name in calls}
    for i in range((rounds or ROUNDS) + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if i:
                times[name].append(1e3 * (time.perf_counter() - begin))
    return times


def ratio(times, others, scale=1.0):
    """The median and quartiles of times over scale x others, turn by turn; of one turn three times its own."""
    ratios = [a / (scale * b) for a, b in zip(times, others)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {"ratio": middle, "quartiles": [low, high]}


def fixed():
    """Rows of the samplers over their calls of the net, and of diffusers over ours, all taking turns."""
    params, x = start(UNET, (SIDE, SIDE, 1))
    built = {name: drawing(name, UNET, params, x, noise.discrete(noise.alpha_bar()), STEPS) for name in FIXED}
    sizes = {"batch": BATCH, "side": SIDE, "channels": 1, "widths": WIDTHS, "steps": STEPS}
    peers, version = sampler_peers.contestants(sizes)
    theirs = {name: ask("build") for name, ask in peers.items()}
    calls = {"net": calling(UNET, params, x)} | {name: call for name, (call, _) in built.items()}
    calls |= {(name, what): lambda a=ask, w=what: a(w) for name, ask in peers.items() for what in ("net", "sample")}
    times = turns(calls)
    ms = {name: statistics.median(found) for name, found in times.items()}
    ours = {"parameters": cost.parameters(params), "flops": cost.flops(UNET.apply, params, x, jnp.zeros(BATCH))}
    ours["net_ms"] = ms["net"] / STEPS
    for name, (_, about) in built.items():
        ours[name] = {"ms": ms[name], **about, **ratio(times[name], times["net"], about["calls"] / STEPS)}
    for name, row in theirs.items():
        net, sample = (name, "net"), (name, "sample")
        row |= {"net_ms": ms[net] / STEPS, "sample_ms": ms[sample], "own": ratio(times[sample], times[net])}
        row |= {"net_over_ours": ratio(times[net], times["net"]), "over_ours": ratio(times[sample], times["ddim"])}
    return {"over_net": ours, "diffusers": theirs, "peers": {"diffusers": version}}


def sde():
    """Rows of the reverse SDE in equal steps: diffrax's over a scan's, for the U-Net and for a perceptron."""
    result, process, names = {}, noise.vp(), ("euler_maruyama", "reverse_sde")
    for what, net, shape in (("unet", UNET, (SIDE, SIDE, 1)), ("mlp", PERCEPTRON, (2,))):
        params, x = start(net, shape)
        built = {name: drawing(name, net, params, x, process, SDE_STEPS) for name in names}
        times = turns({name: call for name, (call, _) in built.items()})
        rows = {name: {"ms": statistics.median(times[name]), **built[name][1]} for name in names}
        result[what] = rows | ratio(*(times[name] for name in reversed(names)))
    return result


def main():
    """A dict: samplers over the net they call, diffusers over ours, diffrax's SDE steps over a scan's; and the load."""
    jax.config.update("jax_enable_compilation_cache", False)
    result = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "load": os.getloadavg()[0]}
    return result | fixed() | {"reverse_sde": sde(), "batch": BATCH, "steps": STEPS, "sde_steps": SDE_STEPS}
