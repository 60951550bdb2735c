"""Boosting of trees as a `Program`: a step is a block of trees, and the whole table is its one batch."""

import jax
import jax.numpy as jnp
import numpy as np

from research import mesh
from research.contracts import Program
from research.errors import UserError
from research.models import gbdt_oblivious
from research.trees import binning, boosting, fitting, prediction

ROWS = {"codes": 1, "y": 0}  # the axis of the table's rows


def make(config, dataset, devices=None):
    """A Program that grows `config.model.num_trees` trees on dataset.train, `block` of them a step.

    Its state: params (see research/models/gbdt_oblivious.py), score [N, K], key, tree, and the scores of the test set.
    Its `batch` is the binned table, its rows spread over mesh.data devices, which changes no bit, and the test set.
    devices: the mesh, of the config's by default. A step takes a state and a batch of any number of rows. Raises
    UserError where train.num_steps is not the number of blocks, for a table without targets, and for mesh.fsdp.
    """
    fields = config.model
    if fields.num_trees != config.train.num_steps * fields.block:
        raise UserError(
            f"model.num_trees is {fields.num_trees} in blocks of {fields.block}: it must be a multiple of block, "
            f"and train.num_steps, which is {config.train.num_steps}, their ratio."
        )
    if config.mesh.fsdp != 1:
        raise UserError(f"mesh.fsdp is {config.mesh.fsdp}; trees spread their rows over mesh.data: set mesh.fsdp=1.")
    table, test = (source.gather(np.arange(source.size)) for source in (dataset.train, dataset.test))
    if "y" not in table:
        raise UserError(f"data.name '{config.data.name}' has no targets, which trees are fitted to.")
    if fields.early_stopping:
        raise UserError(
            f"model.early_stopping is {fields.early_stopping}, which trees.fit alone knows; a run grows all its trees "
            "and draws the held-out loss: set it to 0."
        )
    objective, options, kind = fitting.objective_of(fields), fitting.options_of(fields), fitting.kind_of(fields)
    y, borders = fitting.targets(table["y"], objective), borders_of(dataset, table["x"], fields)
    counts, truth = jnp.asarray(borders.counts), fitting.targets(test["y"], objective, beside=table["y"])
    binning.apply(borders, test["x"])  # raises UserError where its rows cannot be such
    batch = {"codes": binning.apply(borders, table["x"]), "y": y, "test": test["x"]}
    if devices is None and mesh.fits(config.mesh):  # a finished run predicts on fewer
        devices = mesh.make(config.mesh)
    if devices is None or devices.size == 1:
        batch = jax.tree.map(jnp.asarray, batch)
    else:
        batch = {name: mesh.spread(np.asarray(x), devices, ROWS.get(name)) for name, x in batch.items()}

    def grow(now, batch, devices=None):
        rows = len(now.score)
        fixed = (batch["codes"][:, :rows], counts, batch["y"][:rows], None, objective, options)
        return boosting.block(*fixed, now, fields.block, num_bins=borders.bins, mesh=devices)

    def init(key):
        now = boosting.init(y, None, objective, key)
        with jax.enable_x64(True):  # also where it is called for shapes alone
            _, block = jax.eval_shape(grow, now, batch)
        trees = jax.tree.map(lambda x: jnp.zeros((fields.num_trees, *x.shape[1:]), x.dtype), block)
        params = gbdt_oblivious.params_of(kind.collect(trees, borders, now.score[0], fields.objective))
        params |= {name: jnp.zeros_like(params[name]) for name in kind.OF_TREES}
        return {"params": params, "test": jnp.tile(now.score[:1], (len(truth), 1)), **now._asdict()}

    def step(state, batch):
        before = boosting.State(*(state[name] for name in boosting.State._fields))
        now, trees = grow(before, batch, devices)
        bad = ~jnp.isfinite(trees.loss).all()

        def unless_bad(old, new):
            return jax.tree.map(lambda old, new: jnp.where(bad, old, new), old, new)

        block = kind.collect(trees, borders, jnp.zeros(objective.outputs), fields.objective)
        params = dict(state["params"])
        for name in kind.OF_TREES:
            new = unless_bad(jnp.zeros_like(getattr(block, name)), getattr(block, name))
            params[name] = jax.lax.dynamic_update_slice_in_dim(params[name], new, state["tree"], 0)
        test = unless_bad(state["test"], state["test"] + prediction.predict_raw(block, batch["test"]))
        metrics = {"loss": trees.loss[-1], "trees": now.tree, "nonfinite": bad.astype(jnp.int32)}
        return {"params": params, "test": test, **unless_bad(before, now)._asdict()}, metrics

    measured = jax.jit(lambda score, y: gbdt_oblivious.measured(objective, score, y)[1])

    def evaluate(state, key):
        return {f"eval/{name}": float(value) for name, value in measured(state["test"], truth).items()}

    def explain(state, code, batch):
        return "the loss of the trees"

    return Program(init, step, evaluate, True, explain, lambda state: state["params"], batch, rows=("score",))


def borders_of(dataset, x, fields):
    """The binning.Borders of a table: those that its codes were made by, or else the model's own.

    Raises UserError where the model would read the codes another way.
    """
    given, wanted = dataset.borders, (binning.side_of(fields.borders), fields.missing)
    if given is not None and (given.side, given.missing) != wanted:
        raise UserError(
            f"the shards hold codes of missing='{given.missing}' and borders of side '{given.side}', the model asks "
            f"for '{wanted[1]}' and '{wanted[0]}': set model.missing and model.borders (right: xgboost, left: others), "
            "or store values by launch.prepare --bins=0."
        )
    return fitting.find_borders(x, fields) if given is None else given
