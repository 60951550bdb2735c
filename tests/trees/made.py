"""Ensembles of random trees, and their predictions a question at a time."""

import jax.numpy as jnp
import numpy as np

from research.trees import binning, ensemble
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


def walked(said, x):
    """Predictions [N, K] of what `describe` gives, a row and a question at a time."""
    found = []
    for row in x:
        total = np.array(said["start"], np.float64)
        for tree in said["trees"]:
            leaf = 0
            for d, split in enumerate(tree["splits"]):
                value, border = row[split["feature"]], split["border"]
                right = value > border if split["question"] == "x > border" else value >= border
                leaf += (split["missing"] == "right" if np.isnan(value) else right) << d
            total = total + tree["leaves"][leaf]
        found.append(total)
    return np.array(found)
