"""How fast host batches come, for the shapes of the experiments here, to hold against their step rate."""

import time

import jax

from configs import base
from research import data

BATCHES, SHAPES = 500, {"digits": ((8, 8, 1), 128), "mnist": ((28, 28, 1), 256), "cifar10": ((32, 32, 3), 128)}


def main():
    """A dict of batches a second, after a warm-up, shuffled and gathered from memory."""
    result = {"device": jax.devices()[0].device_kind}
    for name, (shape, batch_size) in SHAPES.items():
        section = base.update(base.data("synthetic"), shape=shape, size=20000, levels=256, num_classes=10)
        batches = data.iterate(data.load(section).train, batch_size, 0)
        for _ in range(20):
            next(batches)
        start = time.perf_counter()
        for _ in range(BATCHES):
            next(batches)
        result[f"{name}_batches_per_second"] = BATCHES / (time.perf_counter() - start)
    return result
