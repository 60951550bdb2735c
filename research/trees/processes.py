"""What the processes that share a table know together; one process keeps what it has. Every process must call them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from research.errors import UserError


@functools.lru_cache(maxsize=8)
def _reduction(how, count):
    """(a mesh of a device of each process, `how` over it)."""
    devices = [next(d for d in jax.devices() if d.process_index == i) for i in range(count)]
    mesh = jax.make_mesh((count,), ("process",), axis_types=(AxisType.Auto,), devices=devices)
    return mesh, jax.jit(lambda x: how(x, axis=0), out_shardings=NamedSharding(mesh, P()))


def _reduce(how, x):
    if jax.process_count() == 1:
        return x
    mesh, run = _reduction(how, jax.process_count())
    spread = multihost_utils.host_local_array_to_global_array(np.asarray(x)[None], mesh, P("process"))
    return run(spread).addressable_data(0)


def total(tree):
    """The sums over processes of whole numbers: the same in whatever order."""
    return jax.tree.map(functools.partial(_reduce, jnp.sum), tree)


def most(tree):
    """The greatest ones of all processes; no NaN."""
    return jax.tree.map(functools.partial(_reduce, jnp.max), tree)


def rows(x):
    """x [n, ...] of every process as one, in the order of processes; their other axes are the same."""
    if jax.process_count() == 1:
        return x
    counts = multihost_utils.process_allgather(np.int32(len(x)))
    every = multihost_utils.process_allgather(np.pad(x, [(0, max(counts) - len(x))] + [(0, 0)] * (x.ndim - 1)))
    return np.concatenate([part[:n] for part, n in zip(every, counts)])


def check_same(number, what):
    """Raises UserError unless the whole number is the same in all processes."""
    low, high = -int(most(np.int32(-number))), int(most(np.int32(number)))
    if low != high:
        raise UserError(f"{what}: {low} to {high} here and there; give all processes the same folder, seen by all.")
