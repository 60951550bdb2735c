"""Exact CART: textbook trees, a search in fractions, scikit-learn node by node up to ties, laws, draws, bad input."""

import collections
import functools
import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, tree

from research.errors import UserError
from research.trees import cart, predict_raw

OF_NODES = ("feature", "border", "missing_right", "left", "value", "gain", "cover")
GINI, SQUARED, ABSOLUTE = cart.Options(), cart.Options("squared_error"), cart.Options("absolute_error")


def fit(x, y, options, weight=None, key=None):
    """The nodes of one tree as numpy arrays [M, ...], and its Forest."""
    found = cart.fit(np.asarray(x, np.float32), np.asarray(y), options, weight, key)
    nodes = {name: np.asarray(getattr(found, name))[0, 0] for name in OF_NODES}
    return collections.namedtuple("Nodes", nodes)(**nodes), found


def nested(nodes, i=0):
    """A tree as (feature, border, what answers 0, what answers 1), and a leaf as its values."""
    if not nodes.left[i]:
        return tuple(nodes.value[i].tolist())
    children = (nested(nodes, nodes.left[i] + side) for side in (0, 1))
    return (int(nodes.feature[i]), float(nodes.border[i]), *children)


def same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def table(seed=0, rows=200, features=4, values=12, classes=3):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, values, (rows, features)).astype(np.float32)
    return x, rng.integers(0, classes, rows), rng


# Li Hang, Statistical Learning Methods: table 5.1, and the regression table 8.2, x = 1 .. 10
LOAN = np.array(
    [
        *([0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 1, 0, 1, 1], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0]),
        *([1, 0, 0, 0, 0], [1, 0, 0, 1, 0], [1, 1, 1, 1, 1], [1, 0, 1, 2, 1], [1, 0, 1, 2, 1]),
        *([2, 0, 1, 2, 1], [2, 0, 1, 1, 1], [2, 1, 0, 1, 1], [2, 1, 0, 2, 1], [2, 0, 0, 0, 0]),
    ]
)
LINE = [5.56, 5.70, 5.91, 6.40, 6.80, 7.05, 8.90, 8.70, 9.00, 9.05]


def test_the_loans_of_the_textbook():
    """Has a house, 6 of 15 and all of them yes; of the other 9, has work, 3 and all yes: Gini .48, .2667, 0."""
    nodes, _ = fit(LOAN[:, :4], LOAN[:, 4], GINI)
    assert nested(nodes) == (2, 0.5, (1, 0.5, (1.0, 0.0), (0.0, 1.0)), (0.0, 1.0))
    np.testing.assert_allclose(nodes.gain, [15 * 0.48 - 4, 4, 0, 0, 0], rtol=1e-6)
    assert nodes.cover.tolist() == [15, 9, 6, 6, 3]


def test_the_loans_by_entropy():
    """Information gain .420 of .971 bits: again the house, then work."""
    nodes, _ = fit(LOAN[:, :4], LOAN[:, 4], cart.Options("entropy"))
    bits = -(0.6 * np.log2(0.6) + 0.4 * np.log2(0.4))
    rest = 9 * -(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))
    np.testing.assert_allclose(nodes.gain[:2], [15 * bits - rest, rest], rtol=1e-6)
    assert nodes.feature[:2].tolist() == [2, 1]


def test_the_regression_of_the_textbook():
    """Its first split is 6.5, with means 6.24 and 8.91 (rounded there) and a squared error of 1.93."""
    nodes, _ = fit(np.arange(1, 11)[:, None], LINE, SQUARED._replace(max_depth=1))
    assert nodes.border[0] == 6.5
    left, right = (np.array([Fraction(str(v)) for v in part]) for part in (LINE[:6], LINE[6:]))
    error = sum(((part - part.mean()) ** 2).sum() for part in (left, right))
    whole = np.concatenate([left, right])
    np.testing.assert_allclose(nodes.value[1:3, 0], [float(left.mean()), float(right.mean())], rtol=1e-6)
    np.testing.assert_allclose(nodes.gain[0], float(((whole - whole.mean()) ** 2).sum() - error), rtol=1e-6)
    assert round(float(error), 2) == 1.93


