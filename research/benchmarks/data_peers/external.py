"""Trees on a table several times the memory they are given: `external_memory`, whose peak is measured from outside."""

import json
import subprocess
import sys
import tempfile
import time

import numpy as np

from configs import base

BLOCK = 16384  # rows


def external_memory(rows=2_500_000, columns=200, times=5, trees=2):
    """A dict of figures of trees on a table that is made block by block and never whole, in a process of its own.

    limit: bytes, the table's float32 over `times`. peak: the most that the process held beyond one that only imports;
    it should stay below the limit. of_one_block: the same on one block of rows, mostly compiling.
    """
    size = 4 * rows * columns
    idle, small, large = (_process(n, columns, trees) for n in (0, BLOCK, rows))
    peaks = {"of_one_block": small["peak"] - idle["peak"], "peak": large["peak"] - idle["peak"]}
    fits = peaks["peak"] < size // times
    figures = {"table": size, "limit": size // times, **peaks, "imports": idle["peak"], "fits": fits}
    return figures | {"seconds": large["seconds"]}


def _process(*numbers):
    command = [sys.executable, "-m", "research.benchmarks.data_peers.external", *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def _blocks(rows, columns):
    """(x [n, F], y [n]) of a table that a seed knows: y is a sum of steps in a few columns, and noise."""
    for start in range(0, rows, BLOCK):
        rng = np.random.default_rng(start)
        x = rng.integers(0, 1000, (min(BLOCK, rows - start), columns), np.uint16).astype(np.float32)
        yield x, (x[:, :5] > 500).sum(axis=1) + rng.standard_normal(len(x), np.float32)


def _peak():
    """Bytes: the most memory that this process held so far. (Of getrusage the parent's counts where that was more.)"""
    with open("/proc/self/status") as file:
        return 1024 * int(next(line.split()[1] for line in file if line.startswith("VmHWM")))


def _measure(rows, columns, trees):
    import jax

    from research.trees import external

    jax.devices()
    config = base.update(base.gbdt_oblivious(), num_trees=trees, block=trees, depth=4, borders="quantile")
    start = time.perf_counter()
    if rows:
        with tempfile.TemporaryDirectory() as folder:
            external.fit(lambda: _blocks(rows, columns), config, folder, rows=BLOCK)
    return {"peak": _peak(), "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    print(json.dumps(_measure(*map(int, sys.argv[1:]))))
