"""Coupling flows beside other libraries': a training step, sampling, compilation; and what depth costs ours."""

import statistics
import time

import jax
from ml_collections import config_dict

from configs import base
from research.benchmarks import flow_peers
from research.benchmarks.flow_peers import Contestant, Images, Vectors
from research.benchmarks.flow_peers.compiled import compiled
from research.models import glow, realnvp
from research.nets import cost as costs

ROUNDS, DEEP = 30, 64
QUICK = {"ROUNDS": 7}
SIZES = {"vectors": Vectors(), "images": Images()}


def ours(sizes, reversible=None):
    """(Model, one batch of normal numbers) of the same flow by research.models."""
    if isinstance(sizes, Vectors):
        module, shape, own = realnvp, (2,), {"couplings": sizes.couplings, "scale": "exp", "batch_norm": False}
    else:
        module, shape, own = glow, (sizes.side, sizes.side, 3), {"levels": sizes.levels, "steps": sizes.steps}
    model = base.update(getattr(base, module.__name__.rpartition(".")[2])(), **own)
    model.reversible = isinstance(sizes, Vectors) if reversible is None else reversible
    base.update(model.conditioner, width=sizes.width)
    data = {"name": "normal numbers", "levels": None, "num_classes": None}
    config = config_dict.FrozenConfigDict({"data": data, "model": model.to_dict(), "sampler": {"temperature": 1.0}})
    return module.make(config, shape), jax.random.normal(jax.random.key(1), (sizes.batch, *shape))


def build(sizes):
    """What a contestant's build returns, of our model."""
    model, x = ours(sizes)
    key = jax.random.key(0)
    params = jax.jit(model.init)(key, {"x": x})
    fixed = {name: value for name, value in params.items() if name != "params"}

    def loss(trained, x):
        return model.loss({**fixed, "params": trained}, key, {"x": x})[0]

    def draw(trained, key):
        return model.sample({**fixed, "params": trained}, key, sizes.batch).x

    return compiled(loss, draw, params["params"], x)


def compared(sizes):
    """{contestant: compile_s, step_ms, sample_ms, their quartiles}, all taking turns, and ours against the fastest."""
    found, about = flow_peers.contestants(sizes)
    built = {name: make() for name, make in [Contestant("ours", lambda: build(sizes)), *found]}
    times = {(name, what): [] for name in built for what in ("step", "sample")}
    for _ in range(ROUNDS):
        for name, (_, *calls) in built.items():
            for what, call in zip(("step", "sample"), calls):
                start = time.perf_counter()
                call()
                times[name, what].append(1e3 * (time.perf_counter() - start))
    rows = {name: {"compile_s": seconds} for name, (seconds, *_) in built.items()}
    for (name, what), found in times.items():
        low, middle, high = statistics.quantiles(found, n=4)
        rows[name] |= {f"{what}_ms": middle, f"{what}_ms_quartiles": [low, high]}
    ratios = {
        f"{what}_over_ours": {
            n: statistics.median(a / b for a, b in zip(times[n, what], times["ours", what])) for n in rows
        }
        for what in ("step", "sample")
    }
    return {"sizes": sizes._asdict(), "peers": about, **rows, **ratios}


def cost(couplings, reversible):
    """(seconds to compile, temporary bytes, bytes of parameters) of a step of RealNVP of that depth; nothing cached."""
    model, x = ours(SIZES["vectors"]._replace(couplings=couplings), reversible)
    params = jax.eval_shape(model.init, jax.random.key(0), {"x": x})["params"]

    def loss(params, x):
        return model.loss({"params": params}, jax.random.key(0), {"x": x})[0]

    seconds = []
    for _ in range(3):
        jax.clear_caches()
        start = time.perf_counter()
        program = jax.jit(jax.value_and_grad(loss)).lower(params, x).compile()
        seconds.append(time.perf_counter() - start)
    temporary = program.memory_analysis().temp_size_in_bytes
    return statistics.median(seconds), temporary, 4 * costs.parameters(params)


def depth():
    """What 64 couplings of vectors cost over 8: seconds to compile, temporary bytes; plain and reversible."""
    result = {}
    for name, reversible in (("plain", False), ("reversible", True)):
        few, many = cost(8, reversible), cost(DEEP, reversible)
        kinds = zip(("compile_s", "temporary_bytes", "parameter_bytes"), few, many)
        result[name] = {kind: {"8": a, str(DEEP): b, "ratio": b / a} for kind, a, b in kinds}
    return result


def deep():
    """Seconds to compile the training step of 64 couplings of vectors, ours and the peers'."""
    sizes = SIZES["vectors"]._replace(couplings=DEEP)
    found, _ = flow_peers.contestants(sizes)
    return {name: make()[0] for name, make in [Contestant("ours", lambda: build(sizes)), *found]}


def main():
    """A dict: rows and ratios of RealNVP of vectors and Glow of images, compilation at depth 64, what depth costs."""
    jax.config.update("jax_enable_compilation_cache", False)
    result = {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
    result |= {name: compared(sizes) for name, sizes in SIZES.items()}
    return result | {f"compile_s_at_{DEEP}": deep(), "depth": depth()}
