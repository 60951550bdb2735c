"""Estimators of random forests: scikit-learn's names, out-of-bag attributes, importances, votes, labels, sentences."""

import inspect

import numpy as np
import pytest
from sklearn import ensemble, inspection

from research.trees import explain
from research.trees.estimators import RandomForestClassifier, RandomForestRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4)).astype(np.float32)
Y = (X[:, 0] + np.sin(3 * X[:, 1]) + 0.2 * RNG.normal(size=150)).astype(np.float32)
LABEL = np.array(["low", "mid", "top"])[np.digitize(Y, [-0.5, 0.5])]


@pytest.fixture(scope="module")
def classifier():
    return RandomForestClassifier(20, oob_score=True, random_state=0).fit(X, LABEL)


@pytest.fixture(scope="module")
def regressor():
    return RandomForestRegressor(20, oob_score=True, random_state=0).fit(X, Y)


@pytest.mark.parametrize("name", ["RandomForestClassifier", "RandomForestRegressor"])
def test_names_and_defaults_are_scikit_learns(name):
    ours, theirs = (inspect.signature(of.__init__).parameters for of in (globals()[name], getattr(ensemble, name)))
    own = {"splitter", "features_per", "border_count", "vote"}
    left_out = {"max_leaf_nodes", "verbose", "warm_start", "ccp_alpha", "monotonic_cst"}
    assert set(ours) - own == set(theirs) - left_out
    differing = {name for name in set(ours) & set(theirs) - {"self"} if ours[name].default != theirs[name].default}
    assert differing == {"max_features"} and ours["max_features"].default == "log2"


def test_attributes_out_of_bag(classifier, regressor):
    share = classifier.oob_decision_function_
    assert share.shape == (150, 3) and classifier.oob_curve_.shape == (20,)
    assert classifier.oob_score_ == np.mean(classifier.classes_[share.argmax(axis=1)] == LABEL)
    assert classifier.oob_curve_[-1] == pytest.approx(1 - classifier.oob_score_)
    error = np.mean((regressor.oob_prediction_ - Y) ** 2)
    assert regressor.oob_curve_[-1] == pytest.approx(error, rel=1e-5)
    assert regressor.oob_score_ == pytest.approx(1 - error / Y.var(), rel=1e-5)
    assert 0.5 < classifier.oob_score_ < classifier.score(X, LABEL)


def test_too_few_trees_leave_nan_and_say_so():
    with pytest.warns(UserWarning, match="of 150 rows .* were drawn by all 2 trees: none tells") as found:
        model = RandomForestRegressor(2, oob_score=True, random_state=0).fit(X, Y)
    none = np.flatnonzero(np.isnan(model.oob_prediction_))
    assert 0.25 < none.size / 150 < 0.55  # (1 - 1 / e)^2
    assert str(found[0].message).startswith(f"{none.size} of 150 rows ({none[0]}, {none[1]}, {none[2]} ...) ")
    assert np.isfinite(model.oob_score_) and model.oob_curve_[-1] > 0


def test_importances_are_means_of_trees(classifier):
    """By hand from the arrays, as scikit-learn's: a tree's gains as shares of their sum, and then the mean of trees."""
    forest, want = classifier.forest_, np.zeros(4)
    for t in range(20):
        gain = np.array([np.asarray(forest.gain)[t, 0][np.asarray(forest.feature)[t, 0] == f].sum() for f in range(4)])
        want += gain / gain.sum() / 20
    np.testing.assert_allclose(classifier.feature_importances_, want, rtol=1e-5)
    assert classifier.feature_importances_[:2].min() > classifier.feature_importances_[2:].max()
    root = RandomForestClassifier(3, max_depth=1, min_samples_leaf=100).fit(X, LABEL)
    assert root.feature_importances_.tolist() == [0] * 4


def test_permutation_importances_are_scikit_learns_on_its_permutations(classifier):
    theirs = inspection.permutation_importance(classifier, X, LABEL, n_repeats=4, random_state=np.random.RandomState(7))
    draw = np.random.RandomState(np.random.RandomState(7).randint(np.iinfo(np.int32).max + 1))
    orders, order, column = [], np.arange(150), np.arange(150)
    for _ in range(4):  # it shuffles a column that is shuffled already
        draw.shuffle(order)
        column = column[order]
        orders.append(column)

    def score(raw):
        return np.mean(classifier.classes_[raw.argmax(axis=1)] == LABEL)

    ours = explain.permutation(classifier.forest_, X, score, orders=orders, each=True)
    np.testing.assert_allclose(ours, theirs.importances, atol=1e-9)
    drawn = explain.permutation(classifier.forest_, X, score, repeats=4)
    np.testing.assert_allclose(drawn, ours.mean(axis=1), atol=0.1)


def test_votes_and_labels(classifier):
    hard = RandomForestClassifier(20, vote="hard", random_state=0, oob_score=True).fit(X, LABEL)
    votes = 20 * hard.predict_proba(X)
    np.testing.assert_allclose(votes, votes.round(), atol=1e-5)
    np.testing.assert_allclose(votes.sum(axis=1), 20, rtol=1e-6)
    assert set(hard.predict(X)) == {"low", "mid", "top"}
    assert classifier.predict(X).tolist() == classifier.classes_[classifier.predict_proba(X).argmax(axis=1)].tolist()


def test_weights_of_classes():
    """A rare class that weighs more is said more often."""
    rare = LABEL == "top"
    y = np.where(rare & (np.arange(150) % 4 > 0), "low", LABEL)
    shares = {}
    for weight in (None, "balanced", "balanced_subsample"):
        model = RandomForestClassifier(20, max_depth=3, class_weight=weight, random_state=0).fit(X, y)
        shares[str(weight)] = model.predict_proba(X)[:, 2].mean()
    plain = shares.pop("None")
    assert min(shares.values()) > 1.5 * plain


def test_missing_values_names_and_seeds():
    x = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
    one, same, other = (
        RandomForestRegressor(4, random_state=seed, n_jobs=jobs).fit(x, Y).predict(x)
        for seed, jobs in ((0, 2), (0, -1), (1, 2))
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def classes(**options):
    return RandomForestClassifier(2, **options).fit(X, LABEL)


MISTAKES = {
    "oob_score is True and bootstrap is False": lambda: classes(oob_score=True, bootstrap=False),
    "max_samples is 5 and bootstrap is False": lambda: classes(max_samples=5, bootstrap=False),
    "max_samples is 1.5; it must be a number of rows, or a share": lambda: classes(max_samples=1.5),
    "a tree is to draw 151 rows; the table has 150": lambda: classes(max_samples=151),
    "n_estimators == 0, must be >= 1": lambda: RandomForestRegressor(0).fit(X, Y),
    "max_features is 'log'": lambda: classes(max_features="log"),
    "max_features is 5; the table has 4": lambda: classes(max_features=5),
    "vote is 'har'; did you mean 'hard'": lambda: classes(vote="har"),
    "features_per is 'trees'; did you mean 'tree'": lambda: classes(features_per="trees"),
    "leave border_count out": lambda: classes(splitter="random", border_count=15),
    "did you mean 'gini'": lambda: classes(criterion="gin"),
    "the criterion is 'poisson'; choose one of gini": lambda: classes(criterion="poisson"),
    "bins": lambda: RandomForestRegressor(2, criterion="absolute_error", border_count=15).fit(X, Y),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_value_errors(message):
    with pytest.raises(ValueError, match=message):
        MISTAKES[message]()
