"""Fitting by a config: borders, a start, blocks of trees, and where to stop. Entry points: `fit` and `predict`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError, is_known
from research.trees import binning, blocks, boosting, dart, exact, objectives, prediction, watching
from research.trees.options import dart_of, kind_of, options_of


class Fitted(NamedTuple):
    """of: the Ensemble or Forest, up to the best round where fitting stops early, or else of all rounds.

    evals: for each of the eval sets a dict of the metrics' values, one a round. best: that round, from 0, or None.
    """

    of: object
    evals: list
    best: int | None


def fit(x, y, config, *, key=None, sample_weight=None, eval_set=None):
    """The Ensemble or Forest of config.num_trees trees on x, of any form that `binning` takes, and y [N, ...].

    config: the fields of `model` in configs/gbdt_*.py; its name says which kind, and its objective may be one of
    objectives.from_loss. With eval_set = (x, y), or a list of such, and config.early_stopping it ends once the loss on
    the last one has not fallen for so many trees, with the trees up to the least.
    Raises UserError for tables, labels, weights and options that cannot be.
    """
    return run(x, y, config, key=key, sample_weight=sample_weight, eval_set=eval_set).of


def run(x, y, config, *, key=None, sample_weight=None, eval_set=None, metrics=None):
    """Fitted to what `fit` takes; metrics: a dict as watching.watch takes, the last of which says when to stop."""
    objective, options, kind, how = objective_of(config), options_of(config), kind_of(config), dart_of(config)
    name = objective.name if objective is config.objective else config.objective
    if hasattr(x, "__next__"):
        raise UserError("x is an iterator, and fitting reads the table twice; give an array, a frame or Parquet files.")
    y = targets(y, objective)
    weight = None if sample_weight is None else weights(sample_weight, y, objective)
    table, counts, borders, options = prepared(x, config, options, sample_weight)
    if (rows := jax.tree.leaves(table)[0].shape[1]) != len(y):
        raise UserError(f"x has {rows} rows and y {len(y)}; give one target for each row.")
    held = [(x, targets(truth, objective, beside=y)) for x, truth in watching.pairs(eval_set)]
    if config.early_stopping and not held:
        raise UserError(f"early_stopping is {config.early_stopping} trees; it needs an eval_set to watch.")
    metrics, every = metrics or {"loss": watching.loss(objective)}, options.parallel
    with jax.enable_x64(True):
        state = boosting.init(y, weight, objective, jax.random.key(0) if key is None else key)
    start, grown, best, size, history = state.score[0], [], None, None, None
    held = [watching.Held(*pair, start) for pair in held]
    evals = [{name: [] for name in metrics} for _ in held]
    if how:
        dart.check(how, options)
        state = dart.init(state, config.num_trees, options)
    while (left := config.num_trees - int(state.tree)) and size is None:
        fixed, more = (table, counts, y, weight, objective, options), min(config.block, left)
        if how:
            state, trees, new = dart.boost(*fixed, how, more, state)
            history = new if history is None else jnp.concatenate([history, new])
        else:
            (state, trees), new = boosting.boost(*fixed, key, more, state), None
        if not np.isfinite(trees.loss).all():
            within = f"the loss is not finite in float32 within {int(state.tree)} trees"
            raise UserError(f"{within}; lower learning_rate, or scale y or the weights down.")
        grown.append(trees._replace(loss=None))
        for i, one in enumerate(held):
            part = kind.collect(trees, borders, 0 * start, name)
            held[i], found = watching.watch(part, one, metrics, every, new)
            evals[i] = {name: evals[i][name] + found[name] for name in metrics}
        if config.early_stopping:
            last, (_, greater) = list(metrics.items())[-1]
            best, size = watching.stop(evals[-1][last], greater, config.early_stopping)
    trees = jax.tree.map(lambda *parts: jnp.concatenate(parts), *grown)
    if how:
        scale = history[-1 if best is None else best, : len(trees.leaves)]
        trees = trees._replace(leaves=trees.leaves * scale[..., None, None])
    evals = [{name: values[:size] for name, values in of_set.items()} for of_set in evals]
    of = kind.collect(trees, borders, start, name)
    return Fitted(prediction.first(of, None if best is None else (best + 1) * every), evals, best)


def prepared(x, config, options, weight=None):
    """(what trees grow on, how many splits each column has [F], binning.Borders, boosting.Options)."""
    if getattr(options.tree, "cuts", "given") == "given":
        borders = find_borders(x, config, weight)
        return binning.apply(borders, x), borders.counts, borders, options
    table, counts = exact.columns(x)
    has_missing = bool(jnp.isnan(table.x).any())
    borders = binning.given([[]] * len(counts), "right", "learn", blocks.names_of(x))
    return table, counts, borders, options._replace(tree=options.tree._replace(learn_missing=has_missing))


def predict(of, x):
    """Predictions of an ensemble [N] or [N, K]: numbers, probabilities of class 1 (logistic) or of each (softmax).

    numpy, or, where x is traced, an array under jit.
    """
    found = link(of, jnp.asarray(prediction.predict_raw(of, x)))
    return np.asarray(found) if is_known(found) else found


def link(of, raw):
    """Predictions of raw scores [N, K] of an ensemble; of an objective of one's own the scores, [N] where K = 1."""
    if of.loss_name not in objectives.OBJECTIVES:
        return raw[:, 0] if raw.shape[1] == 1 else raw
    return get_objective(of.objective).link(raw)


def get_objective(name):
    """The Objective of a name with options, such as "quantile:alpha=0.8" or "softmax:classes=3"."""
    name, _, rest = name.partition(":")
    options = {}
    for part in filter(None, rest.split(",")):
        option, _, value = part.partition("=")
        try:
            number = float(value)
            options[option.strip()] = int(number) if number.is_integer() else number
        except ValueError:
            raise UserError(f"the objective's option '{part}' is no NAME=NUMBER, as in quantile:alpha=0.8.") from None
    try:
        return objectives.get(name, **options)
    except TypeError:
        raise UserError(f"the objective '{name}' has no such options: {rest or 'none were given'}.") from None


def objective_of(config):
    """The Objective that `config.objective` is or names."""
    given = config.objective
    return given if isinstance(given, objectives.Objective) else get_objective(given)


def find_borders(x, config, weight=None):
    """The binning.Borders of a config; `borders` is a kind of `binning.find`, or a list of arrays, one a feature."""
    if not isinstance(config.borders, str):
        return binning.given(config.borders, missing=config.missing, names=blocks.names_of(x))
    return binning.find(x, config.borders, config.border_count, weight, config.missing)


def targets(y, objective, beside=None):
    """y as the objective's loss takes it. Raises UserError for labels that it is not of.

    beside: targets that are fitted to; then y need not have labels of each kind.
    """
    y = np.asarray(y)
    objective.check(y if beside is None or y.shape[1:] != beside.shape[1:] else np.concatenate([y, beside]))
    return jnp.asarray(y, jnp.int32 if objective.name.startswith("softmax") else jnp.float32)


def weights(sample_weight, y, objective):
    """[N] f32. Raises UserError for what cannot be weights, and where labels are missing among rows that weigh."""
    found = blocks.weights(sample_weight, len(y))
    if not found.any():
        raise UserError("all weights are 0; give at least one row a positive weight.")
    try:
        objective.check(np.asarray(y)[found > 0])
    except UserError as error:
        raise UserError(f"of the rows with a weight above 0: {error}") from None
    return jnp.asarray(found, jnp.float32)
