"""Bagging: scikit-learn's forests on the same draws, laws of draws and means, any division into chunks, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import ensemble
from sklearn.tree import DecisionTreeClassifier

from research.errors import UserError
from research.trees import bagging, binned, cart, predict_raw
from research.trees.estimators import RandomForestClassifier

OF_NODES = ("feature", "border", "missing_right", "left", "value", "gain", "cover")
GINI, SQUARED = cart.Options(max_features=2), cart.Options("squared_error", max_features=2)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5)).astype(np.float32)
Y = (X[:, 0] + np.sin(3 * X[:, 1]) + 0.3 * RNG.normal(size=120)).astype(np.float32)
LABEL = np.digitize(Y, [-0.5, 0.5])


def fit(options, trees=7, x=X, y=None, seed=0, kind=cart, **how):
    """(Forest, Left or None)."""
    y = y if y is not None else LABEL if options.tree.criterion == "gini" else Y
    aims = cart.targets(y, options.tree.criterion)
    found, left = bagging.fit(x, kind.columns(x), aims, options, trees, jax.random.key(seed), **how)
    return cart.to_forest(found, trees, x.shape[1]), left


def same(a, b):
    for name in OF_NODES:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def alone(forest, t, x):
    """What tree t says of x [N, F]."""
    feature, border, right, left, value = (np.asarray(getattr(forest, name))[t, 0] for name in OF_NODES[:5])
    node = np.zeros(len(x), int)
    for _ in range(forest.depth):
        asked = x[np.arange(len(x)), feature[node]]
        answer = np.where(np.isnan(asked), right[node], asked > border[node])
        node = np.where(left[node] > 0, left[node] + answer, node)
    return value[node] * len(forest.feature)


@pytest.mark.parametrize("per_tree", [False, True])
def test_a_forest_is_the_same_in_any_division(per_tree, monkeypatch):
    options = bagging.Options(GINI._replace(max_depth=4), per_tree=per_tree)
    whole, left = fit(options, left=True, threads=1)
    monkeypatch.setattr(bagging, "TREES", 3)
    parts, other = fit(options, left=True, threads=2, devices=jax.devices()[:2])
    same(whole, parts)
    jax.tree.map(np.testing.assert_array_equal, left, other)
    few = fit(options, 3, left=True, threads=1)[0]
    for t in range(3):
        np.testing.assert_allclose(alone(few, t, X), alone(whole, t, X), rtol=1e-6)
    assert len(np.unique([alone(whole, t, X) for t in range(7)], axis=0)) == 7


def test_trees_that_outgrow_their_memory_are_the_same(monkeypatch):
    """Labels of chance, of which a tree has more nodes than half of the rows."""
    label = np.random.default_rng(1).integers(0, 40, 120)
    whole = fit(bagging.Options(GINI), 4, y=label, kind=binned, threads=1)[0]
    monkeypatch.setattr(bagging, "ROOM", 1)
    same(whole, fit(bagging.Options(GINI), 4, y=label, kind=binned, threads=1)[0])
    assert (np.count_nonzero(np.asarray(whole.cover), axis=(1, 2)) > 60).all()


def test_what_a_trees_weights_are_not_above():
    """Whole numbers of as many bits, for draws with replacement of as many rows as have weight."""
    ready, weight = cart.columns(X), np.repeat([0, 1, 5], 40)
    for options, counts, bits in (
        (bagging.Options(GINI), None, 9),  # 80 draws of 5 at most
        (bagging.Options(GINI, bootstrap=False), None, 8),  # 240
        (bagging.Options(GINI), np.full((2, 120), 7), 11),  # 1680
    ):
        assert bagging.total_of(options, ready, weight, counts) == 2**bits - 1
    assert bagging.total_of(bagging.Options(GINI), ready, weight / 2) is None


@pytest.mark.parametrize("size, rows", [(None, 400), (100, 400)])
def test_the_share_left_out_is_near_1_over_e(size, rows):
    options = bagging.Options(GINI, size=size)
    counts, keys = bagging.draw(jax.random.key(0), np.arange(200), rows, options)
    drawn = size or rows
    assert (counts.sum(axis=1) == drawn).all() and len(np.unique(jax.random.key_data(keys), axis=0)) == 200
    share = (1 - 1 / rows) ** drawn  # 1 / e as rows grow
    assert size or share == pytest.approx(1 / np.e, rel=2e-3)
    # of one draw: rows are left out by chances that are a little against each other
    both = (1 - 2 / rows) ** drawn
    deviation = np.sqrt((share + (rows - 1) * both - rows * share**2) / rows / 200)
    assert (np.asarray(counts) == 0).mean() == pytest.approx(share, abs=4 * deviation)
    assert abs((counts == 0).mean(axis=0) - share).max() < 5 * np.sqrt(share * (1 - share) / 200)  # of each row


@pytest.mark.parametrize("options", [GINI, SQUARED], ids=["classes", "numbers"])
def test_what_is_left_out_is_counted_by_hand(options):
    counts = RNG.integers(0, 3, (6, 120)).astype(np.float32)
    counts[:, 7] = 1
    forest, left = fit(bagging.Options(options), 6, counts=counts, left=True)
    said, out = np.array([alone(forest, t, X) for t in range(6)]), counts == 0
    assert left.count.tolist() == out.sum(axis=0).tolist() and np.isnan(left.mean[7]).all()
    curve = []
    for t in range(6):
        known = out[: t + 1].any(axis=0)
        mean = (said * out[..., None])[: t + 1].sum(axis=0)[known] / out[: t + 1].sum(axis=0)[known, None]
        wrong = mean.argmax(axis=1) != LABEL[known] if options is GINI else (mean[:, 0] - Y[known]) ** 2
        curve.append(wrong.mean())
    np.testing.assert_allclose(left.curve, curve, rtol=1e-5)
    np.testing.assert_allclose(left.mean[known], mean, rtol=1e-5)


def indices(forest, rows):
    """[T, N]: how often trees of scikit-learn's forest draw each row."""
    return np.array([np.bincount(drawn, minlength=rows) for drawn in forest.estimators_samples_])


