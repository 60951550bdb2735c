"""AdaBoost's estimators: scikit-learn's stages, decisions and importances, the bound, margins, and any learner."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import ensemble
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from research.trees import weak
from research.trees.adaboost import Weak
from research.trees.estimators import AdaBoostClassifier, AdaBoostRegressor

CANCER, WINE = load_breast_cancer(return_X_y=True), load_wine(return_X_y=True)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def cancer():
    return AdaBoostClassifier(n_estimators=25, random_state=0).fit(*CANCER)


@pytest.mark.parametrize("data", [CANCER, WINE, load_iris(return_X_y=True)], ids=["two", "three", "equal splits"])
def test_stages_are_those_of_scikit_learn(data):
    x, y = data[0].astype(np.float32), np.array(["c", "a", "b"])[data[1]]
    ours = AdaBoostClassifier(n_estimators=25, algorithm="samme").fit(x, y)
    peer = ensemble.AdaBoostClassifier(n_estimators=25, random_state=0).fit(x, y)
    np.testing.assert_allclose(ours.estimator_weights_, peer.estimator_weights_, rtol=2e-5)
    np.testing.assert_allclose(ours.estimator_errors_, peer.estimator_errors_, rtol=2e-5)
    for own, their in zip(ours.staged_predict(x), peer.staged_predict(x), strict=True):
        np.testing.assert_array_equal(own, their)
    for own, their in zip(ours.staged_decision_function(x), peer.staged_decision_function(x), strict=True):
        np.testing.assert_allclose(own, their, atol=1e-5)
    np.testing.assert_allclose(ours.decision_function(x), peer.decision_function(x), atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(x), peer.predict_proba(x), atol=1e-6)
    assert list(ours.staged_score(x, y))[-1] == ours.score(x, y) == peer.score(x, y)
    if len(x) != 150:  # iris has columns that split alike
        np.testing.assert_allclose(ours.feature_importances_, peer.feature_importances_, atol=1e-6)


def test_two_classes_have_the_weights_of_the_paper_by_default(cancer):
    error = cancer.estimator_errors_
    np.testing.assert_allclose(cancer.estimator_weights_, np.log((1 - error) / error) / 2, rtol=1e-5)
    bound = np.cumprod(2 * np.sqrt(error * (1 - error)))
    np.testing.assert_allclose(cancer.bound_, bound, rtol=1e-5)
    wrong = 1 - np.array(list(cancer.staged_score(*CANCER)))
    assert (wrong <= bound).all() and wrong[0] > 0.5 * error[0]


def test_margins_are_differences_of_shares_of_votes(cancer):
    x, y = CANCER
    margins = cancer.margins(x, y)
    np.testing.assert_allclose(margins, (2 * y - 1) * cancer.decision_function(x) / 2, atol=1e-5)
    assert ((margins > 0) == (cancer.predict(x) == y)).all() and np.abs(margins).max() <= 1


@pytest.mark.parametrize("algorithm, resample", [("samme.r", False), (None, True)])
def test_other_ways_fit_too(algorithm, resample):
    options = dict(n_estimators=10, max_depth=2, border_count=20, resample=resample, random_state=0)
    model = AdaBoostClassifier(algorithm=algorithm, **options).fit(*WINE)
    assert model.score(*WINE) > 0.95 and model.stages_.params[1].max() < 20
    np.testing.assert_allclose(model.predict_proba(WINE[0]).sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(list(model.staged_predict(WINE[0]))[-1], model.predict(WINE[0]))
    other = clone(model).set_params(random_state=1).fit(*WINE)
    assert np.array_equal(other.stages_.weight, model.stages_.weight) != resample


def test_numbers_are_drawn_by_weight_and_get_better():
    x = RNG.random((300, 3)).astype(np.float32)
    y = np.sin(6 * x[:, 0]) + x[:, 1]
    model = AdaBoostRegressor(n_estimators=20, random_state=0).fit(x, y)
    first = 1 - np.mean((next(model.staged_predict(x)) - y) ** 2) / np.var(y)
    peer = ensemble.AdaBoostRegressor(n_estimators=20, random_state=0).fit(x, y)
    assert model.score(x, y) > first + 0.02 and abs(model.score(x, y) - peer.score(x, y)) < 0.03
    again, other = (clone(model).set_params(random_state=seed).fit(x, y).predict(x) for seed in (0, 1))
    np.testing.assert_array_equal(again, model.predict(x))
    assert not np.array_equal(other, again)


def test_parameters_set_after_fitting_wait_for_the_next_fit():
    model = AdaBoostClassifier(n_estimators=5).fit(*CANCER)
    before = model.predict_proba(CANCER[0])
    model.set_params(max_depth=3, algorithm="samme.r", n_estimators=2)
    np.testing.assert_array_equal(model.predict_proba(CANCER[0]), before)
    model = AdaBoostRegressor(n_estimators=3, max_depth=1, random_state=0).fit(*CANCER)
    before = model.predict(CANCER[0])
    np.testing.assert_array_equal(model.set_params(max_depth=4).predict(CANCER[0]), before)


def test_a_learner_of_ones_own():
    """Rows and places of labels reach it as they are; trees are not asked."""
    x = RNG.normal(size=(200, 2))
    y = np.array(["no", "yes"])[(np.abs(x.sum(1)) < 0.7).astype(int)]
    model = clone(AdaBoostClassifier(weak.perceptron(2), n_estimators=30, random_state=0)).fit(x, y)
    errors = [1 - score for score in model.staged_score(x, y)]
    assert errors[-1] < 0.8 * errors[0] and model.classes_.tolist() == ["no", "yes"]
    assert not hasattr(model, "feature_importances_")


def test_what_is_missing_lies_below_all_numbers():
    x = np.where(RNG.random((200, 1)) < 0.5, np.nan, 1 + RNG.random((200, 1)))
    model = AdaBoostClassifier(n_estimators=2).fit(x, np.isnan(x[:, 0]))
    assert model.score(x, np.isnan(x[:, 0])) == 1
    assert model.bound_.tolist() == [0.0] and model.estimator_weights_.tolist() == [1.0]


NONE = Weak(lambda key, x, y, w: y[0], lambda params, x: jnp.zeros(len(x), jnp.int32) + params)
HOLE = np.where(np.arange(13) == 2, np.nan, WINE[0])
TWICE = np.ones((2, 178))
MISTAKES = {
    "n_estimators == 0, must be >= 1": lambda: AdaBoostClassifier(n_estimators=0).fit(*CANCER),
    "learning_rate == 0.0, must be > 0": lambda: AdaBoostRegressor(learning_rate=0.0).fit(*CANCER),
    "did you mean 'samme.r'": lambda: AdaBoostClassifier(algorithm="same.r").fit(*CANCER),
    "y has 3 classes and 'adaboost' takes two": lambda: AdaBoostClassifier(algorithm="adaboost").fit(*WINE),
    "choose one of linear, square, exponential": lambda: AdaBoostRegressor(loss="huber").fit(*CANCER),
    "y has 1 class": lambda: AdaBoostClassifier().fit(WINE[0], np.zeros(178)),
    "all weights are 0|at least one non-zero": lambda: AdaBoostClassifier().fit(*WINE, np.zeros(178)),
    "estimator is 'tree'; it must be an adaboost.Weak": lambda: AdaBoostClassifier("tree").fit(*WINE),
    "values are missing": lambda: AdaBoostClassifier(NONE).fit(HOLE, WINE[1]),
    "resample is neither True nor False": lambda: AdaBoostRegressor(resample="yes").fit(*WINE),
    r"an array \[50, 178\] of how often": lambda: AdaBoostRegressor(resample=np.ones((2, 178))).fit(*WINE),
    "resample is neither True nor False; give": lambda: AdaBoostClassifier(n_estimators=2, resample=TWICE).fit(*WINE),
    "0 for all rows in stage 1": lambda: AdaBoostRegressor(n_estimators=2, resample=TWICE * [[1], [0]]).fit(*WINE),
    "resample is negative.* in stage 0": lambda: AdaBoostRegressor(n_estimators=2, resample=-TWICE).fit(*WINE),
    "not finite.* in stage 0": lambda: AdaBoostRegressor(n_estimators=2, resample=TWICE * np.nan).fit(*WINE),
    r"178 rows and y the shape \[1\]": lambda: AdaBoostClassifier(n_estimators=1).fit(*WINE).margins(WINE[0], [1]),
    "labels that are not among": lambda: AdaBoostClassifier(n_estimators=1).fit(*WINE).margins(*[WINE[0], WINE[1] + 1]),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_value_errors(message):
    with pytest.raises(ValueError, match=message):
        MISTAKES[message]()
