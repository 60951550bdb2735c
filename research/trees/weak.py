"""Weak learners for adaboost.py: trees on codes [F, N], for classes and for numbers, and perceptrons on numbers."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from research.trees import boosting, forest, histogram, levelwise
from research.trees.adaboost import Weak


def classifier(counts, num_bins, classes, depth=1):
    """A Weak of trees that part classes by Gini's impurity and predict the label of most weight in a leaf."""
    label = (lambda values: values[:, 0] > 0) if classes == 2 else (lambda values: values.argmax(-1))
    return _tree(counts, num_bins, depth, classes, lambda values: label(values).astype(jnp.int32))


def probabilities(counts, num_bins, classes, depth=1):
    """The same, predicting each class's share of a leaf's weight."""
    two = lambda values: jnp.concatenate([1 - values, 1 + values], 1) / 2  # noqa: E731
    return _tree(counts, num_bins, depth, classes, two if classes == 2 else lambda values: values)


def regressor(counts, num_bins, depth=3):
    """A Weak of trees of least squares, predicting the mean of a leaf."""
    return _tree(counts, num_bins, depth, None, lambda values: values[:, 0])


def perceptron(classes, steps=100, rate=1.0):
    """A Weak of one layer on x [N, F]: gradient descent on the weighted log-loss from a random start, x at deviation 1.

    Of all steps it keeps the one that gets least weight wrong, as Gallant's (1990) pocket; the last is often no better
    than chance once AdaBoost has evened out what descent finds.
    """

    def scores(params, x):
        return ((x - params["mean"]) / params["deviation"]) @ params["kernel"] + params["bias"]

    def fit(key, x, y, w):
        w = w.astype(x.dtype)
        mean = w @ x
        deviation = jnp.sqrt(w @ (x - mean) ** 2)
        scale = {"mean": mean, "deviation": jnp.where(deviation > 0, deviation, 1)}

        def loss(params):
            log_p = jax.nn.log_softmax(scores(params | scale, x))
            return -(w @ jnp.take_along_axis(log_p, y[:, None], 1)[:, 0])

        def step(_, carry):
            params, kept, least = carry
            params = jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params))
            error = w @ (scores(params | scale, x).argmax(-1) != y)
            kept = jax.tree.map(lambda new, old: jnp.where(error < least, new, old), params, kept)
            return params, kept, jnp.minimum(error, least)

        keys = jax.random.split(key)
        shapes = {"kernel": (x.shape[1], classes), "bias": (classes,)}
        start = {name: jax.random.normal(k, shape, x.dtype) for k, (name, shape) in zip(keys, shapes.items())}
        return lax.fori_loop(0, steps, step, (start, start, jnp.asarray(jnp.inf, x.dtype)))[1] | scale

    return Weak(fit, lambda params, x: scores(params, x).argmax(-1).astype(jnp.int32))


def to_forest(stages, borders, labels):
    """The Forest, of two classes, whose trees add what the stages' do by weight: their numbers, or -1 and 1 for labels.

    stages: adaboost.Stages of `regressor` or, with labels, of `classifier`; borders: the binning.Borders of the codes.
    """
    feature, threshold, gain, values = (a[:, None] for a in stages.params)
    inner = feature >= 0
    reached = jnp.concatenate([jnp.ones_like(inner[..., :1]), jnp.repeat(inner, 2, axis=2)], 2)
    leaf = reached & ~jnp.pad(inner, ((0, 0), (0, 0), (0, inner.shape[2] + 1)))
    values = jnp.where(values > 0, 1.0, -1.0) if labels else values
    leaves = jnp.where(leaf[..., None], stages.weight[:, None, None, None] * values, 0).astype(jnp.float32)
    trees = boosting.Trees(feature, threshold, jnp.zeros_like(inner), gain, leaves, None, None)
    return forest.collect(trees, borders, jnp.zeros(1), "exponential")