@pytest.mark.parametrize("criterion", ["squared_error", "gini", "entropy"])
def test_on_the_same_draws_it_is_scikit_learns(criterion):
    """On one feature, where splits of equal gain are in one order; numbers on all of them, as no two gain the same."""
    numbers = criterion == "squared_error"
    x, y = (X, Y) if numbers else (X[:, :1], LABEL)
    make = ensemble.RandomForestRegressor if numbers else ensemble.RandomForestClassifier
    least = 5 if numbers else 1
    theirs = make(12, criterion=criterion, max_features=None, min_samples_leaf=least, oob_score=True, random_state=1)
    options = cart.Options(criterion, min_samples_leaf=least)
    ours, left = fit(bagging.Options(options), 12, x, y, counts=indices(theirs.fit(x, y), 120), left=True)
    grid = RNG.normal(size=(300, x.shape[1])).astype(np.float32)
    want = theirs.predict(grid)[:, None] if numbers else theirs.predict_proba(grid)
    np.testing.assert_allclose(predict_raw(ours, grid), want, rtol=1e-5, atol=1e-6)
    want = theirs.oob_prediction_[:, None] if numbers else theirs.oob_decision_function_
    np.testing.assert_allclose(left.mean[left.count > 0], want[left.count > 0], rtol=1e-5, atol=1e-6)


PEERS = {
    "random forest": (ensemble.RandomForestClassifier(max_features=2), {"max_features": 2}),
    "extra trees": (
        ensemble.ExtraTreesClassifier(max_features=2),
        {"max_features": 2, "splitter": "random", "bootstrap": False},
    ),
    "random subspaces": (
        ensemble.BaggingClassifier(DecisionTreeClassifier(), max_features=2),
        {"max_features": 2, "features_per": "tree"},
    ),
}


