"""Levelwise trees: by hand, against a plain recursion in numpy, and laws that any such tree obeys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.trees import boosting, levelwise, objectives, oblivious
from tests.trees.test_boosting import mesh, same

FOUR = [[0, 0, 1, 1], [0, 1, 0, 1]], [1.0, 2, -3, 4]
BINS = 9


def grow(codes, g, w=None, key=0, bins=None, **options):
    """(Tree, node) as numpy, of codes [F, N] and g [N] in plain numbers."""
    codes, g = jnp.asarray(codes, jnp.uint8), jnp.asarray(g, jnp.float32)
    g, w = (x if x is None else jnp.asarray(x, jnp.float32).reshape(len(g), -1) for x in (g, w))
    bins = bins or int(codes.max()) + 1
    run = compiled(levelwise.Options(**{"depth": 2} | options), bins, len(g))
    with jax.enable_x64(True):
        counts = jnp.full(len(codes), bins - 1, jnp.int32)
        return jax.tree.map(np.asarray, run(codes, counts, g, w, key=jax.random.key(key)))


@functools.cache
def compiled(options, num_bins, num_rows):
    return jax.jit(functools.partial(levelwise.grow, options=options, num_bins=num_bins, num_rows=num_rows))


def table(seed=0, rows=300, features=5):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, BINS, (features, rows))
    return codes, np.round(np.sin(codes[0]) + (codes[1] > 4) * codes[2] / 3 + rng.normal(size=rows) / 5, 3)


def test_four_rows_by_hand():
    """Root: 4/3 + 36/3 - 16/5 of feature 1, not 9/3 + 1/3 - 16/5. Left 1/2 + 9/2 - 4/3; right 4/2 + 16/2 < 36/3."""
    tree, node = grow(*FOUR)
    assert tree.feature.tolist() == [1, 0, -1] and tree.threshold.tolist() == [0, 0, 0]
    np.testing.assert_allclose(tree.gain, [40 / 3 - 3.2, 5 - 4 / 3, 0], rtol=1e-6)
    assert node.tolist() == [3, 2, 4, 2]


@pytest.mark.parametrize(
    "options, feature, gain",
    [
        ({"l1": 1}, [1, 0, -1], [1 / 3 + 25 / 3 - 9 / 5, 0 + 4 / 2 - 1 / 3, 0]),
        ({"l2": 0}, [1, 0, 0], [4 / 2 + 36 / 2 - 16 / 4, 1 + 9 - 4 / 2, 4 + 16 - 36 / 2]),
        ({"least_gain": 3.7}, [1, -1, -1], [40 / 3 - 3.2, 0, 0]),
        ({"least_gain": 3.6}, [1, 0, -1], [40 / 3 - 3.2, 5 - 4 / 3, 0]),
        ({"least_gain": 11}, [-1, -1, -1], [0, 0, 0]),
        ({"least_weight": 2}, [1, -1, -1], [40 / 3 - 3.2, 0, 0]),
        ({"least_rows": 2}, [1, -1, -1], [40 / 3 - 3.2, 0, 0]),
        ({"w": [1, 2, 1, 2], "depth": 1, "least_weight": 3}, [0], [9 / 4 + 1 / 4 - 16 / 7]),
        ({"w": [1, 2, 1, 2], "least_weight": 0, "least_rows": 2}, [1, -1, -1], [4 / 3 + 36 / 5 - 16 / 7, 0, 0]),
    ],
)
def test_options_by_hand(options, feature, gain):
    tree, _ = grow(*FOUR, **options)
    assert tree.feature.tolist() == feature
    np.testing.assert_allclose(tree.gain, gain, rtol=1e-6)


def test_a_child_needs_weight():
    """Without the row of no weight the others would score 9/3, with it 4/3."""
    tree, node = grow([[0, 1, 1, 1]], [5.0, -1, -1, -1], w=[0, 1, 1, 1], l2=0.0, least_weight=0.0, depth=1)
    assert tree.feature.tolist() == [-1] and not node.any()


def plain(codes, g, w, options, missing):
    """(Tree's arrays, node) by a recursion in float64; missing: the code of missing values, or None."""
    size = 2**options.depth - 1
    feature, threshold, right, gains = np.full(size, -1), np.zeros(size, int), np.zeros(size, bool), np.zeros(size)
    node, w = np.zeros(len(g), int), np.ones((len(g), 1)) if w is None else w

    def score(rows):
        weight, pull = w[rows].sum(0), np.maximum(np.abs(g[rows].sum(0)) - options.l1, 0)
        step = np.minimum(pull / (weight + options.l2), options.most_step or np.inf)
        several = w.shape[1] > 1  # whose light ones are left out
        least = pull * step if several else 2 * pull * step - (weight + options.l2) * step**2
        return least[weight >= options.least_weight * several].sum()

    def split(place, rows):
        node[rows] = place
        best = options.least_gain - 1e-9, None
        for f in range(len(codes)) if place < size else ():
            code = codes[f, rows]
            for side in (True, False)[: 1 if missing is None else 2]:
                for k in range(code.max() + 1)[:: 1 if side else -1]:
                    to = np.where(code == missing, side, code > k)
                    parts = rows[~to], rows[to]
                    if min(map(len, parts)) < max(1, options.least_rows):
                        continue
                    if w.shape[1] == 1 and min(w[part].sum() for part in parts) < options.least_weight:
                        continue
                    gain = score(parts[0]) + score(parts[1]) - score(rows)
                    if gain > best[0] + 1e-9:
                        best = gain, (f, k, side), parts
        if best[1]:
            gains[place], (feature[place], threshold[place], right[place]), parts = best
            split(2 * place + 1, parts[0])
            split(2 * place + 2, parts[1])

    split(0, np.arange(len(g)))
    return feature, threshold, right, gains, node


CASES = {
    "plain": {"depth": 4},
    "many rows": {"depth": 4, "least_rows": 17, "l2": 0.0},
    "penalties": {"depth": 5, "l1": 0.7, "l2": 3.0, "least_gain": 0.2},
    "missing": {"depth": 4, "learn_missing": True, "least_weight": 5.0},
    "weights": {"depth": 4, "least_rows": 9, "least_weight": 12.0, "learn_missing": True},
    "Hessians": {"depth": 3, "least_weight": 20.0, "outputs": 3},
    "steps": {"depth": 4, "most_step": 0.3, "least_weight": 5.0},
    "steps of vectors": {"depth": 3, "most_step": 0.3, "l1": 0.7, "outputs": 2, "least_weight": 20.0},
    "float32": {"depth": 3, "exact": False},
}


@pytest.mark.parametrize("case", CASES)
def test_a_plain_recursion_grows_the_same_tree(case):
    codes, g = table()
    options, rng = dict(CASES[case]), np.random.default_rng(2)
    g = np.stack([np.roll(g, k) for k in range(options.pop("outputs", 1))], 1)
    w = rng.integers(1, 9, g.shape) / 4 if case in ("weights", "Hessians", "steps of vectors") else None
    tree, node = grow(codes, g, w, **options)
    *wanted, rests = plain(codes, g, w, levelwise.Options(**options), 8 if "learn_missing" in options else None)
    inner = wanted[0] >= 0
    for name, found, right in zip(tree._fields, tree, wanted):
        if name != "missing_right" or "learn_missing" in options:
            np.testing.assert_allclose(found[inner], right[inner], rtol=1e-4, atol=1e-4, err_msg=name)
    np.testing.assert_array_equal(tree.feature >= 0, inner)
    np.testing.assert_array_equal(node, rests)
    assert "learn_missing" not in options or len(set(tree.missing_right[inner])) == 2


def test_of_equal_splits_the_lowest_feature_and_threshold_win():
    """Copies and mirror images score the same to the last bit; so do thresholds with nothing in between."""
    codes, g = table()
    for first in (codes[0], 8 - codes[0]):
        tree, _ = grow([first, 8 - codes[0], codes[0]], g, depth=3)
        assert set(tree.feature.tolist()) - {-1} == {0}
    tree, _ = grow([np.where(codes[0] > 4, 8, 1)], np.sign(codes[0] - 4.5), depth=1)
    assert tree.threshold.tolist() == [1]


def test_what_is_alike_is_not_split():
    """Nor is it by what rounding leaves of the gain."""
    codes, _ = table()
    for g in (np.zeros(300), np.full(300, np.pi), np.full(300, 1e-3 * np.pi)):
        tree, node = grow(codes, g, l2=0.0, least_gain=0.0, depth=3)
        assert not node.any() and (tree.feature == -1).all() and not tree.gain.any()
    tree, node = grow(np.zeros((2, 300), int), np.arange(300.0), bins=3)
    assert not node.any()


def test_order_of_rows_changes_no_bit():
    codes, g = table()
    order = np.random.default_rng(1).permutation(len(g))
    tree, node = grow(codes, g, depth=5)
    same((tree, node[order]), grow(codes[:, order], g[order], depth=5))


def test_a_weight_is_so_many_copies():
    codes, g = table()
    times = np.random.default_rng(1).integers(1, 4, len(g))
    tree, node = grow(codes, g * times, w=times, depth=4)
    copies, there = grow(np.repeat(codes, times, 1), np.repeat(g, times), depth=4)
    for a, b in zip(tree, copies):
        np.testing.assert_allclose(a, b, rtol=1e-4)
    np.testing.assert_array_equal(np.repeat(node, times), there)


def test_an_increasing_change_of_codes_changes_no_node():
    codes, g = table()
    to = np.array([0, 3, 4, 10, 11, 12, 20, 21, 30])
    tree, node = grow(codes, g, depth=4)
    other, there = grow(to[codes], g, depth=4)
    np.testing.assert_array_equal(node, there)
    same((tree.feature, tree.gain), (other.feature, other.gain))
    np.testing.assert_array_equal(other.threshold, np.where(tree.feature >= 0, to[tree.threshold], 0))


def test_of_depth_one_it_is_an_oblivious_tree():
    codes, g = table()
    with jax.enable_x64(True):
        args = jnp.asarray(codes, jnp.uint8), jnp.full(5, 8, jnp.int32), jnp.asarray(g[:, None], jnp.float32), None
        options = oblivious.Options(1, 2.0, "l2")
        wanted, leaf = oblivious.grow(*args, options, jax.random.key(0), num_bins=BINS, num_rows=300)
    tree, node = grow(codes, g, depth=1, l2=2.0)
    same((*tree, node - 1), (*wanted, leaf))


def test_features_are_drawn_by_tree_level_and_node():
    codes, g = table(features=10)
    options = {"depth": 3, "least_gain": 0.0}

    def used(tree, places=slice(None)):
        return set(tree.feature[places].tolist()) - {-1}

    by_tree = [used(grow(codes, g, key=k, tree_features=0.2, **options)[0]) for k in range(8)]
    assert all(len(found) <= 2 for found in by_tree) and len(set.union(*by_tree)) > 4
    levels = [slice(2**d - 1, 2 ** (d + 1) - 1) for d in range(3)]
    by_level = [grow(codes, g, key=k, level_features=0.1, **options)[0] for k in range(8)]
    assert all(len(used(tree, at)) <= 1 for tree in by_level for at in levels)
    assert any(len(used(tree)) > 2 for tree in by_level)
    by_node = [grow(codes, g, key=k, level_features=0.5, node_features=0.01, **options)[0] for k in range(8)]
    assert all(len(used(tree, at)) <= 5 for tree in by_node for at in levels)
    assert any(len(used(tree, levels[2])) > 2 for tree in by_node)
    assert any(used(tree, slice(1)) for tree in by_node)  # one feature at least
    same(grow(codes, g, node_features=1.0, **options), grow(codes, g, key=5, **options))


def options(rate=0.3, tree=None, **fields):
    tree = levelwise.Options(**{"depth": 2} | (tree or {}))
    return boosting.Options(tree, rate, **{"leaf_method": "newton"} | fields)


def labelled(rows=203):
    """codes, y, weights."""
    codes, y = table(rows=rows)
    w = np.random.default_rng(3).uniform(0.5, 2, rows)
    return jnp.asarray(codes, jnp.uint8), jnp.asarray(y, jnp.float32), jnp.asarray(w, jnp.float32)


def boost(codes, y, w=None, objective=None, num_trees=3, state=None, mesh=None, kind="rows", **fields):
    objective, counts = objective or objectives.squared(), np.full(len(codes), BINS - 1)
    key, how = jax.random.key(0), options(**fields)
    return boosting.boost(codes, counts, y, w, objective, how, key, num_trees, state, mesh=mesh, kind=kind)


RANDOM = {"tree": {"level_features": 0.7, "node_features": 0.5, "least_rows": 5}, "row_share": 0.7}
DEVICES = {
    "missing": {"tree": {"learn_missing": True, "l1": 0.3, "least_rows": 5}},
    "vectors": {"objective": objectives.softmax(3), "hessian_score": True, "weighted": True},
    "outputs": {"objective": objectives.softmax(3, factor=2.0), "hessian_score": True, "per_output": True, **RANDOM},
    "best values": {"objective": objectives.huber(0.3), "leaf_method": "exact", "weighted": True},
}


@pytest.mark.parametrize("kind", ["rows", "features"])
@pytest.mark.parametrize("case", DEVICES)
def test_devices_change_no_bit(case, kind):
    (codes, y, w), fields = labelled(), dict(DEVICES[case])
    w = w if fields.pop("weighted", False) else None
    y = y if case not in ("vectors", "outputs") else jnp.digitize(y, jnp.asarray([-0.3, 0.5])).astype(jnp.int32)
    one = boost(codes, y, w, **fields)
    trees = {"outputs": 3}.get(case, 1)
    assert one[1].feature.shape == (3, trees, 3) and one[1].cover.shape == (3, trees, 7)
    assert one[1].leaves.shape == (3, trees, 7, 3 if case == "vectors" else 1)
    same(one, boost(codes, y, w, mesh=mesh(3 if kind == "rows" else 2), kind=kind, **fields))


def test_two_blocks_are_one():
    codes, y, _ = labelled()
    whole, trees = boost(codes, y, num_trees=4, **RANDOM)
    state, first = boost(codes, y, num_trees=2, **RANDOM)
    state, second = boost(codes, y, num_trees=2, state=state, **RANDOM)
    same((whole, trees), (state, jax.tree.map(lambda *x: jnp.concatenate(x), first, second)))


def walk(codes, tree):
    node = np.zeros(codes.shape[1], int)
    for place, (f, k) in enumerate(zip(tree.feature, tree.threshold)):
        here = (node == place) & (f >= 0)
        node[here] = 2 * place + 1 + (codes[f, here] > k)
    return node


def test_scores_leaves_and_losses_belong_together():
    """Rows that rest early keep their leaf; loss and cover are what numpy says."""
    codes, y, w = labelled()
    state, trees = boost(codes, y, w, tree={"depth": 3, "least_weight": 25.0, "l1": 2.0, "l2": 3.0}, num_trees=4)
    assert (trees.cover[:, 0, 1:7] > 0).any() and (trees.cover[:, 0, 7:] > 0).any()
    score = np.full(len(y), np.average(y, weights=w), np.float32)
    for t in range(4):
        node = walk(np.asarray(codes), jax.tree.map(lambda x: np.asarray(x[t, 0]), trees._replace(loss=None)))  # noqa: B023
        g, of_w = (np.bincount(node, x, minlength=15) for x in (w * (y - score), w))
        want = 0.3 * np.sign(g) * np.maximum(np.abs(g) - 2, 0) / (of_w + 3)
        np.testing.assert_allclose(trees.leaves[t, 0, :, 0], want, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(trees.cover[t, 0], of_w, rtol=1e-5)
        score += np.asarray(trees.leaves)[t, 0, node, 0]
        np.testing.assert_allclose(trees.loss[t], np.average((y - score) ** 2 / 2, weights=w), rtol=1e-5)
    np.testing.assert_allclose(state.score[:, 0], score, rtol=1e-5)


@pytest.mark.parametrize("per_output", [False, True])
def test_leaves_see_the_rows_that_were_drawn(per_output):
    """As XGBoost's: the rows that the tree's key draws, and no others, though all are scored."""
    codes, y, w = labelled()
    state, trees = boost(codes, y, w, num_trees=1, rate=1.0, row_share=0.4, tree={"l2": 1.5}, per_output=per_output)
    key = jax.random.split(jax.random.fold_in(jax.random.key(0), 0))[0]
    drawn = np.asarray(jax.random.uniform(key, (len(y),)) < 0.4)
    node = walk(np.asarray(codes), jax.tree.map(lambda x: np.asarray(x[0, 0]), trees._replace(loss=None)))
    start = np.average(y, weights=w)
    g, of_w = (np.bincount(node[drawn], x[drawn], minlength=7) for x in (np.asarray(w * (y - start)), np.asarray(w)))
    np.testing.assert_allclose(trees.leaves[0, 0, :, 0], g / (of_w + 1.5), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.score[:, 0], start + np.asarray(trees.leaves)[0, 0, node, 0], rtol=1e-5)


@pytest.mark.parametrize("method", ["newton", "exact"])
def test_loss_never_rises_with_exact_leaves(method):
    codes, y, _ = labelled()
    objective = objectives.absolute() if method == "exact" else objectives.squared()
    trees = boost(codes, y, None, objective, 20, rate=1.0, leaf_method=method, tree={"l2": 0.0})[1]
    assert (np.diff(trees.loss) <= 1e-7).all() and trees.loss[-1] < 0.5 * trees.loss[0]


def test_trees_of_each_output_are_those_of_that_output_alone():
    codes, y, w = labelled()
    ys = jnp.stack([y, -2 * y[::-1], jnp.cos(3 * y)], 1)
    state, trees = boost(codes, ys, w, objectives.multi_squared(3), per_output=True)
    for k in range(3):
        alone, own = boost(codes, ys[:, k], w)
        np.testing.assert_allclose(state.score[:, k], alone.score[:, 0], atol=1e-5)
        for name in ("feature", "threshold", "leaves", "cover"):
            found, wanted = getattr(trees, name)[:, k : k + 1], getattr(own, name)
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=name)


def test_many_models_are_one_program_with_the_bits_of_each():
    """A batch over labels, keys and options, which are traced then."""
    codes, y, _ = labelled()
    ys, keys = jnp.stack([y, -y, jnp.cos(3 * y)]), jax.random.split(jax.random.key(0), 3)
    numbers = jnp.asarray([[0.5, 0.1, 3], [1, 0, 7], [3, 0.5, 1]], jnp.float32)

    def one(y, key, number):
        state = boosting.init(y, None, objectives.squared(), key)
        tree = {"l2": number[0], "l1": number[1], "least_rows": number[2], "node_features": 0.7}
        args = jnp.full(5, BINS - 1, jnp.int32), y, None, objectives.squared(), options(tree=tree), state, 3
        return boosting.block(codes, *args, num_bins=BINS)

    with jax.enable_x64(True):
        many = jax.jit(jax.vmap(one))(ys, keys, numbers)
        for i in range(3):
            same(jax.tree.map(lambda x: x[i], many), jax.jit(one)(ys[i], keys[i], numbers[i]))  # noqa: B023


def test_options_that_cannot_be_together_are_refused():
    codes, y, _ = labelled()
    for fields in ({"leaf_method": "exact"}, {"leaf_iterations": 2}):
        with pytest.raises(UserError, match="per_output"):
            boost(codes, y, per_output=True, **fields)
    how = boosting.Options(per_output=True)
    with pytest.raises(UserError, match="per_output"):
        boosting.boost(codes, np.full(5, 8), y, None, objectives.squared(), how, jax.random.key(0), 1)
    with pytest.raises(UserError, match="no l1"):
        boost(codes, y, None, objectives.absolute(), leaf_method="exact", tree={"l1": 1.0})
