"""Cost-complexity pruning: a tree by hand, scikit-learn's path and pruned trees, several trees, laws."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, tree

from research.trees import cart, predict_raw, pruning

DATA = {"breast_cancer": "gini", "diabetes": "squared_error", "digits": "entropy"}


@functools.cache
def data(name):
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return x[:400].astype(np.float32), (y[:400].astype(np.float32) if name == "diabetes" else y[:400])


def grown(x, y, options, weight=None):
    return cart.grown(cart.columns(np.asarray(x, np.float32)), np.asarray(y), options, weight)


def forest(trees, features):
    return cart.to_forest(trees, 1, features)


def test_by_hand():
    """Squared errors from the mean 12 are 288; the halves 0, 8 and 20, 20 keep 32 and 0.

    So, of 4 rows, the link of the left half is 32 / 4, and then that of the root (288 - 32) / 4.
    """
    trees = grown([[0], [1], [2], [3]], [0.0, 8, 20, 20], cart.Options("squared_error"))
    alphas, impurities = pruning.path(trees)
    np.testing.assert_allclose(alphas, [0, 8, 64], rtol=1e-6)
    np.testing.assert_allclose(impurities, [0, 8, 72], rtol=1e-6, atol=1e-6)
    for alpha, sizes, values in ((7.9, 5, [0, 8, 20, 20]), (8.1, 3, [4, 4, 20, 20]), (64.1, 1, [12] * 4)):
        pruned = pruning.prune(trees, alpha)
        assert pruned.size == sizes and pruned.depth == sizes // 2
        np.testing.assert_allclose(predict_raw(forest(pruned, 1), np.arange(4.0)[:, None])[:, 0], values, rtol=1e-6)


def test_the_weaker_of_two_branches_goes_first_and_with_its_parent_if_that_is_no_dearer():
    """An exclusive or at no gain: the root's branch gains 1/2 by 3 splits, each half 1/4 by 1; so all go at 1/6."""
    x = [[0, 0], [0, 1], [1, 0], [1, 1]]
    trees = grown(x, [0, 1, 1, 0], cart.Options())
    alphas, impurities = pruning.path(trees)
    np.testing.assert_allclose(alphas, [0, 1 / 6], rtol=1e-6)
    np.testing.assert_allclose(impurities, [0, 0.5], atol=1e-7)
    assert [int(pruning.prune(trees, alpha).size) for alpha in (0.0, 0.16, 0.17)] == [7, 7, 1]


@pytest.mark.parametrize("name", DATA)
def test_the_path_of_scikit_learn(name):
    """As steps: of links of equal alpha, to rounding, either may go first."""
    x, y = data(name)
    kind = tree.DecisionTreeRegressor if name == "diabetes" else tree.DecisionTreeClassifier
    wanted = kind(criterion=DATA[name], random_state=0).cost_complexity_pruning_path(x, y)
    alphas, impurities = pruning.path(grown(x, y, cart.Options(DATA[name])))
    unit = wanted.impurities[-1]
    assert (np.diff(alphas) >= 0).all() and alphas[0] == 0 and len(alphas) >= 10
    at = np.flatnonzero(np.diff(wanted.ccp_alphas, append=np.inf) > 1e-6 * unit)
    ours = np.searchsorted(alphas, wanted.ccp_alphas[at] + 5e-7 * unit, side="right") - 1
    big = slice(-len(at) // 2, None)  # small ones hang on which of equal splits was taken
    np.testing.assert_allclose(alphas[ours][big], wanted.ccp_alphas[at][big], atol=1e-6 * unit)
    np.testing.assert_allclose(impurities[ours][big], wanted.impurities[at][big], atol=1e-6 * unit)


@pytest.mark.parametrize("name", DATA)
def test_pruned_trees_are_those_of_scikit_learn(name):
    x, y = data(name)
    kind = tree.DecisionTreeRegressor if name == "diabetes" else tree.DecisionTreeClassifier
    trees = grown(x, y, cart.Options(DATA[name]))
    alphas, _ = pruning.path(trees)
    found = sorted(set(np.round(alphas, 9)))[-6:]
    for low, high in itertools.pairwise(found):
        peer = kind(criterion=DATA[name], random_state=0, ccp_alpha=(low + high) / 2).fit(x, y)
        pruned = pruning.prune(trees, (low + high) / 2)
        of = forest(pruned, x.shape[1])
        assert pruned.size == peer.tree_.node_count and pruned.depth == of.depth == peer.get_depth()
        own = predict_raw(of, x)
        wanted = peer.predict(x)[:, None] if name == "diabetes" else peer.predict_proba(x)
        np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=1e-7)


def test_the_pruned_tree_is_where_the_path_says():
    """Cut at each alpha of the path itself: the impurity of the leaves is that of the path, and sizes fall."""
    trees = jax.tree.map(np.asarray, grown(*data("diabetes"), cart.Options("squared_error", max_depth=6)))
    alphas, impurities = pruning.path(trees)
    sizes = []
    for i in np.flatnonzero(np.diff(alphas, append=np.inf) > 0):
        pruned = pruning.prune(trees, alphas[i])
        leaf = pruned.left == 0
        own = (pruned.cover * pruned.impurity)[leaf].sum() / pruned.cover[0]
        np.testing.assert_allclose(own, impurities[i], rtol=1e-5)
        sizes.append(int(pruned.size))
        assert not pruned.gain[leaf].any() and not pruned.feature[leaf].any()
        again = pruning.prune(pruned, alphas[i])
        np.testing.assert_array_equal(again.left, pruned.left)
    assert sizes[0] == trees.size and sizes[-1] == 1 and (np.diff(sizes) < 0).all()


def test_several_trees_are_pruned_each_on_its_own():
    x, y = data("breast_cancer")
    weight = np.random.default_rng(0).multinomial(len(x), np.full(len(x), 1 / len(x)), size=3)
    options = cart.Options(max_depth=5)
    with jax.enable_x64(True):
        ready, aims = cart.columns(x), cart.targets(y, "gini")
        run = cart.compiled(options, len(x))
        together = run(ready, aims, jnp.asarray(weight, jnp.float32), None)
    of = cart.to_forest(pruning.prune(together, 0.01), 3, x.shape[1])
    for t, w in enumerate(weight):
        alone = pruning.prune(grown(x, y, options, w), 0.01)
        size = int(alone.size)
        np.testing.assert_array_equal(of.left[t, 0, :size], alone.left)
        np.testing.assert_array_equal(of.border[t, 0, :size], alone.border)
        assert not np.asarray(of.left[t, 0, size:]).any() and 1 < size < 20
        for a, b in zip(pruning.path(together, t), pruning.path(grown(x, y, options, w)), strict=True):
            np.testing.assert_array_equal(a, b)
