"""Methods that are no gradient boosting as a `Program`: a step grows a block of trees, stages or rounds of a `Method`,
and the whole table is its one batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from research import mesh
from research.contracts import Program
from research.errors import UserError
from research.programs import gradient


def make(model, method, config, dataset, devices=None):
    """A Program of a Model and of `method`, (config, dataset) -> contracts.Method: `model.block` trees a step.

    Its state: what the Method's init gives, with "params", and trees [], how many grew, which `grow` may read. Its
    metrics: those of the Method, trees, and held out those of the model's loss. devices: the mesh, of the config's by
    default. Raises UserError where train.num_steps is not the number of blocks, for data without targets, and for
    mesh.fsdp.
    """
    fields = config.model
    if fields.num_trees != config.train.num_steps * fields.block:
        raise UserError(
            f"model.num_trees is {fields.num_trees} in blocks of {fields.block}: it must be a multiple of block, "
            f"and train.num_steps, which is {config.train.num_steps}, their ratio."
        )
    if config.mesh.fsdp != 1:
        raise UserError(f"mesh.fsdp is {config.mesh.fsdp}; trees spread over mesh.data: set mesh.fsdp=1.")
    test = dataset.test.gather(np.arange(dataset.test.size))
    if not {"y", "condition"} & set(test):
        raise UserError(f"data.name '{config.data.name}' has no targets, which trees are fitted to.")
    own = method(config, dataset)
    if devices is None and mesh.fits(config.mesh):  # a finished run predicts on fewer
        devices = mesh.make(config.mesh)
    single = devices is None or devices.size == 1
    batch = jax.tree.map(jnp.asarray if single else lambda x: mesh.spread(np.asarray(x), devices), own.batch)

    def init(key):
        return jax.tree.map(_narrow, {**own.init(key), "trees": jnp.int32(0)})

    def step(state, batch):
        grown, metrics = own.grow(state, batch, None if single else devices) if own.spread else own.grow(state, batch)
        bad = ~jnp.isfinite(metrics["loss"])
        grown = {**grown, "trees": state["trees"] + fields.block}
        state = jax.tree.map(lambda new, old: jnp.where(bad, old, _narrow(new)), grown, state)
        return state, metrics | {"trees": state["trees"], "nonfinite": bad.astype(jnp.int32)}

    loss = jax.jit(functools.partial(model.loss, train=False))

    def evaluate(state, key):
        return gradient.averages(loss, state["params"], key, [test])

    def explain(state, code, batch):
        return "the loss of the trees"

    return Program(init, step, evaluate, True, explain, params=lambda state: state["params"], batch=batch)


def _narrow(x):
    """x without the 64 bits of numbers that were made under jax.enable_x64, which no checkpoint holds."""
    kinds = {"float64": jnp.float32, "int64": jnp.int32, "uint64": jnp.uint32}
    return x.astype(kinds.get(str(x.dtype), x.dtype))