def test_gain_ratios_of_the_textbook():
    """Of work .324 / .918, of a house .420 / .971 (Li Hang, example 5.2 and definition 5.3), asked alone."""
    gains = {feature: gain_of(feature) for feature in (1, 2)}
    for feature, (gain, ratio) in gains.items():
        nodes, found = fit(LOAN[:, [feature]], LOAN[:, 4], cart.Options("entropy", max_depth=1))
        np.testing.assert_allclose(nodes.gain[0] / 15, gain, rtol=1e-6)
        np.testing.assert_allclose(cart.gain_ratio(found)[0, 0], [ratio, 0, 0], rtol=1e-6)
    assert [round(gain, 3) for gain, _ in gains.values()] == [0.324, 0.420]


def gain_of(feature):
    """(Information gain, gain ratio) of a feature with two values, from counts alone."""

    def bits(labels):
        shares = np.bincount(labels) / len(labels)
        return -sum(p * np.log2(p) for p in shares if p)

    column, label = LOAN[:, feature], LOAN[:, 4]
    gain = bits(label) - sum((column == v).mean() * bits(label[column == v]) for v in (0, 1))
    return gain, gain / bits(column)


def test_an_exclusive_or_is_split_at_no_gain():
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    nodes, found = fit(x, [0, 1, 1, 0], GINI)
    assert nested(nodes) == (0, 0.5, (1, 0.5, (1.0, 0.0), (0.0, 1.0)), (1, 0.5, (0.0, 1.0), (1.0, 0.0)))
    assert nodes.gain.tolist() == [0, 1, 1, 0, 0, 0, 0] and found.depth == 2
    assert len(fit(x, [0, 1, 1, 0], GINI._replace(min_impurity_decrease=1e-6))[0].left) == 1


def in_one(weight, kinds, options):
    """(What a leaf predicts, its purity): the mean of kinds [N, K] and its squares; the median and minus the errors."""
    total, sums = weight.sum(), (weight[:, None] * kinds).sum(axis=0)
    if options.criterion != "absolute_error":
        return sums / total, (sums * sums).sum() / total
    order = np.argsort(kinds[:, 0])
    passed = np.cumsum(weight[order])
    low, high = (kinds[order, 0][(fits).argmax()] for fits in (2 * passed >= total, 2 * passed > total))
    return [(low + high) / 2], -(weight * abs(kinds[:, 0] - (low + high) / 2)).sum()


def in_fractions(x, y, weight, options, kinds, depth=0):
    """The tree by trying every split, in exact arithmetic; kinds [N, K] of y as fractions."""
    mean = tuple(float(v) for v in in_one(weight, kinds, options)[0])
    if depth == options.max_depth or len(set(map(tuple, kinds.tolist()))) == 1:
        return mean
    best = None
    for f in range(x.shape[1]):
        for low, high in itertools.pairwise(sorted(set(x[:, f].tolist()))):
            left = x[:, f] <= low
            if min(left.sum(), (~left).sum()) < options.min_samples_leaf:
                continue
            score = sum(in_one(weight[s], kinds[s], options)[1] for s in (left, ~left))
            if best is None or score > best[0]:
                best = score, f, (low + high) / 2, left
    if best is None:
        return mean
    _, f, border, left = best
    children = (in_fractions(x[s], y[s], weight[s], options, kinds[s], depth + 1) for s in (left, ~left))
    return (f, border, *children)


@pytest.mark.parametrize("options", [GINI._replace(max_depth=4), SQUARED._replace(min_samples_leaf=2), ABSOLUTE])
def test_all_splits_in_fractions(options):
    """Ties among them: small whole numbers have many. Weights 0 to 3, and halves of these."""
    for seed, scale in ((0, 1), (1, 1), (2, 2)):
        x, y, rng = table(seed, rows=40, features=3, values=4)
        weight = rng.integers(0, 4, 40)
        used = weight > 0
        kinds = (np.eye(3, dtype=int)[y] if options.criterion == "gini" else y[:, None]) + Fraction(0)
        exact = np.array([Fraction(int(w), scale) for w in weight])
        wanted = in_fractions(x[used], y[used], exact[used], options, kinds[used])
        nodes, _ = fit(x, y, options, weight / scale)
        assert rounded(nested(nodes)) == rounded(wanted)


def rounded(tree):
    return tuple(rounded(part) if isinstance(part, tuple) else np.float32(part) for part in tree)


def friedman(rows, seed=0):
    return datasets.make_friedman1(rows, random_state=seed, noise=1.0)


@functools.cache
def data(name):
    x, y = friedman(2500) if name == "friedman" else getattr(datasets, f"load_{name}")(return_X_y=True)
    return x.astype(np.float32), y.astype(np.float32) if name in ("friedman", "diabetes") else y


