"""Bias and variance of the trees of forests, over training sets drawn anew. Entry points: `each_tree` and `split`."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from research.trees import forest, prediction


def each_tree(of, x, nodes):
    """[T, N], what each tree of a Forest of numbers says of x [N, F]; nodes: room, so that forests compile once.

    The trees become the outputs of one round.
    """
    trees = len(of.left)

    def turned(a):
        return jnp.swapaxes(jnp.pad(a, [(0, 0), (0, 0), (0, nodes - a.shape[2]), *[(0, 0)] * (a.ndim - 3)]), 0, 1)

    fields = {name: turned(getattr(of, name)) for name in forest.OF_TREES}
    fields["value"] *= trees  # of which a forest takes the mean
    one = dataclasses.replace(of, **fields, start=jnp.zeros(trees), depth=max(of.depth, 32))
    return prediction.predict_raw(one, x).T


def split(said, truth):
    """{"bias2", "variance": [T], "correlation"} of said [S, T, N], T trees of each of S training sets, of truth [N].

    Neither is biased by S being small. Two trees of one training set have the correlation, so that the variance of b
    of them is between + within / b.
    """
    sets, trees = said.shape[:2]
    first = np.cumsum(said, axis=1) / np.arange(1, trees + 1)[:, None]
    variance = first.var(axis=0, ddof=1).mean(axis=1)
    bias2 = ((first.mean(axis=0) - truth) ** 2).mean(axis=1) - variance / sets
    within = said.var(axis=1, ddof=1).mean()
    between = variance[-1] - within / trees
    return {"bias2": bias2, "variance": variance, "correlation": between / (between + within)}