def _tree(counts, num_bins, depth, classes, answer):
    """A Weak of `answer`s of leaves, [R, K]. params: feature, threshold and gain of the heap's inner places, and values
    [places, K]: means of numbers, classes' shares, or of two classes [places, 1] the second's share less the first's.
    """
    options = levelwise.Options(depth=depth, l2=0.0, least_gain=0.0, least_weight=0.0)
    inner = levelwise.places(depth - 1)

    def fit(key, codes, y, w):
        rows = {"num_bins": num_bins, "num_rows": len(y)}
        pairs = histogram.pairs(codes, num_bins)
        # Of two classes, as -1 and 1, splits of least squares are those of Gini's impurity.
        y = y[:, None] if classes is None else 2.0 * y[:, None] - 1 if classes == 2 else jax.nn.one_hot(y, classes)
        g = w[:, None] * y
        tree, place = levelwise.grow(codes, jnp.asarray(counts), g, w[:, None], options, key, pairs=pairs, **rows)
        sums = histogram.leaf_total(jnp.concatenate([g, w[:, None]], 1), place, levelwise.places(depth), len(y))
        weight = sums[:, -1:]
        values = jnp.where(weight > 0, sums[:, :-1] / jnp.where(weight > 0, weight, 1), 0)
        return tree.feature, tree.threshold, tree.gain, values.astype(jnp.float32)

    def predict(params, codes):
        feature, threshold, _, values = params
        if depth == 1:
            right = (codes[feature[0]] > threshold)[:, None]
            return answer(jnp.where(feature < 0, values[0], jnp.where(right, values[2], values[1])))
        rows = jnp.arange(codes.shape[1])

        def ask(_, place):
            at = jnp.minimum(place, inner - 1)
            code = codes.at[feature[at], rows].get(mode="clip")
            below = 2 * place + 1 + (code > threshold[at])
            return jnp.where((place < inner) & (feature[at] >= 0), below, place).astype(jnp.int32)

        return answer(values[lax.fori_loop(0, depth, ask, jnp.zeros(codes.shape[1], jnp.int32))])

    return Weak(functools.partial(_stump, num_bins, classes) if classes and depth == 1 else fit, predict)


def _stump(num_bins, classes, key, codes, y, w):
    """What `_tree` fits, of depth 1 to classes, in half of the time: one number of a row is added up, by class."""
    unit = 2.0**-60  # of weights whose sum is 1
    packed = histogram.Packed(jnp.round(w[:, None] / unit).astype(jnp.int64), (unit,), tuple(range(8)))

    def purity(mass):  # [B, K]
        weight = mass.sum(1)
        return weight, (mass**2).sum(1) / jnp.where(weight > 0, weight, 1)

    def finish(sums):  # [B, K, 1]
        left, right = sums[..., 0] * unit, (sums[-1:] - sums)[..., 0] * unit
        (weight, score), (other, more), (_, before) = purity(left), purity(right), purity(left[-1:])
        both = score + more
        some = (weight > 0) & (other > 0) & (both - before > 8 * jnp.finfo(both.dtype).eps * both)  # less is rounding
        gain = jnp.where(some, both - before, -jnp.inf)
        top = gain.max()  # and where it is: thrice as fast on a CPU as argmax
        at = jnp.where(gain == top, jnp.arange(num_bins), num_bins - 1).min()
        return top, at, jnp.stack([left[-1], left[at], right[at]])

    gain, at, mass = histogram.each(codes, y, packed, num_bins, classes, finish)
    best = jnp.argmax(gain)  # the lowest feature of equal ones, as at all depths
    weight, mass = mass[best].sum(1, keepdims=True), mass[best]
    shares = (mass[:, 1:] - mass[:, :1] if classes == 2 else mass) / jnp.where(weight > 0, weight, 1)
    splits = jnp.isfinite(gain[best])
    feature, threshold, gain = (jnp.where(splits, x, none) for x, none in ((best, -1), (at[best], 0), (gain[best], 0)))
    kinds = ((feature, jnp.int32), (threshold, jnp.int32), (gain, jnp.float32))
    return *(x.astype(kind)[None] for x, kind in kinds), shares.astype(jnp.float32)
