"""The step that a run of a config jits, lowered for the devices of a topology and compiled, with nothing in memory."""

import time
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import config_dict

from research import evaluation, experiment, loop, mesh, precision, sampling
from research.aot import tables
from research.errors import UserError
from research.nets import cost
from research.programs import boosting


class Lowered(NamedTuple):
    """A step before it is compiled, and what is known of it by then."""

    lowered: jax.stages.Lowered
    what: str  # train | sample | boosting
    mesh: jax.sharding.Mesh
    rows: int  # of the batch, or of the table, or samples
    note: str  # what is not as the config has it, or empty
    state: dict  # bytes of each part of the state on a device
    flops: int | None  # of all devices; None where a loop's length is not known
    x64: bool


def lower(config, topology, what=None, data=None, fsdp=None):
    """Lowered: what a run jits for the config's mesh, or one of other sizes, on a topologies.Topology.

    what: "train" (of trees too), "sample", or "boosting", which is "train" and of trees alone. A batch that does not
    divide over the devices is made larger, and the note says so. Raises UserError.
    """
    experiment.check(config)
    config, devices, note = fitted(config, topology, data, fsdp)
    precision.apply(config.precision)
    dataset = tables.load(config.data)
    built = experiment.assemble(_small(config), dataset, devices)
    trees = built.program.batch is not None
    if what == "boosting" and not trees:
        raise UserError(f"model '{config.model.name}' is trained by its gradient: take --what=train or sample.")
    if what == "sample":
        return _sampling(config, built, devices)
    with precision.x64(built.program):
        abstract, _, step = loop.prepare(built.program, devices, config)
        if trees:
            rows = given = tables.rows(config.data, dataset)
            if built.program.rows and not dataset.train.size % devices.size:  # else scores lie whole on each device
                rows = tables.divisible(given, devices.size, 1)
            if rows != given:
                note = f"{rows} rows: {given} do not divide over {devices.size} devices"
            abstract, batch = _table(built, abstract, devices, config, rows)
        else:
            rows, batch = config.data.batch_size, _batch(dataset, config.data.batch_size, devices)
        flops = count(built.program.step, abstract, batch)
        lowered = step.lower(abstract, batch)
    return Lowered(
        lowered, "boosting" if trees else "train", devices, rows, note, parts(abstract), flops, built.program.x64
    )


def fitted(config, topology, data=None, fsdp=None):
    """(config for the topology, its mesh, a note of what was changed): with sizes of the mesh, and a batch that
    divides."""
    config, note = config_dict.ConfigDict(config.to_dict()), ""
    config.mesh.update({name: size for name, size in (("data", data), ("fsdp", fsdp)) if size is not None})
    devices = mesh.make(config.mesh, topology.devices)
    if "optimizer" in config:
        before = config.data.batch_size
        config.data.batch_size = tables.divisible(before, devices.size, max(config.optimizer.accumulate, 1))
        if config.data.batch_size != before:
            note = f"batch of {config.data.batch_size}: {before} does not divide over {devices.size} devices"
    return config_dict.FrozenConfigDict(config), devices, note


def _small(config):
    """The config with a batch of the fewest rows: a program's shapes come with the batch that it gets."""
    if "optimizer" not in config:
        return config
    config = config_dict.ConfigDict(config.to_dict())
    config.data.batch_size = max(config.optimizer.accumulate, 1)
    config.train.eval_examples = 1
    return config


def _batch(dataset, rows, devices):
    """ShapeDtypeStructs of a batch on the mesh."""
    example = dataset.fitted[0].gather(np.arange(1))
    return mesh.lay({k: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype) for k, x in example.items()}, devices)


def _table(built, abstract, devices, config, rows):
    """(state, batch) of trees on a table of so many rows, whatever the rows that the program was made with."""
    program, batch = built.program, built.program.batch
    if program.rows:
        abstract |= {k: jax.ShapeDtypeStruct((rows, *abstract[k].shape[1:]), abstract[k].dtype) for k in program.rows}
        abstract |= mesh.shard({k: abstract[k] for k in program.rows}, devices, config.mesh, program.rows)
        padded = -(-rows // devices.size) * devices.size
        batch = {k: _longer(x, boosting.ROWS.get(k), padded) for k, x in batch.items()}
    return abstract, mesh.on_one(batch, devices.devices.item()) if devices.size == 1 else batch


def _longer(x, axis, rows):
    shape = [rows if i == axis else size for i, size in enumerate(x.shape)]
    return jax.ShapeDtypeStruct(shape, x.dtype, sharding=x.sharding)


def _sampling(config, built, devices):
    """Lowered of a batch of samples as sampling.batches draws them, split over all devices, the weights on each."""
    model = built.model
    if model.sample is None:
        raise UserError(f"a {config.model.name} predicts and has no samples: take --what=train.")
    size, _ = sampling.sizes(config.sampler.num_samples)
    rows = tables.divisible(size, devices.size, 1)
    note = f"{rows} samples: {size} do not divide over {devices.size} devices" if rows != size else ""
    whole, split = NamedSharding(devices, PartitionSpec()), NamedSharding(devices, PartitionSpec(mesh.AXES))
    state = jax.eval_shape(built.program.init, jax.random.key(0))
    params = jax.eval_shape(built.program.params, state)
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), params)
    key = jax.eval_shape(lambda: jax.random.key(0))
    given = {}
    if evaluation.balanced_labels(built, rows) is not None:
        given["condition"] = jax.ShapeDtypeStruct((rows,), np.int32, sharding=split)
    if built.dataset.source:
        given["source"] = jax.ShapeDtypeStruct((rows, *built.dataset.shape), np.float32, sharding=split)

    def draw(params, key, given):
        out = model.sample(params, key, rows, **given)
        return out.x, out.nfe

    flops = count(draw, params, key, given)
    lowered = jax.jit(draw, out_shardings=(split, whole)).lower(params, key, given)
    return Lowered(lowered, "sample", devices, rows, note, parts({"params": params}), flops, False)


def count(function, *arguments):
    """FLOPs of the products in function(*arguments), loops multiplied, over all devices; None where one has no end."""
    try:
        return cost.flops(function, *arguments)
    except ValueError:
        return None


def parts(state):
    """{name: bytes on a device} of the entries of a state with shardings."""

    def size(x):
        return int(np.prod(x.sharding.shard_shape(x.shape), dtype=np.int64)) * x.dtype.itemsize

    return {name: sum(map(size, jax.tree.leaves(entry))) for name, entry in state.items()}


def compiled(lowered):
    """(the executable, seconds) of Lowered. Raises what `report.mistake` explains."""
    start = time.perf_counter()
    with precision.x64(lowered):
        executable = lowered.lowered.compile()
    return executable, time.perf_counter() - start