CLASSES = ("gini", "entropy", "log_loss")
CASES = {
    "iris": ("iris", {}, False),
    "wine": ("wine", {"criterion": "entropy"}, False),
    "digits": ("digits", {}, False),
    "digits, weights": ("digits", {"max_depth": 6, "min_weight_fraction_leaf": 0.01}, True),
    "breast_cancer, entropy, weights": ("breast_cancer", {"criterion": "entropy", "min_samples_leaf": 3}, True),
    "diabetes": ("diabetes", {"criterion": "squared_error"}, False),
    "friedman": ("friedman", {"criterion": "squared_error", "min_impurity_decrease": 0.01}, False),
    "diabetes, absolute": ("diabetes", {"criterion": "absolute_error", "min_samples_leaf": 3}, False),
    "diabetes, absolute, weights": ("diabetes", {"criterion": "absolute_error", "min_samples_leaf": 3}, True),
    "breast_cancer, log_loss": ("breast_cancer", {"criterion": "log_loss"}, False),
    "diabetes, poisson": ("diabetes", {"criterion": "poisson", "max_depth": 7}, False),
}


@pytest.mark.parametrize("case", CASES)
def test_scikit_learn_node_by_node_up_to_ties(case):
    name, options, weighted = CASES[case]
    x, y = data(name)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(x)).astype(np.float32) if weighted else None
    options = cart.Options(**options)
    peer = sklearn_tree(x, y, options, weight)
    nodes, found = fit(x, y, options, weight)
    seen = compare(nodes, peer.tree_, x, y, weight, options)
    assert seen["rows"] >= 0.6 * seen["rows, all"], seen  # below a tie both go on, on their own
    if not seen["ties"]:
        assert len(nodes.left) == peer.tree_.node_count and found.depth == peer.get_depth()
        own = np.asarray(predict_raw(found, x))
        wanted = peer.predict_proba(x) if options.criterion in CLASSES else peer.predict(x)[:, None]
        np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=1e-7)


def sklearn_tree(x, y, options, weight):
    kind = tree.DecisionTreeClassifier if options.criterion in CLASSES else tree.DecisionTreeRegressor
    return kind(**options._asdict(), random_state=0).fit(x, y, sample_weight=weight)


def compare(nodes, peer, x, y, weight, options):
    """Counts of rows in splits that are compared, and of ties. Fails where a split differs and gains more or less."""
    seen = collections.Counter()
    weight = np.ones(len(x)) if weight is None else weight.astype(np.float64)

    def walk(i, j, rows, known):
        left = peer.children_left[j] > 0
        seen["rows, all"] += left * len(rows)
        if not known:
            if left:
                for side, child in split(peer.feature[j], peer.threshold[j], not peer.missing_go_to_left[j], rows):
                    walk(None, (peer.children_left, peer.children_right)[side][j], child, False)
            return
        assert bool(nodes.left[i]) == left, (i, j)
        np.testing.assert_allclose(nodes.cover[i], peer.weighted_n_node_samples[j], rtol=1e-6)
        if not left:
            np.testing.assert_allclose(nodes.value[i], peer.value[j].reshape(-1), rtol=1e-5, atol=1e-7)
            return
        own = split(nodes.feature[i], nodes.border[i], nodes.missing_right[i], rows)
        wanted = split(peer.feature[j], peer.threshold[j], not peer.missing_go_to_left[j], rows)
        seen["rows"] += len(rows)
        gains = [impurity(rows) - sum(impurity(part) for _, part in parts) for parts in (own, wanted)]
        np.testing.assert_allclose(nodes.gain[i], gains[0], rtol=1e-5, atol=1e-5 * impurity(rows))
        alike = np.array_equal(own[0][1], wanted[0][1])  # ties part the rows in the same way, or they do not
        if nodes.feature[i] == peer.feature[j] and np.float32(peer.threshold[j]) == nodes.border[i]:
            assert nodes.missing_right[i] != peer.missing_go_to_left[j]
        else:
            seen["ties"] += 1
            assert abs(gains[0] - gains[1]) <= 1e-9 * max(*gains, impurity(rows)), (i, j, gains)
        for side, part in wanted:
            walk(nodes.left[i] + side, (peer.children_left, peer.children_right)[side][j], part, alike)

    def split(feature, border, missing_right, rows):
        value = x[rows, feature]
        right = np.where(np.isnan(value), missing_right, value > border)
        return [(0, rows[~right]), (1, rows[right])]

    def impurity(rows):
        w, z = weight[rows], y[rows].astype(np.float64)
        if options.criterion == "absolute_error":
            order = np.argsort(z)
            return (w * abs(z - z[order][(np.cumsum(w[order]) >= w.sum() / 2).argmax()])).sum()
        if options.criterion in ("squared_error", "friedman_mse"):
            return (w * (z - np.average(z, weights=w)) ** 2).sum()
        if options.criterion == "poisson":
            return (w * z * np.log(np.where(z > 0, z, 1) / np.average(z, weights=w))).sum()
        p = np.bincount(y[rows], w) / w.sum()
        return w.sum() * ((p * (1 - p)).sum() if options.criterion == "gini" else -(p[p > 0] * np.log2(p[p > 0])).sum())

    walk(0, 0, np.arange(len(x)), True)
    return seen