@pytest.mark.parametrize("name", PEERS)
def test_accuracies_of_20_seeds_are_as_scikit_learns(name):
    """Two-sided: the means by Welch's t, the deviations by their ratio, at about one in ten thousand."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(900, 5)).astype(np.float32)
    y = np.digitize(x[:, 0] + np.sin(3 * x[:, 1]) + 0.3 * rng.normal(size=900), [-0.5, 0.5])
    theirs, options = PEERS[name]
    found = []
    for model in (theirs, RandomForestClassifier(**options)):
        model.set_params(n_estimators=10)
        seeds = (model.set_params(random_state=seed).fit(x[:150], y[:150]) for seed in range(20))
        found.append([fitted.score(x[150:], y[150:]) for fitted in seeds])
    (a, b), (s, t) = np.mean(found, axis=1), np.std(found, axis=1, ddof=1)
    assert abs(a - b) < 4.5 * np.sqrt((s**2 + t**2) / 20)
    assert 0.4 < s / t < 2.5


def test_the_variance_of_a_mean_of_trees_that_are_alike():
    """rho s^2 + (1 - rho) s^2 / B (Breiman 2001; Hastie et al. 2009, eq. 15.1), over training sets; rho and s^2 are
    measured on other pairs of trees than those whose mean is. Fewer features make trees less alike."""
    rng = np.random.default_rng(3)
    at, trees, rho = np.float32(rng.normal(size=(30, 4))), 12, {}
    for features in (1, 4):
        options, found = bagging.Options(cart.Options("squared_error", max_features=features)), []
        for seed in range(150):
            x = rng.normal(size=(40, 4)).astype(np.float32)
            y = x[:, 0] + x[:, 1] * x[:, 2] + 0.5 * rng.normal(size=40)
            forest = fit(options, trees, x, y, seed, threads=1)[0]
            found.append([alone(forest, t, at)[:, 0] for t in range(trees)])
        found = np.array(found)  # [sets, trees, points]
        single, other = found[:, :6], found[:, 6:]
        square = single.var(axis=0, ddof=1).mean()
        centred = single - single.mean(axis=0)
        pairs = [(centred[:, i] * centred[:, j]).sum(axis=0) / 149 for i in range(6) for j in range(i)]
        rho[features] = np.mean(pairs) / square
        for count in (2, 3, 6):
            want = square * (rho[features] + (1 - rho[features]) / count)
            assert other[:, :count].mean(axis=1).var(axis=0, ddof=1).mean() == pytest.approx(want, rel=0.1)
    assert 0.02 < rho[1] < rho[4] - 0.05 < 0.9


def test_a_weight_is_so_many_copies():
    """Without a bootstrap, and where each row's draws are given."""
    weight, counts = RNG.integers(1, 4, 120), RNG.integers(0, 3, (7, 120))
    options = bagging.Options(GINI, bootstrap=False)
    twice, copies = fit(options, weight=weight)[0], fit(options, x=X.repeat(weight, 0), y=LABEL.repeat(weight))[0]
    for t in range(7):
        np.testing.assert_allclose(alone(twice, t, X), alone(copies, t, X), rtol=1e-6)
    heavy, drawn = fit(options, weight=weight, counts=counts)[0], fit(options, counts=counts * weight)[0]
    same(heavy, drawn)


def test_a_row_of_weight_0_is_not_there():
    """Others are drawn, as if the table were without it; what trees say of it counts for nothing."""
    some = np.arange(120) % 3 > 0
    zero, left = fit(bagging.Options(GINI), weight=some, left=True)
    gone, other = fit(bagging.Options(GINI), x=X[some], y=LABEL[some], left=True)
    same(zero, gone)
    np.testing.assert_array_equal(left.curve, other.curve)
    assert (left.count[~some] == 7).all()


