"""Random forests (Breiman 2001), trees of CART on rows and features drawn by chance: trees/bagging.py as a Model."""

import types

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from research.contracts import Method, Model
from research.errors import UserError, nearest
from research.trees import bagging, binned, cart
from research.trees.impurity import CRITERIA

PROGRAM = "ensembles"  # what trains it
OF_NODES = ("feature", "border", "missing_right", "left", "value", "gain")


def make(config, data_shape):
    """Model of examples of any shape, from the `model` section: it predicts shares of classes [B, K] or numbers [B, 1].

    params: OF_NODES, arrays [num_trees, nodes, ...], and grown [], how many trees there are. The loss is the squared
    error, of classes that of their shares, summed (Brier 1950); with accuracy or mse. Raises UserError.
    """
    options_of(config.model, int(np.prod(data_shape)), 1)  # numbers are checked here

    def predict(params, x):
        nodes, x = {name: params[name] for name in OF_NODES}, jnp.asarray(flat(x))

        def add(total, tree):
            tree = types.SimpleNamespace(**tree)
            return total + tree.value[bagging.rest(tree, x, 1)[0]], None

        start = jnp.zeros((len(x), nodes["value"].shape[2]), jnp.float32)
        return lax.scan(add, start, nodes)[0] / jnp.maximum(params["grown"], 1)

    def loss(params, key, batch, train=True):
        value, wrong = measured(config.model, predict(params, batch["x"]), batch.get("condition", batch.get("y")))
        metrics = {"accuracy": 1 - wrong.mean()} if is_of_classes(config.model) else {"mse": value.mean()}
        return value.mean(), (metrics, None)

    return Model(None, loss, None, None, predict=predict)


def method(config, dataset):
    """The contracts.Method of a random forest; metrics: loss, oob_error (with bootstrap), nodes (most of a tree).

    Raises UserError for labels and for options that do not fit the table.
    """
    fields, table = config.model, dataset.train.gather(np.arange(dataset.train.size))
    x, y = np.asarray(flat(table["x"])), table.get("condition", table.get("y"))
    rows, features = x.shape
    options = options_of(fields, features, rows)
    if dataset.num_classes:
        if not is_of_classes(fields):
            of = f"model.criterion is '{fields.criterion}', and data.name '{config.data.name}' has classes"
            raise UserError(f"{of}; {nearest(fields.criterion, [name for name in CRITERIA if CRITERIA[name].classes])}")
        y = np.eye(dataset.num_classes)[y]
    ready = binned.columns(x, fields.border_count) if fields.border_count else cart.columns(x)
    aims = cart.targets(y, fields.criterion)
    total = bagging.total_of(options, ready, np.full(rows, options.size))
    room = min(fields.max_nodes or 2 * rows, 2 * rows, 2 ** ((fields.max_depth or 29) + 1) - 1)
    outputs = aims.y.shape[1]

    def one(ready, aims, x, key, number):
        counts, keys = bagging.draw(key, number[None], rows, options)
        trees = bagging.grow(ready, aims, counts, keys, options, total, room)
        nodes = {name: getattr(trees, name) for name in OF_NODES}
        return nodes, trees.size, trees.value[bagging.rest(trees, x, 1)[0]], counts[0] == 0

    def block(batch, key, numbers):
        return lax.map(lambda number: one(batch["ready"], batch["aims"], batch["x"], key, number), numbers)

    def init(key):
        shapes = {"border": jnp.float32, "missing_right": bool, "gain": jnp.float32}
        nodes = {name: jnp.zeros((fields.num_trees, room), shapes.get(name, jnp.int32)) for name in OF_NODES}
        nodes["value"] = jnp.zeros((fields.num_trees, room, outputs), jnp.float32)
        said, count = jnp.zeros((rows, outputs), jnp.float32), jnp.zeros(rows, jnp.float32)
        sums = {"said": said, "out": said, "count": count}
        return {"params": {**nodes, "grown": jnp.int32(0)}, "key": jax.random.key_data(key), **sums}

    def grow(state, batch, devices=None):
        run, first, key = block, state["trees"], jax.random.wrap_key_data(state["key"])
        more = 0 if devices is None else -fields.block % devices.size  # trees that are grown and not kept
        if devices is not None:
            whole, spread = PartitionSpec(), PartitionSpec(devices.axis_names)
            specs = {"in_specs": (whole, whole, spread), "out_specs": spread}
            run = jax.shard_map(block, mesh=devices, check_vma=False, **specs)
        found = run(batch, key, first + jnp.arange(fields.block + more, dtype=jnp.int32))
        nodes, size, said, out = jax.tree.map(lambda x: x[: fields.block], found)
        params = {name: lax.dynamic_update_slice_in_dim(state["params"][name], nodes[name], first, 0) for name in nodes}
        sums, _ = lax.scan(_add, (state["said"], state["out"], state["count"]), (said, out))  # in the trees' order
        grown = first + fields.block
        loss, _ = measured(fields, sums[0] / grown, _labels(fields, batch["aims"]))
        metrics = {"loss": loss.mean(), "nodes": size.max()}
        if options.bootstrap:
            some = jnp.maximum(sums[2], 1)[:, None]
            value, wrong = measured(fields, sums[1] / some, _labels(fields, batch["aims"]))
            error, known = wrong if is_of_classes(fields) else value, sums[2] > 0
            metrics["oob_error"] = jnp.where(known, error, 0).sum() / jnp.maximum(known.sum(), 1)
        sums = dict(zip(("said", "out", "count"), sums))
        return {"params": {**params, "grown": grown}, "key": state["key"], **sums}, metrics

    return Method(init, grow, {"ready": ready, "aims": aims, "x": jnp.asarray(x)}, spread=True)


