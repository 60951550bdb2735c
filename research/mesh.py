"""The device mesh of a run: data parallelism, and parameters sharded over an `fsdp` axis by a rule on their shape."""

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

from research.errors import UserError

AXES = ("data", "fsdp")  # a batch is split over both


def make(config):
    """A mesh with axes (data, fsdp); `config.data` = -1 takes all devices that fsdp leaves.

    Raises UserError where the machine has too few devices.
    """
    devices = jax.devices()
    data = config.data if config.data > 0 else max(len(devices) // max(config.fsdp, 1), 1)
    need = data * config.fsdp
    if config.fsdp < 1 or not fits(config):
        raise UserError(
            f"mesh.data x mesh.fsdp = {data} x {config.fsdp} needs {need} devices; {len(devices)} are here: lower one."
        )
    return jax.make_mesh((data, config.fsdp), AXES, axis_types=(AxisType.Auto,) * 2, devices=devices[:need])


def fits(config):
    """Whether the machine has as many devices as the mesh of a config."""
    return max(config.data, 1) * config.fsdp <= len(jax.devices())


def partition(shape, num_shards, min_size):
    """PartitionSpec of one array: its largest dimension that `num_shards` divides; small arrays are replicated."""
    dims = [size if size % num_shards == 0 else 0 for size in shape]
    if num_shards == 1 or np.prod(shape, dtype=np.int64) < min_size or max(dims, default=0) == 0:
        return PartitionSpec()
    at = int(np.argmax(dims))
    return PartitionSpec(*[None] * at, "fsdp")


def shard(abstract, mesh, config):
    """ShapeDtypeStructs of a state with their shardings on the mesh."""

    if mesh.size == 1:  # a call with such an array is dispatched faster than one with a mesh of one
        return on_one(abstract, mesh.devices.item())

    def place(x):
        spec = partition(x.shape, mesh.shape["fsdp"], config.fsdp_min_size)
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))

    return jax.tree.map(place, abstract)


def on_one(abstract, device=None):
    """ShapeDtypeStructs of a state on a single device, the first by default."""
    sharding = SingleDeviceSharding(device or jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), abstract)


def spread(x, mesh, axis=None):
    """x, a host array that all processes have, on the mesh: whole on each device, or spread along `axis`.

    There zeros fill it up to a multiple of the devices.
    """
    if axis is None:
        return jax.device_put(x, NamedSharding(mesh, PartitionSpec()))
    more = [(0, -size % mesh.size if i == axis else 0) for i, size in enumerate(x.shape)]
    x, sharding = np.pad(x, more), NamedSharding(mesh, PartitionSpec(*[None] * axis, AXES))
    return jax.make_array_from_callback(x.shape, sharding, lambda part: x[part])


def batch_placer(mesh):
    """A function that puts this process's part of a host batch onto the mesh; on one device it is left to the call.

    A batch that its program has spread stays where it is.
    """
    if mesh.size == 1:
        return lambda batch: batch
    sharding = NamedSharding(mesh, PartitionSpec(AXES))

    def place(batch):
        if all(isinstance(getattr(x, "sharding", None), NamedSharding) for x in jax.tree.leaves(batch)):
            return batch
        rows = len(jax.tree.leaves(batch)[0]) * jax.process_count()
        if rows % mesh.size:
            raise UserError(f"a batch of {rows} does not divide over {mesh.size} devices; change data.batch_size.")
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)

    return place