@pytest.mark.parametrize("kind, missing", [(cart, False), (cart, True), (binned, True)])
def test_a_tree_of_its_own_features_is_that_of_these_columns_alone(kind, missing):
    x = np.where(RNG.random(X.shape) < 0.2 * missing, np.nan, X).astype(np.float32)
    forest, _ = fit(bagging.Options(GINI, bootstrap=False, per_tree=True), 5, x, kind=kind)
    chosen = [tuple(np.unique(f[l > 0])) for f, l in zip(*map(np.asarray, (forest.feature[:, 0], forest.left[:, 0])))]
    assert all(len(c) == 2 for c in chosen) and len(set(chosen)) > 2
    for t, features in enumerate(chosen):
        own = bagging.Options(GINI._replace(max_features=None), bootstrap=False)
        want, _ = fit(own, 1, x[:, features], kind=kind)
        got = alone(forest, t, x)
        np.testing.assert_allclose(got, predict_raw(want, x[:, features]), rtol=1e-6, atol=1e-6)


def test_classes_of_a_balanced_draw_weigh_the_same():
    counts = np.where(LABEL == 2, 0, RNG.integers(0, 3, (7, 120))).astype(np.float32)
    counts[:2] = RNG.integers(1, 3, (2, 120))
    options = bagging.Options(GINI._replace(max_depth=1, min_samples_leaf=61), balanced=True)
    forest, _ = fit(options, counts=counts)  # a root alone
    value, cover = 7 * np.asarray(forest.value[:, 0, 0]), np.asarray(forest.cover[:, 0, 0])
    np.testing.assert_allclose(value[:2], np.full((2, 3), 1 / 3), rtol=1e-6)
    np.testing.assert_allclose(value[2:], np.tile([0.5, 0.5, 0], (5, 1)), rtol=1e-6)
    np.testing.assert_allclose(cover, counts.sum(axis=1), rtol=1e-6)


def test_a_hard_vote_is_a_share_of_trees():
    stump = GINI._replace(max_depth=2)
    soft, hard = (fit(bagging.Options(stump, hard=hard))[0] for hard in (False, True))
    votes = np.array([alone(soft, t, X).argmax(axis=1) for t in range(7)])
    want = (votes[..., None] == np.arange(3)).mean(axis=0)
    np.testing.assert_allclose(predict_raw(hard, X), want, rtol=1e-6)
    assert not np.allclose(predict_raw(soft, X), want)


def test_rows_walk_as_in_a_prediction():
    x = np.where(RNG.random(X.shape) < 0.2, np.nan, X).astype(np.float32)
    aims = cart.targets(Y, "squared_error")
    found, _ = bagging.fit(x, cart.columns(x), aims, bagging.Options(SQUARED), 1, jax.random.key(0))
    node = bagging.rest(jax.tree.map(jnp.asarray, found), jnp.asarray(x), 1)[0]
    np.testing.assert_array_equal(found.value[node], alone(cart.to_forest(found, 1, 5), 0, x))


def test_numbers_of_features():
    asked = {"log2": 6, "sqrt": 8, "all": 64, None: 64, 0.5: 32, "0.01": 1, 5: 5, "5": 5, 64: 64, 1: 1}
    assert {name: bagging.resolve(name, 64) for name in asked} == asked
    assert bagging.resolve("log2", 1) == bagging.resolve("log2", 2) == 1
    for bad in ("log", 0, -1, 65, 2.5, "-0.5", "nan"):
        with pytest.raises(UserError, match=f"max_features is {bad}; it must be"):
            bagging.resolve(bad, 64)


MISTAKES = {
    "a tree is to draw 121 rows; the table has 120": lambda: fit(bagging.Options(GINI, size=121)),
    "a tree is to draw 0 rows": lambda: fit(bagging.Options(GINI, size=0)),
    "leave border_count out": lambda: fit(bagging.Options(GINI._replace(splitter="random")), kind=binned),
    "max_features is 6; the table has 5": lambda: fit(bagging.Options(GINI._replace(max_features=6))),
    "all weights are 0": lambda: fit(bagging.Options(SQUARED), weight=np.zeros(120)),
    "weight": lambda: fit(bagging.Options(GINI), weight=np.full(120, -1)),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_a_sentence(message):
    with pytest.raises(UserError, match=message):
        MISTAKES[message]()
