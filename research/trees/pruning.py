"""Trees of CART cut back by minimal cost-complexity pruning (Breiman, Friedman, Olshen & Stone 1984, chapter 3).

A tree costs its impurity, of rows that weigh 1 in all, and alpha for each leaf. Its weakest link is the inner node that
is the first, as alpha grows, to be no dearer as a leaf: where alpha is what its branch lowers the impurity by, over the
number of its leaves less one. Cutting weakest links one by one gives the cheapest tree for each alpha.
Entry points: `path` and `prune`, of cart.Trees.
"""

import jax
import numpy as np


def path(trees, tree=0):
    """(alphas, impurities), [L] float64: of the whole tree, then of it after each cut; the last is the root alone.

    From an alpha on, up to the next, the tree of that impurity is the cheapest.
    """
    alpha, _, rise = zip(*[(0.0, None, 0.0), *_links(trees, tree)])
    return np.array(alpha), float(trees.impurity[tree]) - (sum(rise) - np.cumsum(rise))


def prune(trees, alpha):
    """cart.Trees as numpy arrays: of each tree the smallest that is the cheapest for alpha."""
    trees = jax.tree.map(np.asarray, trees)
    left = trees.left.copy()
    for tree in range(trees.tree[: trees.size].max() + 1):
        left[[node for link, node, _ in _links(trees, tree) if link <= alpha]] = 0
    depth = np.where(np.arange(trees.size) <= trees.tree[: trees.size].max(), 0, -1)  # -1: what is cut off
    for node in np.flatnonzero(left[: trees.size]):  # parents come first
        if depth[node] >= 0:
            depth[left[node] : left[node] + 2] = depth[node] + 1
    kept = np.flatnonzero(depth >= 0)
    left = np.where(left[kept] > 0, np.searchsorted(kept, left[kept]), 0).astype(np.int32)
    found = {name: x[kept] for name, x in trees._asdict().items() if np.ndim(x)} | {"left": left}
    for name in ("feature", "border", "missing_right", "gain"):
        found[name] = np.where(left > 0, found[name], 0).astype(found[name].dtype)
    return trees._replace(**found, size=np.int32(len(kept)), depth=depth.max())


def _links(trees, tree):
    """[(alpha, node, what its cut raises the impurity by)] of one tree, in the order of cuts; alphas do not fall."""
    trees = jax.tree.map(np.asarray, trees)
    left, size = trees.left, int(trees.size)
    inner = np.flatnonzero((trees.tree[:size] == tree) & (left[:size] > 0))
    gain = trees.gain[:size].astype(np.float64) / trees.cover[tree]
    parent, branch, splits, strength = np.full(size, -1), np.zeros(size), np.zeros(size), np.full(size, np.inf)
    parent[left[inner]] = parent[left[inner] + 1] = inner

    def measure(node):
        children = slice(left[node], left[node] + 2)
        branch[node], splits[node] = gain[node] + branch[children].sum(), 1 + splits[children].sum()
        strength[node] = branch[node] / splits[node]

    for node in inner[::-1]:
        measure(node)
    links, alpha = [], 0.0
    while splits[tree]:
        cut = node = inner[strength[inner].argmin()]
        alpha = max(alpha, strength[cut])  # but for rounding it does not fall
        links.append((alpha, cut, branch[cut]))
        below = [cut]
        while below:
            node = below.pop()
            strength[node] = np.inf
            below += [child for child in (left[node], left[node] + 1) if splits[child]]
            branch[node] = splits[node] = 0
        while (cut := parent[cut]) >= 0:
            measure(cut)
    return links
