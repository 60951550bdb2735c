"""A process that makes a table, bins it and grows trees on it, and prints how many MiB it held at most.

Its argument is JSON: name ("rows" or "features" for ours, a peer, or "table" for nothing but the table), work, trees.
"""

import json
import pathlib
import sys

from research.benchmarks import tree_peers


def grow(name, work, num_trees):
    """Makes the table and grows the trees of one contestant on it."""
    x, y = tree_peers.table(work)
    if name in tree_peers.PEERS:
        tree_peers.PEERS[name](work, x, y)[0](num_trees)
    elif name != "table":
        import jax

        from research.benchmarks import trees

        jax.config.update("jax_num_cpu_devices", trees.THREADS)
        trees.growing(work, *trees.binned(work, x, y), "oblivious", name, (num_trees,))


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    grow(order["name"], tree_peers.Work(*order["work"]), order["trees"])
    # Linux's own count of this program: that of getrusage starts from what the process that began it held.
    status = dict(line.split(":") for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 2**10)
