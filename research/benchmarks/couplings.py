"""What pairing a batch of 256 costs over a whole training step: the demo's U-Net on digits, a perceptron on points.

POT (`ot`), where it can be imported, pairs the same batch outside of XLA.
"""

import functools
import os
import statistics

import jax
import jax.numpy as jnp
import numpy as np

from configs import rectified_flow_digits, rectified_flow_toy2d
from research import benchmarks, data, experiment, transport
from research.benchmarks.samplers import ratio, turns

BATCH, ITERATIONS, EPSILON, ROUNDS = 256, 50, 0.05, 15
QUICK = {"ROUNDS": 5}
CASES = {"digits": rectified_flow_digits.get_config, "points": rectified_flow_toy2d.get_config}


def training(config):
    """(call() -> None of one jitted step, data x0 [BATCH, ...] on the net's scale, classes or None) of a config."""
    config.data.batch_size = BATCH
    built = experiment.build(config)
    batch = next(data.epochs(built.dataset.train, BATCH))
    step = jax.jit(built.program.step, donate_argnums=0)
    state = [jax.jit(built.program.init)(jax.random.key(0))]

    def call():
        state[0], metrics = step(state[0], batch)
        jax.block_until_ready((state[0], metrics))

    levels = built.config.data.levels
    x = np.asarray(batch["x"], np.float32)
    return call, jnp.asarray(2 * (x + 0.5) / levels - 1 if levels else x), batch.get("condition")


def pairings(x0, label):
    """{name: call() -> None} of ours, jitted, on x0 and as much noise."""
    x1, key = jax.random.normal(jax.random.key(1), x0.shape), jax.random.key(2)
    options = {"epsilon": EPSILON, "num_iters": ITERATIONS}
    ways = {"exact": transport.exact_pairs, "sinkhorn": functools.partial(transport.sinkhorn_pairs, key=key, **options)}
    labels = {"": None} | ({} if label is None else {"_by_class": jnp.asarray(label)})

    def jitted(way, label):
        pair = jax.jit(lambda x0, x1: way(x0, x1, label=label))
        return lambda: jax.block_until_ready(pair(x0, x1))

    return {name + end: jitted(way, label) for name, way in ways.items() for end, label in labels.items()}


def peers(x0):
    """({name: call() -> None} of POT on the same numbers and as many iterations, its version or why it is absent)."""
    if why := benchmarks.unasked("pot"):
        return {}, why
    try:
        import ot
    except ImportError as error:
        return {}, f"absent: {error}"
    x0, x1 = (np.asarray(x).reshape(BATCH, -1) for x in (x0, jax.random.normal(jax.random.key(1), x0.shape)))
    mass, rng = np.full(BATCH, 1 / BATCH), np.random.default_rng(0)

    def exact():
        return ot.emd(mass, mass, ot.dist(x0, x1)).argmax(axis=1)

    def sinkhorn():
        cost = ot.dist(x0, x1)
        options = {"numItermax": ITERATIONS, "stopThr": 0, "warn": False}
        below = ot.sinkhorn(mass, mass, cost, EPSILON * cost.mean(), **options).cumsum(axis=1)
        return (below <= rng.random((BATCH, 1)) * below[:, -1:]).sum(axis=1)

    return {"pot_exact": exact, "pot_sinkhorn": sinkhorn}, ot.__version__


def main():
    """A dict: for each case milliseconds of a step, and of each pairing also its ratio to a step, all taking turns."""
    result = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "load": os.getloadavg()[0]}
    for case, config in CASES.items():
        step, x0, label = training(config())
        theirs, version = peers(x0)
        result["peers"] = {"pot": version}
        times = turns({"step": step} | pairings(x0, label) | theirs, ROUNDS)
        result[case] = {
            name: {"ms": statistics.median(found), **ratio(found, times["step"])} for name, found in times.items()
        }
    return result | {"batch": BATCH, "iterations": ITERATIONS, "epsilon": EPSILON}
