"""With libtpu: what its programs are read to be agrees with what is known of them, and errors of its own."""

import importlib.util

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from configs import base
from research import mesh
from research.aot import collectives, hlo, report, topologies, traffic
from research.errors import UserError

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"),
]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """libtpu looks for no TPU, and entries of the compile cache are not for devices that are not there."""
    for name, value in {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_WORKER_ID": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost")
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5litepod-4")
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_enable_compilation_cache", True)


def struct(shape, sharding, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def test_devices_stay_the_cpus_and_slices_are_joined_by_data():
    topology = topologies.describe("v5e:2x2", 2)
    made = mesh.make(base.update(base.mesh(), fsdp=2), topology.devices)
    assert dict(made.shape) == {"data": 4, "fsdp": 2} and not mesh.is_here(made)
    assert [[device.slice_index for device in row] for row in made.devices] == [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert {device.platform for device in jax.devices()} == {"cpu"} and len(topologies.describe("v5e-4").devices) == 4


def test_an_fsdp_that_is_a_part_of_an_axis_of_the_torus():
    devices = topologies.describe("v6e:4x8").devices
    assert dict(mesh.make(base.update(base.mesh(), fsdp=2), devices).shape) == {"data": 16, "fsdp": 2}
    with pytest.raises(UserError, match="10 x 3 does not lie on 32 devices of a TPU"):
        mesh.make(base.update(base.mesh(), fsdp=3), devices)


def test_a_scanned_gather_and_a_sum():
    made = mesh.make(base.update(base.mesh(), data=2, fsdp=2), topologies.describe("v5e:2x2").devices)
    weights, rows = (NamedSharding(made, PartitionSpec(*axes)) for axes in ((None, None, "fsdp"), (mesh.AXES,)))

    def loss(w, x):
        def layer(x, w):
            w = jax.lax.with_sharding_constraint(w, NamedSharding(made, PartitionSpec()))
            return jax.lax.with_sharding_constraint(jnp.tanh(x @ w), rows), None

        return jax.lax.scan(layer, x, w)[0].sum()

    text = jax.jit(loss).lower(struct((6, 512, 512), weights), struct((64, 512), rows)).compile().as_text()
    computations, entry = hlo.parse(text)
    runs, unknown = hlo.runs(computations, entry)
    found = collectives.by_kind(collectives.find(computations, runs, 4))
    assert unknown == 0 and 6 in {times for times, _ in runs}
    assert found["all-gather"]["bytes"] in (6 * 512 * 512 * 4, 6 * 512 * 512 * 2)  # f32, or what the products round to
    assert found["all-reduce"]["bytes"] <= 4096
    share = 6 * 512 * 256 * 4  # of the weights, which every device reads at least once
    assert share <= traffic.hbm_bytes(computations, runs) < 20 * share


def test_a_kernel_that_takes_too_much_vmem():
    topology = topologies.describe("v5e:2x2")
    one = SingleDeviceSharding(topology.devices[0])

    def double(x):
        return pl.pallas_call(lambda x, out: out.__setitem__(..., x[...] * 2), out_shape=x)(x)

    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jax.jit(double).lower(struct((65536, 1024), one)).compile()
    known = {"what": "train", "state_per_device": {}, "hbm_per_device": 2**34, "devices": 1, "mesh": {"fsdp": 1}}
    assert "takes more VMEM than a chip of v5e:2x2 has: 256 MiB of 128" in str(
        report.mistake(caught.value, known, topology)
    )
