"""Weights that are split over devices: each block of a stack gathers its own, and what is computed stays the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from configs import base, rectified_flow_imagenet64_dit
from research import experiment, loop, mesh
from research.nets.dit import DiT
from research.nets.mlp import MLP

NETS = {  # with the shape of an example
    "dit": (DiT(width=32, depth=2, heads=2, patch=4, remat=True), (8, 8, 3)),
    "mlp": (MLP(width=64, depth=2), (8,)),
}


@pytest.fixture
def split():
    """A mesh that splits weights over 4 devices, in the context of what is traced."""
    made = mesh.make(base.update(base.mesh(), fsdp=4))
    with jax.sharding.use_abstract_mesh(made.abstract_mesh):
        yield made


@pytest.mark.parametrize("name", NETS)
def test_losses_and_gradients_stay(name, split):
    net, shape = NETS[name]
    x, t = jax.random.normal(jax.random.key(0), (8, *shape)), jnp.linspace(0.1, 0.9, 8)
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), ())):
        params = net.init(jax.random.key(1), x, t)
        params = jax.tree.map(lambda w: w + 0.1 * jax.random.normal(jax.random.key(2), w.shape), params)
        whole = jax.jit(jax.value_and_grad(lambda p: jnp.mean((net.apply(p, x, t) - 1) ** 2)))(params)
    places = mesh.shard(params, split, base.update(base.mesh(), fsdp=4, fsdp_min_size=64))
    placed = jax.tree.map(lambda w, place: jax.device_put(w, place.sharding), params, places)
    rows = NamedSharding(split, PartitionSpec(mesh.AXES))

    def loss(p, x, t):
        return jnp.mean((net.apply(p, x, t) - 1) ** 2)

    found = jax.jit(jax.value_and_grad(loss))(placed, jax.device_put(x, rows), jax.device_put(t, rows))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), found, whole)


def test_a_run_gathers_weights_and_no_rows():
    """Of arrays with the rows of all devices, or of those that share weights, the compiled step has no copy."""
    config = rectified_flow_imagenet64_dit.get_config("tiny")
    base.update(config.mesh, data=2, fsdp=4, fsdp_min_size=64)
    config.data.batch_size = 24  # 3 a device, which no size of the net is a multiple of
    built, devices = experiment.build(config), mesh.make(config.mesh)
    abstract, _, step = loop.prepare(built.program, devices, built.config)
    batch = {"x": jax.ShapeDtypeStruct((24, 8, 8, 3), np.uint8), "condition": jax.ShapeDtypeStruct((24,), np.int32)}
    text = step.lower(abstract, mesh.lay(batch, devices)).compile().as_text()
    gathered = [line.split(" all-gather")[0] for line in text.splitlines() if " all-gather(" in line]
    assert any("[1,32,96]" in line or "[32,96]" in line for line in gathered)  # queries, keys and values of one block
    assert not [line for line in gathered if "[12,4" in line or "[24,4" in line]  # tokens of several devices
