"""The device mesh of a run: data parallelism, and parameters sharded over an `fsdp` axis by a rule on their shape."""

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from research.errors import UserError

AXES = ("data", "fsdp")  # a batch is split over both


def make(config, devices=None):
    """A mesh with axes (data, fsdp) of the machine's devices, or of those given; `config.data` = -1 takes all that fsdp
    leaves. Over several slices of a TPU fsdp stays inside of each.

    Raises UserError where there are too few devices, and for an fsdp that slices cannot have.
    """
    devices = jax.devices() if devices is None else devices
    data = config.data if config.data > 0 else max(len(devices) // max(config.fsdp, 1), 1)
    need = data * config.fsdp
    if config.fsdp < 1 or need > len(devices):
        raise UserError(
            f"mesh.data x mesh.fsdp = {data} x {config.fsdp} needs {need} devices; {len(devices)} are here: lower one."
        )
    if need < len(devices) and jax.process_count() > 1:  # a process without a part in it would crash
        raise UserError(
            f"mesh.data x mesh.fsdp = {data} x {config.fsdp} leaves some of the {len(devices)} devices of "
            f"{jax.process_count()} processes out: set mesh.data=-1, which takes all."
        )
    slices = len({getattr(device, "slice_index", None) for device in devices if device.platform == "tpu"})
    split = {"allow_split_physical_axes": True}  # an axis may be a part of one of the torus
    if slices < 2:
        try:
            found = mesh_utils.create_device_mesh((data, config.fsdp), devices[:need], **split)
        except (AssertionError, NotImplementedError):  # some of a TPU's chips, or axes that are no parts of its torus
            raise UserError(
                f"mesh.data x mesh.fsdp = {data} x {config.fsdp} does not lie on {len(devices)} devices of a TPU: take "
                "mesh.data=-1 and an fsdp that divides their number."
            ) from None
    elif data % slices or need < len(devices):
        raise UserError(
            f"mesh.data x mesh.fsdp = {data} x {config.fsdp} does not spread over {slices} slices of "
            f"{len(devices) // slices} devices: take mesh.data=-1 and an fsdp that divides the devices of a slice."
        )
    else:
        inside, across = (data // slices, config.fsdp), (slices, 1)
        found = mesh_utils.create_hybrid_device_mesh(inside, across, devices, **split)
    return Mesh(found, AXES, axis_types=(AxisType.Auto,) * 2)


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


def shard(abstract, mesh, config, rows=()):
    """ShapeDtypeStructs of a state with their shardings on the mesh.

    rows: names of the state's entries with a row each for those of a table, which lie where the table's do.
    """

    if mesh.size == 1:  # a call with such an array is dispatched faster than one with a mesh of one
        return on_one(abstract, mesh.devices.item())

    def place(path, x):
        spec = partition(x.shape, mesh.shape["fsdp"], config.fsdp_min_size)
        if rows and path[0].key in rows and x.shape[0] % mesh.size == 0:
            spec = PartitionSpec(AXES)
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))

    return jax.tree_util.tree_map_with_path(place, abstract)


def on_one(abstract, device=None):
    """ShapeDtypeStructs of a state on a single device, the first of this process by default."""
    sharding = SingleDeviceSharding(device or jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), abstract)


def spread(x, mesh, axis=None):
    """x, a host array that all processes have, on the mesh: whole on each device, or spread along `axis`.

    There zeros fill it up to a multiple of the devices. On devices that are only described, its ShapeDtypeStruct.
    """
    dims = () if axis is None else (*[None] * axis, AXES)
    sharding = NamedSharding(mesh, PartitionSpec(*dims))
    more = [(0, -size % mesh.size if i == axis else 0) for i, size in enumerate(x.shape)]
    if not is_here(mesh):
        return jax.ShapeDtypeStruct([size + add for size, (_, add) in zip(x.shape, more)], x.dtype, sharding=sharding)
    if axis is None:
        return jax.device_put(x, sharding)
    x = np.pad(x, more)
    return jax.make_array_from_callback(x.shape, sharding, lambda part: x[part])


def around(step, mesh):
    """step, traced with the mesh in its context where weights are split, by which nets know that they are."""
    if mesh.shape["fsdp"] == 1:
        return step

    def inside(state, batch):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return step(state, batch)

    return inside


def is_here(mesh):
    """Whether the devices of a mesh are this machine's, and not those of a topology to compile for."""
    return mesh.devices.flat[0] in jax.devices()


def lay(abstract, mesh):
    """ShapeDtypeStructs of a batch of all processes, its rows split over the devices as `batch_placer` does."""
    if mesh.size == 1:
        return on_one(abstract, mesh.devices.item())
    sharding = NamedSharding(mesh, PartitionSpec(AXES))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), abstract)


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
