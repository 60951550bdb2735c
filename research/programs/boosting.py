"""Boosting of trees as a `Program`: a step is a block of trees, and the whole table is its one batch."""

import jax
import jax.numpy as jnp
import numpy as np

from research.contracts import Program
from research.errors import UserError
from research.models import gbdt_oblivious
from research.programs import gradient
from research.trees import binning, boosting, ensemble, fitting


def make(model, config, dataset):
    """A Program that grows `config.model.num_trees` trees on dataset.train, `block` of them a step.

    Its state: params (see research/models/gbdt_oblivious.py), score [N, K], key, tree. Its `batch` is the binned table.
    Raises UserError where train.num_steps is not the number of blocks, for a table without targets, and for more than
    one device.
    """
    fields = config.model
    if fields.num_trees != config.train.num_steps * fields.block:
        raise UserError(
            f"model.num_trees is {fields.num_trees} in blocks of {fields.block}: it must be a multiple of block, "
            f"and train.num_steps, which is {config.train.num_steps}, their ratio."
        )
    if config.mesh.data != 1 or config.mesh.fsdp != 1:
        raise UserError("a run of trees takes one device: set mesh.data=1 and mesh.fsdp=1.")
    table, test = (source.gather(np.arange(source.size)) for source in (dataset.train, dataset.test))
    if "y" not in table:
        raise UserError(f"data.name '{config.data.name}' has no targets, which trees are fitted to.")
    objective, options = fitting.objective_of(fields), fitting.options_of(fields)
    y, borders = fitting.targets(table["y"], objective), fitting.find_borders(table["x"], fields)
    batch, counts = {"codes": jnp.asarray(binning.apply(borders, table["x"])), "y": y}, jnp.asarray(borders.counts)
    tested = {"x": jnp.asarray(test["x"]), "y": fitting.targets(test["y"], objective)}
    trees, depth = fields.num_trees, fields.depth

    def init(key):
        state, whole = boosting.init(y, None, objective, key), jnp.zeros((trees, depth), jnp.int32)
        leaves = jnp.zeros((trees, 2**depth, objective.outputs), jnp.float32)
        none = boosting.Trees(whole, whole, whole > 0, whole.astype(jnp.float32), leaves, leaves[..., 0], None)
        empty = ensemble.collect(none, borders, state.score[0], fields.objective)
        return {"params": {name: getattr(empty, name) for name in gbdt_oblivious.ARRAYS}, **state._asdict()}

    def step(state, batch):
        now = boosting.State(*(state[name] for name in boosting.State._fields))
        fixed = (batch["codes"], counts, batch["y"], None, objective, options)
        now, grown = boosting.block(*fixed, now, fields.block, num_bins=borders.bins)
        params = dict(state["params"])
        for name in ensemble.OF_TREES:
            params[name] = jax.lax.dynamic_update_slice_in_dim(params[name], getattr(grown, name), state["tree"], 0)
        return {"params": params, **now._asdict()}, {"loss": grown.loss[-1], "trees": now.tree}

    held_out = jax.jit(lambda params, key, batch: model.loss(params, key, batch, train=False))

    def evaluate(state, key):
        return gradient.averages(held_out, state["params"], key, [tested])

    return Program(init, step, evaluate, x64=True, params=lambda state: state["params"], batch=batch)
