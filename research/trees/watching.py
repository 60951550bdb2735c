"""How held-out tables fare after each round, and where to stop. Entry points: `pairs`, `begin`, `watch`, `stop`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError
from research.trees import prediction


class Held(NamedTuple):
    """A held-out table [N, F] or its encoded rows, its targets, and its scores [N, K]; what each tree of dart adds."""

    x: object
    y: jax.Array
    score: jax.Array
    is_encoded: bool = False
    added: tuple = ()


def pairs(eval_set):
    """List of pairs (x, y) of an eval_set, one pair or a list of them. Raises UserError for what is neither."""
    if eval_set is None:
        return []
    if isinstance(eval_set, list) and eval_set and all(isinstance(pair, tuple) for pair in eval_set):
        found = eval_set
    else:
        found = [eval_set]
    for pair in found:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise UserError("eval_set must be a pair (x, y), or a list of such tuples.")
    return [tuple(pair) for pair in found]


def loss(objective):
    """The mean loss as a metric: (function (score [N, K], y) -> float, whether greater is better)."""
    return lambda score, y: float(jnp.mean(jax.vmap(objective.loss)(score, y))), False


def watch(block, held, metrics, every=1, weights=None):
    """(Held after the rounds of a block of trees, which starts from 0; a dict of each metric's values, one a round).

    metrics: dict of names to such pairs as `loss` gives. every: trees a round. weights [rounds, T, J]: those of all
    trees after each round, where they change.
    """
    if not held.is_encoded:
        held = held._replace(x=prediction.encode(block, held.x), is_encoded=True)
        if held.x.shape[1] != len(held.y):
            sizes = f"{held.x.shape[1]} rows and its y {len(held.y)}"
            raise UserError(f"the x of eval_set has {sizes}; give one target for each row.")
        held = held._replace(score=jnp.broadcast_to(held.score, (len(held.y), held.score.shape[-1])))
    values, start = {name: [] for name in metrics}, held.score
    for i, one in enumerate(prediction.parts(block, every)):
        more = prediction.predict_encoded(one, held.x)
        if weights is None:
            held = held._replace(score=held.score + more)
            score = held.score
        else:
            held = held._replace(added=(*held.added, np.asarray(more)))
            score = start + sum(w * a for w, a in zip(weights[i], held.added))
        for name, (measure, _) in metrics.items():
            values[name].append(measure(score, held.y))
    return held, values


def stop(values, greater, patience):
    """(the round of the best value, how many rounds there are once `patience` of them are no better, or else None)."""
    best = 0
    for i, value in enumerate(values):
        if value > values[best] if greater else value < values[best]:
            best = i
        if i - best >= patience:
            return best, i + 1
    return best, None
