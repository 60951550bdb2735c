"""One oblivious tree: by hand, ties, what cannot be split, and laws that any tree obeys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.trees import oblivious


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def grow(codes, g, w=None, counts=None, key=0, **options):
    """(Tree, leaf) as numpy, of codes [F, N] and g [N] in plain numbers."""
    codes = jnp.asarray(codes, jnp.uint8)
    counts = jnp.asarray(codes.max(1) if counts is None else counts, jnp.int32)
    g = jnp.asarray(g, jnp.float32).reshape(codes.shape[1], -1)
    w = None if w is None else jnp.asarray(w, jnp.float32).reshape(len(g), -1)
    options = oblivious.Options(**{"depth": 2, "l2": 1.0, "score": "l2"} | options)
    run = compiled(options, int(codes.max()) + 1, len(g))
    return jax.tree.map(np.asarray, run(codes, counts, g, w, key=jax.random.key(key)))


@functools.cache
def compiled(options, num_bins, num_rows):
    return jax.jit(functools.partial(oblivious.grow, options=options, num_bins=num_bins, num_rows=num_rows))


FOUR = [[0, 0, 1, 1], [0, 1, 0, 1]], [1.0, 2, -3, 4]


def table(seed=0, rows=300, features=5, bins=9):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, bins, (features, rows))
    return codes, np.sin(codes[0]) + (codes[1] > 4) * codes[2] / 3 + rng.normal(size=rows) / 5


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_four_rows_by_hand():
    """Feature 1 first: 4/3 + 36/3 against 16/5; then each row has its leaf: (1 + 9 + 4 + 16) / 2."""
    tree, leaf = grow(*FOUR)
    assert tree.feature.tolist() == [1, 0] and tree.threshold.tolist() == [0, 0]
    assert leaf.tolist() == [0, 1, 2, 3]  # bit 0 is the first question's
    np.testing.assert_allclose(tree.gain, [40 / 3 - 16 / 5, 15 - 40 / 3], rtol=1e-6)


def test_four_rows_by_hand_cosine():
    """40/3 over the root of 2 (4/9 + 4); 15 over that of 7.5; 3.2 over that of 4 (16/25)."""
    tree, leaf = grow(*FOUR, score="cosine")
    assert tree.feature.tolist() == [1, 0] and leaf.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(tree.gain, [20**0.5 - 2, 30**0.5 - 20**0.5], rtol=1e-6)


def test_weights_by_hand():
    """With weights 1 2 1 2 (and g times them given): feature 1 has 4/(2+1) + 36/(4+1), no split 16/(6+1)."""
    tree, _ = grow(*FOUR, w=[1, 2, 1, 2], depth=1)
    assert tree.feature.tolist() == [1]
    np.testing.assert_allclose(tree.gain, [4 / 3 + 36 / 5 - 16 / 7], rtol=1e-6)


def test_outputs_add_up_by_hand():
    """The second output alone prefers feature 0: 36/3 + 36/3 of g = 3 3 -3 -3, and 0 of feature 1; sum 24 + 10/3."""
    tree, _ = grow(FOUR[0], np.stack([FOUR[1], [3, 3, -3, -3]], 1), depth=1)
    assert tree.feature.tolist() == [0]
    np.testing.assert_allclose(tree.gain, [24 + 9 / 3 + 1 / 3 - 16 / 5], rtol=1e-6)


@pytest.mark.parametrize("score", ["l2", "cosine"])
def test_of_equal_splits_the_lowest_feature_and_threshold_win(score):
    """Copies, mirror images and thresholds with nothing in between score the same to the last bit."""
    codes, g = table()
    g = g + np.pi
    for first in (codes[0], codes[0].max() - codes[0]):
        tree, _ = grow([first, codes[0].max() - first, codes[0]], g, score=score, depth=3)
        assert not tree.feature.any()
    wide = np.where(codes[0] > 4, 8, 1)  # thresholds 1 .. 7 split the same rows
    assert grow([codes[1] * 0, wide], np.sign(wide - 2) + g / 9, score=score, depth=1)[0].threshold.tolist() == [1]


def test_xor_is_split_though_the_first_level_gains_nothing():
    codes = [[0, 0, 1, 1], [0, 1, 0, 1]]
    tree, leaf = grow(codes, [1, -1, -1, 1], l2=0.0)
    assert tree.gain[0] == 0 and tree.gain[1] == 4
    assert sorted(leaf.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("score", ["l2", "cosine"])
@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_nothing_to_split_is_not_nan(score, l2):
    tree, leaf = grow(np.zeros((3, 5), int), np.arange(5.0), score=score, l2=l2)
    assert not leaf.any() and np.array_equal(tree.gain, [0, 0])
    tree, _ = grow([[0, 1, 2, 3, 3]], np.zeros(5), score=score, l2=l2, depth=4)  # no gradients: all equal
    assert np.array_equal(tree.gain, np.zeros(4)) and not tree.threshold.any()
    tree, leaf = grow([[0, 0, 1, 1]], [1, 1, -1, -1.0], score=score, l2=l2, depth=5)  # more levels than there is to ask
    assert np.isfinite(tree.gain).all() and len(set(leaf.tolist())) == 2


@pytest.mark.parametrize("rows, right", [([5.0, 5, -5, -5, -4], True), ([5.0, 5, -5, -5, 4], False)])
def test_missing_values_go_where_they_fit(rows, right):
    """The last row has code 3, a missing value; the threshold splits the others into two and two."""
    tree, leaf = grow([[0, 0, 1, 2, 3]], rows, counts=[2], learn_missing=True, depth=1)
    assert tree.missing_right.tolist() == [right] and tree.threshold.tolist() == [0]
    assert leaf.tolist() == [0, 0, 1, 1, int(right)]


def test_order_of_rows_changes_no_bit():
    codes, g = table()
    order = np.random.default_rng(1).permutation(len(g))
    tree, leaf = grow(codes, g, depth=5, score="cosine")
    other, there = grow(codes[:, order], g[order], depth=5, score="cosine")
    same((tree, leaf[order]), (other, there))


def test_a_weight_is_so_many_copies():
    codes, g = table()
    times = np.random.default_rng(1).integers(1, 4, len(g))
    tree, leaf = grow(codes, g * times, w=times, depth=4)
    copies, there = grow(np.repeat(codes, times, 1), np.repeat(g, times), depth=4)
    for name in ("feature", "threshold"):
        np.testing.assert_array_equal(getattr(tree, name), getattr(copies, name))
    np.testing.assert_allclose(tree.gain, copies.gain, rtol=1e-5)
    np.testing.assert_array_equal(np.repeat(leaf, times), there)


def test_float32_sums_grow_the_same_tree():
    codes, g = table()
    for w in (None, np.ones(len(g))):
        tree, leaf = grow(codes, g, w, depth=4)
        other, there = grow(codes, g, w, depth=4, exact=False)
        np.testing.assert_array_equal(leaf, there)
        np.testing.assert_allclose(tree.gain, other.gain, rtol=1e-3)


def test_features_are_drawn_by_tree_and_by_level():
    codes, g = table(features=10)
    by_tree = [set(grow(codes, g, key=k, depth=6, tree_features=0.2)[0].feature.tolist()) for k in range(8)]
    assert all(len(used) <= 2 for used in by_tree) and len(set.union(*by_tree)) > 4
    by_level = [grow(codes, g, key=k, depth=6, level_features=0.1)[0].feature.tolist() for k in range(8)]
    assert any(len(set(used)) > 2 for used in by_level)
    for k in range(8):  # one feature of a tree's two
        assert len(set(grow(codes, g, key=k, depth=6, tree_features=0.2, level_features=0.5)[0].feature.tolist())) <= 2
    constant = np.concatenate([np.zeros((9, len(g)), int), codes[:1]])
    assert set(grow(constant, g, tree_features=0.1, depth=3)[0].feature.tolist()) == {9}


def test_noise_shakes_scores_but_not_gains():
    """The noise has the unit of the gradients' root mean square: a score a thousand times above it stands."""
    codes, g = table()
    calm, _ = grow(codes, g, depth=3)
    same(calm, grow(codes, g, depth=3, random_strength=1e-4)[0])
    wild = [grow(codes, g, depth=1, key=k, random_strength=1e4)[0] for k in range(20)]
    assert len({(int(t.feature[0]), int(t.threshold[0])) for t in wild}) > 10
    assert all(t.gain[0] <= calm.gain[0] for t in wild)
    large = [grow(codes, 1e6 * g, depth=1, key=k, random_strength=1e4 / 1e6)[0] for k in range(5)]
    assert [int(t.threshold[0]) for t in large] != [int(t.threshold[0]) for t in wild[:5]]  # scores go by g^2
    assert all(
        (grow(codes, g, key=k, depth=1, random_strength=1.0)[0].threshold == calm.threshold[:1]) for k in range(5)
    )


def test_a_batch_of_trees_is_each_of_them():
    codes, g = table()
    gs = np.stack([g, np.cos(3 * g), -g])
    run = jax.jit(
        jax.vmap(
            lambda g: oblivious.grow(
                jnp.asarray(codes, jnp.uint8),
                jnp.full(5, 8, jnp.int32),
                g[:, None],
                None,
                oblivious.Options(depth=4),
                jax.random.key(0),
                num_bins=9,
                num_rows=len(g),
            )
        )
    )
    tree, leaf = run(jnp.asarray(gs, jnp.float32))
    for i in range(3):
        one, there = grow(codes, gs[i], depth=4, l2=3.0, score="cosine")
        same((one, there), (jax.tree.map(lambda x: x[i], tree), leaf[i]))  # noqa: B023
