"""Boosted oblivious trees on tables with categories, as CatBoost (Prokhorenkova et al. 2018): those of gbdt_oblivious
on the columns of research/trees/categorical.py, as a Model and its Method.

params: those of the trees, "encoder", the arrays of a categorical.Encoder.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from research.contracts import Method, Model
from research.errors import UserError
from research.models import gbdt_oblivious
from research.trees import binning, boosting, categorical, ensemble, fitting, prediction

PROGRAM = "ensembles"  # what trains it


def make(config, data_shape):
    """Model of rows of shape [F], from the `model` section: it predicts raw scores [B, K]. Raises UserError."""
    gbdt_oblivious.make(config, data_shape)  # numbers are checked here
    if config.model.max_ctr_complexity > 2:
        raise UserError(f"model.max_ctr_complexity is {config.model.max_ctr_complexity}; it must be 1 or 2.")
    objective = fitting.objective_of(config.model)

    def predict(params, x):
        trees, encoder = dict(params), dict(params["encoder"])
        del trees["encoder"]
        kinds = categorical.kinds_of([len(of) for of in encoder["levels"]], *_limits(config.model))
        rows = categorical.encode(categorical.Encoder(**encoder, one_hot=kinds[0], combined=kinds[1]), x)
        return prediction.predict_raw(gbdt_oblivious.ensemble_of(config, trees), rows)

    def loss(params, key, batch, train=True):
        value, metrics = gbdt_oblivious.measured(objective, predict(params, batch["x"]), batch["y"])
        return value, (metrics, None)

    return Model(None, loss, None, None, predict=predict)


def method(config, dataset):
    """The Method that grows `block` trees a step on the table, whose order of rows config.data.seed draws."""
    fields, table = config.model, gbdt_oblivious.table_of(config, dataset)
    objective, options = fitting.objective_of(fields), fitting.options_of(fields)
    x, y, classes = table["x"], fitting.targets(table["y"], objective), categorical.classes_of(objective)
    if fields.early_stopping:
        raise UserError(f"model.early_stopping is {fields.early_stopping}; a run grows all its trees: set it to 0.")
    if not all(isinstance(place, int) for place in fields.cat_features):
        raise UserError(f"model.cat_features is {fields.cat_features}; give the places of columns, from 0.")
    places = sorted({*dataset.categorical, *fields.cat_features})
    encoder = categorical.find(x, table["y"], places, *_limits(fields), classes)
    order = np.arange(len(x)) if fields.has_time else np.random.default_rng(config.data.seed).permutation(len(x))
    own = categorical.borders_of(encoder, x, fields.borders, fields.border_count, missing=fields.missing)
    borders = binning.given(own, missing=fields.missing)
    codes = binning.apply(borders, categorical.ordered(encoder, x, table["y"], order, classes))
    known = {f.name: getattr(encoder, f.name) for f in dataclasses.fields(encoder) if not f.metadata.get("static")}

    def block(now, batch, devices=None):
        fixed = (batch["codes"], jnp.asarray(borders.counts), batch["y"], None, objective, options)
        return boosting.block(*fixed, now, fields.block, num_bins=borders.bins, mesh=devices)

    def init(key):
        now = boosting.init(y, None, objective, key)
        with jax.enable_x64(True):  # also where it is called for shapes alone
            _, trees = jax.eval_shape(block, now, {"codes": codes, "y": y})
        trees = jax.tree.map(lambda x: jnp.zeros((fields.num_trees, *x.shape[1:]), x.dtype), trees)
        params = gbdt_oblivious.params_of(ensemble.collect(trees, borders, now.score[0], fields.objective))
        return {"params": params | {"encoder": jax.tree.map(jnp.asarray, known)}, **now._asdict()}

    def grow(state, batch, devices=None):
        now, trees = block(boosting.State(*(state[name] for name in boosting.State._fields)), batch, devices)
        grown = {name: getattr(trees, name) for name in ensemble.OF_TREES}
        params = state["params"] | {
            name: jax.lax.dynamic_update_slice_in_dim(state["params"][name], new, state["tree"], 0)
            for name, new in grown.items()
        }
        return {"params": params, **now._asdict()}, {"loss": trees.loss[-1]}

    return Method(init, grow, {"codes": codes, "y": y}, spread=True)


def _limits(fields):
    return fields.one_hot_max_size, fields.max_ctr_complexity
