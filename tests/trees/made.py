"""Ensembles of random trees of both kinds, and their predictions a question at a time."""

import jax.numpy as jnp
import numpy as np

from research.trees import binning, ensemble, forest
from research.trees.boosting import Trees


def random(side="left", missing="min", depth=3, trees=5, outputs=1, borders=6, rows=50, seed=0, names=None):
    """(Ensemble, x with NaN and with numbers on borders): three features, the last with fewer borders."""
    rng = np.random.default_rng(seed)
    values = [np.sort(rng.choice(1000, size, replace=False)) / 8 for size in (borders, borders, 2)]
    found = binning.given(values, side, "min" if missing == "forbid" else missing, names)
    if missing != "learn":  # as where the training data had missing values in the first feature
        end = {"min": [-np.inf, *values[0]], "max": [*values[0], np.inf], "forbid": values[0]}[missing]
        found = binning.given([end, *values[1:]], side, missing, names)
    x = np.stack([rng.choice(np.concatenate([v, v + 0.1, [-1, 200]]), rows) for v in values], 1).astype(np.float32)
    if missing != "forbid":
        x[rng.random(x.shape) < 0.2] = np.nan
    feature = rng.integers(0, 3, (trees, depth)).astype(np.int32)
    threshold = rng.integers(0, found.counts[feature]).astype(np.int32)
    made = Trees(
        jnp.asarray(feature),
        jnp.asarray(threshold),
        jnp.asarray(rng.random((trees, depth)) < 0.5),
        jnp.asarray(rng.random((trees, depth)), jnp.float32),
        jnp.asarray(rng.standard_normal((trees, 2**depth, outputs)), jnp.float32),
        jnp.asarray(rng.integers(1, 9, (trees, 2**depth)), jnp.float32),
        None,
    )
    return ensemble.collect(made, found, np.arange(1, 1 + outputs), "squared"), x


def random_levels(side="left", missing="learn", depth=3, trees=5, outputs=1, per_output=False, seed=0):
    """(boosting.Trees as grown level by level, their binning.Borders, x): most nodes split."""
    like, x = random(side, missing, 1, 1, rows=60, seed=seed)
    rng, borders, last = np.random.default_rng(seed), ensemble.borders_of(like), 2**depth - 1
    shape = (trees, outputs if per_output else 1, last)
    feature = rng.integers(0, 3, shape).astype(np.int32)
    used = np.ones((*shape[:2], 2 * last + 1), bool)
    for i in range(last):  # a place below a leaf is no node
        feature[..., i] = np.where(used[..., i] & (rng.random(shape[:2]) < 0.8), feature[..., i], -1)
        used[..., 2 * i + 1 : 2 * i + 3] = feature[..., i, None] >= 0
    inner = np.pad(feature >= 0, ((0, 0), (0, 0), (0, last + 1)))
    resting = used & ~inner
    threshold = rng.integers(0, borders.counts[feature]).astype(np.int32) * (feature >= 0)
    value = rng.standard_normal((*used.shape, outputs // shape[1])) * resting[..., None]
    arrays = (feature, threshold, rng.random(shape) < 0.5, rng.random(shape) * (feature >= 0), value)
    arrays += (rng.integers(1, 9, used.shape) * resting,)
    kinds = (np.int32, np.int32, bool, np.float32, np.float32, np.float32)
    return Trees(*(jnp.asarray(x, kind) for x, kind in zip(arrays, kinds)), None), borders, x


def random_forest(side="left", nodes=9, trees=5, outputs=1, per_output=False, names=None, missing="learn", seed=0):
    """(Forest, x): trees of that many nodes, which split in any order; numbers on borders, and NaN."""
    rng = np.random.default_rng(seed)
    shape = (trees, outputs if per_output else 1, nodes)
    left, depth = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for t, j in np.ndindex(shape[:2]):
        for child in range(1, nodes - 1, 2):
            parent = rng.choice([i for i in range(child) if not left[t, j, i]])
            left[t, j, parent], depth[t, j, child : child + 2] = child, depth[t, j, parent] + 1
    inner = left > 0
    border = rng.integers(0, 5, shape) * inner
    value = rng.standard_normal((*shape, outputs // shape[1])) * ~inner[..., None]
    arrays = (rng.integers(0, 3, shape) * inner, border, rng.random(shape) < 0.5, left)
    arrays += (value, rng.random(shape) * inner, rng.integers(1, 9, shape))
    kinds = (np.int32, np.float32, bool, np.int32, np.float32, np.float32, np.float32)
    made = forest.Forest(
        *(jnp.asarray(x, kind) for x, kind in zip(arrays, kinds)),
        start=jnp.arange(1.0, 1 + outputs),
        side=side,
        depth=int(depth.max()),
        columns=3,
        objective="squared" if outputs == 1 else f"multi_squared:outputs={outputs}",
        names=names,
        missing=missing,
    )
    x = rng.integers(-2, 12, (60, 3)).astype(np.float32) / 2
    if missing != "forbid":
        x[rng.random(x.shape) < 0.2] = np.nan
    return made, x


def walked(said, x):
    """Predictions [N, K] of what `describe` gives, a row and a question at a time."""
    return np.array([said["start"] + sum(_round(tree, row) for tree in said["trees"]) for row in x])


def answer(split, row):
    value, border = row[split["feature"]], split["border"]
    if np.isnan(value):
        return split["missing"] == "right"
    return value > border if split["question"] == "x > border" else value >= border


def _round(tree, row):
    if isinstance(tree, list):  # a tree for each output
        return np.array([_round(root, row) for root in tree])
    if "leaves" in tree:
        return np.array(tree["leaves"][sum(answer(split, row) << d for d, split in enumerate(tree["splits"]))])
    while "value" not in tree:
        tree = tree["right" if answer(tree, row) else "left"]
    return np.array(tree["value"])
