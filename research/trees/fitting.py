"""Fitting by a config: borders, a start, blocks of trees, and where to stop. Entry points: `fit` and `predict`."""

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError, is_known
from research.trees import binning, blocks, boosting, objectives, prediction
from research.trees.options import kind_of, options_of


def fit(x, y, config, *, key=None, sample_weight=None, eval_set=None):
    """The Ensemble or Forest of config.num_trees trees on x, of any form that `binning` takes, and y [N, ...].

    config: the fields of `model` in configs/gbdt_*.py; its name says which kind, and its objective may be one of
    objectives.from_loss. With eval_set = (x, y) and
    config.early_stopping it ends once the loss there has not fallen for so many trees, with the trees up to the least.
    Raises UserError for tables, labels, weights and options that cannot be.
    """
    objective, options, kind = objective_of(config), options_of(config), kind_of(config)
    name = objective.name if objective is config.objective else config.objective
    if hasattr(x, "__next__"):
        raise UserError("x is an iterator, and fitting reads the table twice; give an array, a frame or Parquet files.")
    y = targets(y, objective)
    weight = None if sample_weight is None else weights(sample_weight, y, objective)
    borders = find_borders(x, config, sample_weight)
    codes = binning.apply(borders, x)
    if codes.shape[1] != len(y):
        raise UserError(f"x has {codes.shape[1]} rows and y {len(y)}; give one target for each row.")
    if config.early_stopping and eval_set is None:
        raise UserError(f"early_stopping is {config.early_stopping} trees; it needs an eval_set to watch.")
    key = jax.random.key(0) if key is None else key
    with jax.enable_x64(True):
        state = boosting.init(y, weight, objective, key)
    start, grown, losses = state.score[0], [], []
    if config.early_stopping:
        held_out, of_held_out = pair(eval_set)
        score, rows, truth = start, None, targets(of_held_out, objective, beside=y)
    while (left := config.num_trees - int(state.tree)) and not is_over(losses, config.early_stopping):
        args = (codes, borders.counts, y, weight, objective, options, key, min(config.block, left), state)
        state, trees = boosting.boost(*args)
        if not np.isfinite(trees.loss).all():
            within = f"the loss is not finite in float32 within {int(state.tree)} trees"
            raise UserError(f"{within}; lower learning_rate, or scale y or the weights down.")
        grown.append(trees)
        if config.early_stopping:
            block = kind.collect(trees, borders, 0 * start, name)
            rows = prediction.encode(block, held_out) if rows is None else rows
            score, found = watched(block, objective, score, rows, truth)
            losses += found
    trees = jax.tree.map(lambda *parts: jnp.concatenate(parts), *grown)
    best = int(np.argmin(losses)) + 1 if losses else None
    return prediction.first(kind.collect(trees, borders, start, name), best)


def pair(eval_set):
    """(x, y) of an eval_set. Raises UserError for what is no such pair."""
    if not isinstance(eval_set, (tuple, list)) or len(eval_set) != 2:
        raise UserError("eval_set must be one pair (x, y), not a list of pairs.")
    return eval_set


def watched(block, objective, score, rows, y):
    """(scores [N, K] after the trees of an ensemble that starts from 0, the mean loss after each); rows are encoded."""
    if rows.shape[1] != len(y):
        raise UserError(f"the x of eval_set has {rows.shape[1]} rows and its y {len(y)}; give one target for each row.")
    losses = []
    for one in prediction.parts(block):
        score = score + prediction.predict_encoded(one, rows)
        losses.append(float(jnp.mean(jax.vmap(objective.loss)(score, y))))
    return score, losses


def is_over(losses, patience):
    """Whether the least loss lies `patience` trees back."""
    return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= patience


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
    return jnp.asarray(y, jnp.int32 if objective.name == "softmax" else jnp.float32)


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
