"""Fitting by a config: borders, a start, blocks of trees, and where to stop. Entry points: `fit` and `predict`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError, nearest
from research.trees import binning, blocks, boosting, ensemble, objectives, oblivious


def fit(x, y, config, *, key=None, sample_weight=None, eval_set=None):
    """The Ensemble of config.num_trees trees on the rows of x, of any form that `binning` takes, and y [N, ...].

    config: the fields of `model` in configs/gbdt_oblivious_*.py. With eval_set = (x, y) and config.early_stopping it
    ends once the loss there has not fallen for so many trees, with the trees up to the least. Raises UserError for
    tables, labels, weights and options that cannot be.
    """
    objective, options = objective_of(config), options_of(config)
    y, weight = targets(y, objective), None if sample_weight is None else jnp.asarray(sample_weight, jnp.float32)
    borders = find_borders(x, config, sample_weight)
    codes = binning.apply(borders, x)
    if codes.shape[1] != len(y):
        raise UserError(f"x has {codes.shape[1]} rows and y {len(y)}; give one target for each row.")
    if config.early_stopping and eval_set is None:
        raise UserError(f"early_stopping is {config.early_stopping} trees; it needs an eval_set to watch.")
    if config.early_stopping:
        held_out = binning.apply(borders, eval_set[0]), targets(eval_set[1], objective)
    key = jax.random.key(0) if key is None else key
    state = boosting.init(y, weight, objective, key)
    start, grown, losses = state.score[0], [], []
    score = start
    while (left := config.num_trees - int(state.tree)) and not is_over(losses, config.early_stopping):
        args = (codes, borders.counts, y, weight, objective, options, key, min(config.block, left), state)
        state, trees = boosting.boost(*args)
        grown.append(trees)
        if config.early_stopping:
            score, found = watched(
                ensemble.collect(trees, borders, 0 * start, objective.name), objective, score, *held_out
            )
            losses += found
    trees = jax.tree.map(lambda *parts: jnp.concatenate(parts), *grown)
    best = int(np.argmin(losses)) + 1 if losses else None
    return ensemble.first(ensemble.collect(trees, borders, start, config.objective), best)


def watched(block, objective, score, codes, y):
    """(scores [N, K] after the trees of an Ensemble that starts from 0, the mean loss after each) on codes, y."""
    losses = []
    for i in range(len(block.feature)):
        one = dataclasses.replace(block, **ensemble.some(block, slice(i, i + 1)))
        score = score + ensemble.predict_codes(one, codes)
        losses.append(float(jnp.mean(jax.vmap(objective.loss)(score, y))))
    return score, losses


def is_over(losses, patience):
    """Whether the least loss lies `patience` trees back."""
    return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= patience


def predict(of, x):
    """Predictions of an Ensemble [N] or [N, K]: numbers, probabilities of class 1 (logistic) or of each (softmax)."""
    return np.asarray(get_objective(of.objective).link(jnp.asarray(ensemble.predict_raw(of, x))))


def get_objective(name):
    """The Objective of a name with options, such as "quantile:alpha=0.8" or "softmax:classes=3"."""
    name, _, rest = name.partition(":")
    options = {}
    for part in filter(None, rest.split(",")):
        option, _, value = part.partition("=")
        try:
            options[option.strip()] = float(value) if "." in value else int(value)
        except ValueError:
            raise UserError(f"the objective's option '{part}' is no NAME=NUMBER, as in quantile:alpha=0.8.") from None
    try:
        return objectives.get(name, **options)
    except TypeError:
        raise UserError(f"the objective '{name}' has no such options: {rest or 'none were given'}.") from None


def objective_of(config):
    """The Objective of `config.objective`."""
    return get_objective(config.objective)


def options_of(config):
    """boosting.Options of a config. Raises UserError for an unknown score."""
    if config.score_function not in oblivious.SCORES:
        raise UserError(
            f"score_function is '{config.score_function}'; {nearest(config.score_function, oblivious.SCORES)}"
        )
    tree = oblivious.Options(
        depth=config.depth,
        l2=config.l2_leaf_reg,
        score=config.score_function,
        random_strength=config.random_strength,
        tree_features=config.colsample_bytree,
        level_features=config.colsample_bylevel,
        learn_missing=config.missing == "learn",
    )
    return boosting.Options(
        tree=tree,
        rate=config.learning_rate,
        leaf_method=config.leaf_method,
        leaf_iterations=config.leaf_iterations,
        row_share=config.subsample,
        temperature=config.bagging_temperature,
    )


def find_borders(x, config, weight=None):
    """The binning.Borders of a config; `borders` is a kind of `binning.find`, or a list of arrays, one a feature."""
    if not isinstance(config.borders, str):
        return binning.given(config.borders, missing=config.missing, names=blocks.names_of(x))
    return binning.find(x, config.borders, config.border_count, weight, config.missing)


def targets(y, objective):
    """y as the objective's loss takes it. Raises UserError for labels that it is not of."""
    y = np.asarray(y)
    objective.check(y)
    return jnp.asarray(y, jnp.int32 if objective.name == "softmax" else jnp.float32)
