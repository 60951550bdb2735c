"""A single tree as an estimator: scikit-learn's own on the same rows, nodes, ratios of gain, draws, mistakes."""

import numpy as np
import pytest
from sklearn import datasets, tree

from research.trees import cart
from research.trees.estimators import DecisionTreeClassifier, DecisionTreeRegressor

WINE = datasets.load_wine(return_X_y=True)
NUMBERS = datasets.load_diabetes(return_X_y=True)
HOLES = np.where(np.random.default_rng(0).random(WINE[0].shape) < 0.1, np.nan, WINE[0])
CASES = {  # our estimator, its options, the table
    "balanced": (DecisionTreeClassifier, {"class_weight": "balanced", "max_depth": 3, "criterion": "entropy"}, WINE),
    "weights": (DecisionTreeClassifier, {"class_weight": {0: 5, 1: 1, 2: 0.5}, "min_samples_leaf": 4}, WINE),
    "shares": (DecisionTreeClassifier, {"min_samples_leaf": 0.05, "min_samples_split": 0.3}, WINE),
    "pruned": (DecisionTreeClassifier, {"ccp_alpha": 0.03}, WINE),
    "missing": (DecisionTreeClassifier, {"min_samples_leaf": 5, "criterion": "log_loss"}, (HOLES, WINE[1])),
    "numbers": (DecisionTreeRegressor, {"max_depth": 4, "min_weight_fraction_leaf": 0.05}, NUMBERS),
    "medians": (DecisionTreeRegressor, {"criterion": "absolute_error", "max_depth": 3, "ccp_alpha": 2.0}, NUMBERS),
    "gain": (DecisionTreeRegressor, {"min_impurity_decrease": 100.0}, NUMBERS),
}


@pytest.mark.parametrize("case", CASES)
def test_as_scikit_learn(case):
    """Which of equal splits it takes is by chance: with one of a few seeds it asks what we ask."""
    kind, options, (x, y) = CASES[case]
    x = x.astype(np.float32)
    ours = kind(**options).fit(x, y)
    peers = (getattr(tree, kind.__name__)(**options, random_state=seed).fit(x, y) for seed in range(40))
    peer = next(peer for peer in peers if questions_of(peer) == questions(ours))
    assert (ours.get_n_leaves(), ours.get_depth()) == (peer.get_n_leaves(), peer.get_depth())
    np.testing.assert_allclose(np.sort(ours.impurity_), np.sort(peer.tree_.impurity), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.feature_importances_, peer.feature_importances_, atol=1e-6)
    assert len(set(zip(ours.apply(x), peer.apply(x)))) == peer.get_n_leaves()
    own, wanted = (m.predict_proba(x) if kind is DecisionTreeClassifier else m.predict(x) for m in (ours, peer))
    np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=1e-7)
    path, wanted = (m.cost_complexity_pruning_path(x, y) for m in (ours, peer))
    np.testing.assert_allclose(path.ccp_alphas[-3:], wanted.ccp_alphas[-3:], rtol=1e-5)
    np.testing.assert_allclose(path.impurities[-3:], wanted.impurities[-3:], rtol=1e-5)


def questions(model):
    left, feature, border = (np.asarray(getattr(model.forest_, name)[0, 0]) for name in ("left", "feature", "border"))
    return sorted(zip(feature[left > 0].tolist(), border[left > 0].tolist()))


def questions_of(peer):
    inner = peer.tree_.children_left > 0
    return sorted(zip(peer.tree_.feature[inner].tolist(), peer.tree_.threshold[inner].astype(np.float32).tolist()))


def test_rows_come_to_rest_in_leaves_that_hold_them():
    x, y = WINE
    model = DecisionTreeClassifier(max_depth=2).fit(x, y)
    leaf, left = model.apply(x), np.asarray(model.forest_.left[0, 0])
    assert not left[leaf].any()
    assert np.bincount(leaf, minlength=len(left))[left == 0].tolist() == model.forest_.cover[0, 0][left == 0].tolist()


def test_gain_ratios():
    """One of 4 rows is of its own class, and parted: all of H(1/4) is gained, by a split of that entropy."""
    model = DecisionTreeClassifier(criterion="entropy").fit([[0], [1], [1], [1]], ["a", "b", "b", "b"])
    np.testing.assert_allclose(model.gain_ratio_, [1, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(model.forest_.gain[0, 0, 0], 4 * (2 - 0.75 * np.log2(3)), rtol=1e-6)


def test_draws_follow_the_random_state():
    x, y = WINE
    options = {"splitter": "random", "max_features": "sqrt"}
    one, again, other = (DecisionTreeClassifier(**options, random_state=s).fit(x, y).forest_ for s in (1, 1, 2))
    np.testing.assert_array_equal(one.border, again.border)
    assert one.border.shape != other.border.shape or not np.array_equal(one.border, other.border)


@pytest.mark.parametrize(
    "given, count", [("sqrt", 3), ("log2", 3), (0.5, 6), (1.0, 13), (2, 2), (None, None), (0.01, 1)]
)
def test_how_many_features_are_drawn(given, count, monkeypatch):
    seen = []
    monkeypatch.setattr(cart, "grown", lambda ready, y, options, *rest: seen.append(options) or stop())
    with pytest.raises(RuntimeError):
        DecisionTreeClassifier(max_features=given).fit(*WINE)
    assert seen[0].max_features == count


def stop():
    raise RuntimeError


MISTAKES = {
    "did you mean 'gini'": {"criterion": "ginni"},
    "the criterion is 'squared_error'; choose one of gini, entropy, log_loss": {"criterion": "squared_error"},
    "did you mean 'best'": {"splitter": "bset"},
    "max_depth == 0": {"max_depth": 0},
    "min_samples_leaf is 1.5": {"min_samples_leaf": 1.5},
    "min_samples_split is 1": {"min_samples_split": 1},
    "min_samples_leaf is None": {"min_samples_leaf": None},
    "min_samples_leaf is 'sqrt'": {"min_samples_leaf": "sqrt"},
    "max_features is 'all'": {"max_features": "all"},
    "max_features is 14; the table has 13": {"max_features": 14},
    "ccp_alpha == -1": {"ccp_alpha": -1},
    "min_weight_fraction_leaf == 0.6": {"min_weight_fraction_leaf": 0.6},
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_mistakes_are_value_errors(sentence):
    with pytest.raises(ValueError, match=sentence):
        DecisionTreeClassifier(**MISTAKES[sentence]).fit(*WINE)


def test_criteria_of_classes_are_none_of_numbers():
    """Whole numbers could pass for classes."""
    with pytest.raises(ValueError, match="the criterion is 'gini'; choose one of squared_error, friedman_mse"):
        DecisionTreeRegressor(criterion="gini").fit(*WINE)