def options_of(fields, features, rows):
    """The bagging.Options of the `model` section, for a table of that size. Raises UserError."""
    cart.targets([1], fields.criterion)  # raises UserError for one that there is not
    if not 0 < fields.max_samples <= 1:
        raise UserError(f"model.max_samples is {fields.max_samples}; it is a share of the rows: above 0, at most 1.")
    if fields.features_per not in ("node", "tree"):
        raise UserError(
            f"model.features_per is '{fields.features_per}'; {nearest(fields.features_per, ('node', 'tree'))}"
        )
    tree = cart.Options(
        criterion=fields.criterion,
        splitter=fields.splitter,
        max_depth=fields.max_depth or None,
        min_samples_leaf=fields.min_samples_leaf,
        max_features=bagging.resolve(fields.max_features, features),
    )
    size = max(round(fields.max_samples * rows), 1)
    return bagging.Options(tree, fields.bootstrap, size, fields.features_per == "tree")


def is_of_classes(fields):
    """Whether the `model` section is about classes."""
    return CRITERIA[fields.criterion].classes


def measured(fields, found, y):
    """([B] squared errors of predictions [B, K] of y, [B] 1 where the class is wrong)."""
    if not is_of_classes(fields):
        return jnp.mean((found - y.reshape(len(y), -1)) ** 2, axis=1), jnp.zeros(len(y))
    y = y.astype(jnp.int32)
    wrong = (found.argmax(axis=1) != y).astype(jnp.float32)
    return jnp.sum((found - (y[:, None] == jnp.arange(found.shape[1]))) ** 2, axis=1), wrong


def flat(x):
    """[B, F] f32 of examples [B, ...]."""
    return x.reshape(len(x), -1).astype("float32")


def _labels(fields, aims):
    return aims.label if is_of_classes(fields) else aims.y


def _add(sums, tree):
    (said_before, out_before, count), (said, out) = sums, tree
    return (said_before + said, out_before + jnp.where(out[:, None], said, 0), count + out), None
