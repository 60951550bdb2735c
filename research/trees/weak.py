"""Trees as weak learners on codes [F, N]: `classifier`, `probabilities` and `regressor` for adaboost.py."""

import jax
import jax.numpy as jnp
from jax import lax

from research.trees import histogram, levelwise
from research.trees.adaboost import Weak


def classifier(counts, num_bins, classes, depth=1):
    """A Weak of trees that part classes by Gini's impurity and predict the label of most weight in a leaf."""
    return Weak(*_tree(counts, num_bins, depth, _one_hot(classes), lambda values: values.argmax(-1).astype(jnp.int32)))


def probabilities(counts, num_bins, classes, depth=1):
    """The same, predicting each class's share of a leaf's weight."""
    return Weak(*_tree(counts, num_bins, depth, _one_hot(classes), lambda values: values))


def regressor(counts, num_bins, depth=3):
    """A Weak of trees of least squares, predicting the mean of a leaf."""
    return Weak(*_tree(counts, num_bins, depth, lambda y: y[:, None], lambda values: values[..., 0]))


def _one_hot(classes):
    return lambda y: jax.nn.one_hot(y, classes)


def _tree(counts, num_bins, depth, targets, answer):
    """(fit, predict). params: feature and threshold of the heap's inner places, values [places, K]."""
    counts = jnp.asarray(counts, jnp.int32)
    options = levelwise.Options(depth=depth, l2=0.0, least_gain=0.0, least_weight=0.0)
    inner = levelwise.places(depth - 1)

    def fit(key, codes, y, w):
        rows = {"num_bins": num_bins, "num_rows": len(y)}
        pairs = histogram.pairs(codes, num_bins)
        g = w[:, None] * targets(y)
        tree, place = levelwise.grow(codes, counts, g, w[:, None], options, key, pairs=pairs, **rows)
        sums = histogram.leaf_total(jnp.concatenate([g, w[:, None]], 1), place, levelwise.places(depth), len(y))
        weight = sums[:, -1:]
        values = jnp.where(weight > 0, sums[:, :-1] / jnp.where(weight > 0, weight, 1), 0)
        return tree.feature, tree.threshold, values.astype(jnp.float32)

    def predict(params, codes):
        feature, threshold, values = params
        rows = jnp.arange(codes.shape[1])

        def ask(_, place):
            at = jnp.minimum(place, inner - 1)
            code = codes.at[feature[at], rows].get(mode="clip")
            below = 2 * place + 1 + (code > threshold[at])
            return jnp.where((place < inner) & (feature[at] >= 0), below, place).astype(jnp.int32)

        return answer(values[lax.fori_loop(0, depth, ask, jnp.zeros(codes.shape[1], jnp.int32))])

    return fit, predict
