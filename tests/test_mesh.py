"""The mesh: what is sharded, what is replicated, and what does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from configs import base
from research import mesh
from research.errors import UserError


@pytest.mark.parametrize(
    "shape, spec",
    [
        ((256, 512), (None, "fsdp")),
        ((512, 256), ("fsdp",)),
        ((3, 3, 64, 128), (None, None, None, "fsdp")),
        ((7, 512), (None, "fsdp")),
        ((511, 513), ()),  # nothing divides
        ((8,), ()),  # too small to be worth it
        ((), ()),
    ],
)
def test_the_largest_dimension_that_divides_is_sharded(shape, spec):
    assert mesh.partition(shape, 4, 1000) == PartitionSpec(*spec)


def test_one_shard_is_replication():
    assert mesh.partition((512, 512), 1, 0) == PartitionSpec()


@pytest.mark.parametrize("data, fsdp, expected", [(-1, 1, (8, 1)), (-1, 4, (2, 4)), (2, 2, (2, 2)), (1, 1, (1, 1))])
def test_sizes(data, fsdp, expected):
    made = mesh.make(base.update(base.mesh(), data=data, fsdp=fsdp))
    assert tuple(made.shape.values()) == expected


def test_a_batch_is_split_over_all_devices():
    made = mesh.make(base.update(base.mesh(), fsdp=2))
    batch = {"x": np.arange(32.0).reshape(16, 2), "condition": np.arange(16)}
    placed = mesh.batch_placer(made)(batch)
    assert all(shard.data.shape[0] == 2 for x in placed.values() for shard in x.addressable_shards)
    assert all((np.asarray(placed[name]) == batch[name]).all() for name in batch)


def test_state_takes_a_fraction_of_each_device():
    config = base.update(base.mesh(), data=1, fsdp=8)
    state = {"kernel": jnp.zeros((512, 512)), "bias": jnp.zeros((512,))}
    placed = mesh.shard(jax.eval_shape(lambda: state), mesh.make(config), config)
    assert placed["kernel"].sharding.shard_shape((512, 512)) in {(64, 512), (512, 64)}
    assert placed["bias"].sharding.shard_shape((512,)) == (512,)


@pytest.mark.parametrize("fields", [{"data": 16}, {"fsdp": 9}, {"fsdp": 0}, {"data": 4, "fsdp": 4}])
def test_too_few_devices(fields):
    with pytest.raises(UserError, match="needs .* devices; 8 are here"):
        mesh.make(base.update(base.mesh(), **fields))


def test_a_batch_that_does_not_divide():
    with pytest.raises(UserError, match="batch of 12 does not divide over 8"):
        mesh.batch_placer(mesh.make(base.mesh()))({"x": np.zeros((12, 2))})


def test_a_mesh_of_given_devices():
    made = mesh.make(base.update(base.mesh(), fsdp=2), jax.devices()[2:6])
    assert set(made.devices.flat) == set(jax.devices()[2:6]) and tuple(made.shape.values()) == (2, 2)
    with pytest.raises(UserError, match="needs 8 devices; 4 are here"):
        mesh.make(base.update(base.mesh(), data=8), jax.devices()[:4])


def test_rows_of_a_state_lie_where_the_tables_do():
    config = base.mesh()
    state = {"score": jnp.zeros((16, 3)), "odd": jnp.zeros((12, 3)), "trees": jnp.zeros((16, 3))}
    made = mesh.make(config)
    placed = mesh.shard(jax.eval_shape(lambda: state), made, config, rows=("score", "odd"))
    specs = {name: x.sharding.spec for name, x in placed.items()}
    assert specs == {"score": PartitionSpec(mesh.AXES), "odd": PartitionSpec(), "trees": PartitionSpec()}


def test_a_described_batch_lies_where_a_placed_one_does():
    for count in (1, 8):
        made = mesh.make(base.update(base.mesh(), data=count))
        batch = {"x": np.zeros((16, 2), np.float32), "condition": np.arange(16)}
        described = mesh.lay(jax.eval_shape(lambda batch=batch: batch), made)
        if count > 1:  # one device's is left to the call
            placed = mesh.batch_placer(made)(batch)
            assert all(described[name].sharding == placed[name].sharding for name in batch)
        assert all(x.sharding.device_set == set(made.devices.flat) for x in described.values())


@pytest.mark.parametrize("axis, shape", [(None, (13, 3)), (0, (16, 3)), (1, (13, 8))])
def test_what_is_spread_over_devices_that_are_not_here(monkeypatch, axis, shape):
    made = mesh.make(base.mesh())
    real = mesh.spread(np.ones((13, 3), np.float32), made, axis)
    monkeypatch.setattr(mesh, "is_here", lambda mesh: False)
    described = mesh.spread(np.ones((13, 3), np.float32), made, axis)
    assert isinstance(described, jax.ShapeDtypeStruct) and described.shape == real.shape == shape
    assert described.sharding == real.sharding and described.dtype == real.dtype