@pytest.mark.parametrize(
    "name, criterion", [("breast_cancer", "gini"), ("diabetes", "squared_error"), ("diabetes", "absolute_error")]
)
def test_missing_values_as_scikit_learn(name, criterion):
    """Both sides are tried, and missing against the rest; where a node misses none the larger child gets them."""
    x, y = data(name)
    rng = np.random.default_rng(0)
    x = x[:, :6].copy()
    x[rng.random(x.shape) < [0.3, 0, 0.1, 0.5, 0, 0.02]] = np.nan
    x[y > np.quantile(y, 0.7) if name == "diabetes" else y == 1, 3] = np.nan  # it says something
    options = cart.Options(criterion, min_samples_leaf=2)
    nodes, found = fit(x, y, options)
    seen = compare(nodes, sklearn_tree(x, y, options, None).tree_, x, y, None, options)
    assert seen["rows"] >= 0.6 * seen["rows, all"], seen
    assert np.isinf(nodes.border).any() and found.missing == "learn"


def test_friedmans_score_is_the_squared_error():
    x, y = data("diabetes")
    a, b = (fit(x, y, cart.Options(name, max_depth=4))[0] for name in ("squared_error", "friedman_mse"))
    same(a, b)


def test_several_outputs():
    x, _, rng = table(3)
    y = rng.normal(size=(200, 3)).astype(np.float32)
    options = SQUARED._replace(min_samples_leaf=5)
    nodes, _ = fit(x, y, options)
    peer = sklearn_tree(x, y, options, None).tree_
    assert nodes.feature[0] == peer.feature[0] and nodes.border[0] == peer.threshold[0]
    leaf = nodes.left == 0
    wanted = peer.value[peer.children_left < 0][..., 0]
    np.testing.assert_allclose(sorted(nodes.value[leaf].tolist()), sorted(wanted.tolist()), rtol=1e-5)


def test_until_it_is_pure():
    """Numbers by chance, 3000 rows: each is met, to the 52 bits less those of a sum of 3000."""
    x, _, rng = table(4, rows=3000, features=6, values=40)
    y = rng.normal(size=len(x)).astype(np.float32)
    _, found = fit(x, y, SQUARED)
    np.testing.assert_allclose(predict_raw(found, x)[:, 0], y, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize("options", [GINI, SQUARED, ABSOLUTE])
def test_order_copies_and_absence_of_rows(options):
    """To the last bit: an order of rows, weight k for k copies, weight 0 for no row."""
    x, y, rng = table(5, rows=5000, features=3, values=500)
    y = y if options.criterion == "gini" else rng.normal(size=len(y)).astype(np.float32)
    weight = rng.multinomial(len(x), np.full(len(x), 1 / len(x)))
    options = options._replace(max_depth=9)
    nodes, _ = fit(x, y, options, weight)
    order = rng.permutation(len(x))
    same(nodes, fit(x[order], y[order], options, weight[order])[0])
    copies = np.repeat(np.arange(len(x)), weight)
    copied, _ = fit(x[copies], y[copies], options, np.ones(len(x)))
    same(nodes, copied._replace(missing_right=nodes.missing_right))  # it goes by how many rows a child has
    absent = weight == 0
    x[absent], y[absent] = x[0] - 99, y.max()
    same(nodes, fit(x, y, options, weight)[0])


def test_a_monotone_transform_keeps_the_partition():
    x, y, _ = table(6)
    a, b = fit(x, y, GINI)[0], fit(np.exp(x / 3) - 5, y, GINI)[0]
    for name in set(OF_NODES) - {"border"}:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert not np.array_equal(a.border, b.border)


def test_a_border_lies_below_the_upper_value():
    """Between two neighbouring float32 the middle rounds to one of them: it must be the lower one."""
    low = np.float32(1) + np.finfo(np.float32).eps * np.arange(4, dtype=np.float32)
    for a, b in itertools.pairwise(low):
        nodes, found = fit([[a], [b]], [0, 1], GINI)
        assert nodes.border[0] == a and predict_raw(found, np.array([[a], [b]]))[:, 1].tolist() == [0, 1]


def grow(x, y, options, weight=None, seed=0, trees=1, capacity=None):
    """cart.Trees as numpy."""
    ready, aims = cart.columns(np.asarray(x, np.float32)), cart.targets(y, options.criterion)
    weight = np.ones((trees, len(x))) if weight is None else weight
    keys = jax.random.split(jax.random.key(seed), len(weight))
    with jax.enable_x64(True):
        run = cart.compiled(options, int(weight.sum(axis=1).max()), capacity)
        found = run(ready, aims, jnp.asarray(weight, jnp.float32), keys)
    assert not any(a.dtype.itemsize == 8 for a in found)
    return jax.tree.map(np.asarray, found)


def test_a_tree_is_the_same_whatever_grows_beside_it():
    """Five trees on bootstraps, which draw, together and one by one; their Forest is the mean of the five."""
    x, y, rng = table(7, rows=1500, features=5, values=300)
    weight = rng.multinomial(len(x), np.full(len(x), 1 / len(x)), size=5)
    options = GINI._replace(max_features=2)
    together = cart.to_forest(grow(x, y, options, weight), 5, 5)
    keys = jax.random.split(jax.random.key(0), 5)
    alone = [cart.fit(x, y, options, w, key) for w, key in zip(weight, keys)]
    for t, one in enumerate(alone):
        size = one.left.shape[2]
        for name in set(OF_NODES) - {"value"}:
            np.testing.assert_array_equal(getattr(together, name)[t, :, :size], getattr(one, name)[0])
    np.testing.assert_allclose(
        predict_raw(together, x), np.mean([predict_raw(one, x) for one in alone], axis=0), atol=1e-6
    )
    assert len({tuple(np.asarray(one.feature[0, 0, :9]).tolist()) for one in alone}) == 5


def test_drawn_features():
    """Feature 0 tells most, feature 1 less, feature 2 is constant: of two drawn, 0 is there in two thirds of roots.

    A constant feature counts as drawn. Of one drawn, 0 or 1 is asked in a half of roots each: it is sought on.
    """
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    x = np.stack([y + rng.normal(size=60) / 3, y + rng.normal(size=60), np.ones(60)], axis=1)
    for m, share in ((1, 1 / 2), (2, 2 / 3), (3, 1)):
        root = grow(x, y, GINI._replace(max_features=m, max_depth=1), trees=600).feature[:600]
        assert set(root) <= {0, 1} and abs((root == 0).mean() - share) < 4 * np.sqrt(share * (1 - share) / 600) + 1e-9


def test_nodes_draw_on_their_own():
    """A feature in 12 of like columns is asked by a twelfth of the nodes, whatever their parent asked."""
    x, y, _ = table(8, rows=3000, features=12, values=1000)
    found = grow(x, y, GINI._replace(max_features=1))
    inner = np.flatnonzero(found.left[: found.size])
    share = np.bincount(found.feature[inner], minlength=12) / len(inner)
    assert abs(share - 1 / 12).max() < 4 * np.sqrt(11 / 144 / len(inner))
    child = found.left[inner]
    both = np.concatenate([child, child + 1])
    parent = np.concatenate([inner, inner])[found.left[both] > 0]
    both = both[found.left[both] > 0]
    equal = (found.feature[both] == found.feature[parent]).mean()
    assert abs(equal - 1 / 12) < 4 * np.sqrt(11 / 144 / len(both))


def test_a_border_by_chance():
    """Uniform between the least and the greatest value of the rows, and the partition is what it says."""
    x, y = np.array([[0.0], [1], [5], [8]]), np.array([0, 1, 0, 1])
    found = grow(x, y, GINI._replace(splitter="random", max_depth=1), trees=2000)
    border = found.border[:2000]
    assert ((border >= 0) & (border < 8)).all()
    assert abs(border.mean() - 4) < 4 * 8 / np.sqrt(12 * 2000) and abs((border < 1).mean() - 1 / 8) < 0.03
    np.testing.assert_array_equal(found.cover[found.left[:2000]], (x <= border).sum(axis=0))
    x, y, _ = table(9, rows=400, values=100)
    _, found = fit(x, y, GINI._replace(splitter="random", max_features=2), key=jax.random.key(1))
    _, first = np.unique(x, axis=0, return_index=True)
    np.testing.assert_array_equal(predict_raw(found, x[first]), np.eye(3)[y[first]])


def test_no_more_nodes_than_there_is_room_for():
    x, y, _ = table(10)
    small, whole = grow(x, y, GINI, capacity=9), grow(x, y, GINI)
    assert small.size == 9 < whole.size
    same([small.feature[:3], small.border[:3]], [whole.feature[:3], whole.border[:3]])
    assert small.left.max() == 7 and np.count_nonzero(small.left) == 4


def test_impurity_of_each_node():
    x, y, rng = table(11)
    numbers = rng.normal(size=200).astype(np.float32)
    for options, aim in ((cart.Options("entropy"), y), (SQUARED, numbers)):
        options = options._replace(max_depth=2)
        found, peer = grow(x, aim, options), sklearn_tree(x, aim, options, None).tree_
        assert found.size == 7 and found.depth == 2
        np.testing.assert_allclose(sorted(found.impurity[:7]), sorted(peer.impurity), rtol=1e-5)
        decrease = found.cover[:7] * found.impurity[:7]
        inner = np.flatnonzero(found.left[:7])
        left = found.left[inner]
        np.testing.assert_allclose(found.gain[inner], decrease[inner] - decrease[left] - decrease[left + 1], rtol=1e-4)


def test_nothing_to_ask():
    """One row, one label, or rows that do not differ: a single leaf."""
    for x, y in (([[1, 2]], [3]), ([[1, 2], [3, 4]], [1, 1]), ([[1, 2], [1, 2]], [0, 1])):
        nodes, found = fit(x, y, SQUARED)
        assert nodes.left.tolist() == [0] and found.depth == 0
        np.testing.assert_allclose(nodes.value, [[np.mean(y)]], rtol=1e-6)


X, Y = np.arange(8, dtype=np.float32).reshape(4, 2), np.array([0, 1, 0, 1])
HUGE = jax.ShapeDtypeStruct((1000, 2**20), jnp.float32)
BAD = {
    "are too many at once": lambda: cart.grow(cart.Columns(HUGE, HUGE, HUGE, X), cart.Targets(X, Y), options=GINI),
    "did you mean 'gini'": lambda: cart.fit(X, Y, cart.Options("ginni")),
    "must be classes": lambda: cart.fit(X, Y / 2, GINI),
    "have one 1 in a row": lambda: cart.fit(X, np.ones((4, 2)), GINI),
    "must be classes 0, 1": lambda: cart.fit(X, [0, 1, 1, 10**9], GINI),
    "infinite in float32": lambda: cart.fit(X, [0, 1, 1, 1e300], SQUARED),
    "y has 2 outputs; 'absolute_error' takes one": lambda: cart.fit(X, np.eye(4)[:, :2], ABSOLUTE),
    "min_samples_leaf is None": lambda: cart.fit(X, Y, GINI._replace(min_samples_leaf=None)),
    "must be finite numbers": lambda: cart.fit(X, np.array([0, 1, np.nan, 1]), SQUARED),
    "must be 0 or more": lambda: cart.fit(X, -Y, cart.Options("poisson")),
    "y has 4 rows; the table has 3": lambda: cart.fit(X[:3], Y, GINI),
    "all weights are 0": lambda: cart.fit(X, Y, GINI, np.zeros(4)),
    "weight of row 1 is -1": lambda: cart.fit(X, Y, GINI, np.array([1, -1, 1, 1])),
    "max_depth is 0": lambda: cart.fit(X, Y, GINI._replace(max_depth=0)),
    "min_samples_leaf is 0.5; it must be a whole number": lambda: cart.fit(X, Y, GINI._replace(min_samples_leaf=0.5)),
    "max_features is 3; the table has 2": lambda: cart.fit(X, Y, GINI._replace(max_features=3)),
    "give a key": lambda: cart.fit(X, Y, GINI._replace(max_features=1)),
    "did you mean 'best'": lambda: cart.fit(X, Y, GINI._replace(splitter="bst")),
    "takes no missing values": lambda: cart.fit(
        np.where(X == 3, np.nan, X), Y, GINI._replace(splitter="random"), key=jax.random.key(0)
    ),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_input_is_one_sentence(sentence):
    with pytest.raises(UserError, match=sentence) as error:
        BAD[sentence]()
    assert "\n" not in str(error.value)
