"""scikit-learn's estimators: its own checks, and that they are the trees of `fit` under its names."""

import types

import jax
import numpy as np
import pyarrow
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from configs import base
from research import trees
from research.errors import UserError
from research.trees.estimators import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    CatBoostingClassifier,
    CatBoostingRegressor,
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    ObliviousBoostingClassifier,
    ObliviousBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    XGBoostClassifier,
    XGBoostRegressor,
)

RNG = np.random.default_rng(0)
X = RNG.random((300, 4)).astype(np.float32)
Y = (4 * X[:, 0] + np.sin(6 * X[:, 1])).astype(np.float32)
LABELS = {2: np.where(Y > 2, "yes", "no"), 3: np.array(["low", "mid", "top"])[np.digitize(Y, [1.5, 3])]}
SMALL = dict(n_estimators=8, learning_rate=0.5, max_depth=2, border_count=16)
PLAIN = dict(l2_leaf_reg=0.0, random_strength=0.0, subsample=1.0, mvs=False, bagging_temperature=0.0)
EXPECTED = {  # a check that may fail
    "check_sample_weight_equivalence_on_dense_data": "float32 gradients of weights and of copies are rounded "
    "differently, and this decides between splits of nearly equal gain"
}


@pytest.fixture(scope="module", autouse=True)
def _quick_to_compile():  # each check has tables of another shape
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def may_fail(estimator):
    return {} if "DecisionTree" in type(estimator).__name__ else EXPECTED


@parametrize_with_checks(
    [  # a weight is so many copies only where the l2 is 0, since CatBoost's grows with the mean weight
        ObliviousBoostingClassifier(**SMALL | {"max_depth": 1}, l2_leaf_reg=0.0),
        GradientBoostingRegressor(**SMALL | {"max_depth": 1}),
        XGBoostClassifier(n_estimators=8, max_depth=1, max_bin=16),
        DecisionTreeClassifier(),
        RandomForestRegressor(8, max_depth=2, bootstrap=False, max_features=None),  # a bootstrap draws rows
        AdaBoostClassifier(**SMALL | {"max_depth": 1}),
    ],
    expected_failed_checks=may_fail,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.slow  # a minute each, to compile for tables of many shapes
@parametrize_with_checks(
    [
        ObliviousBoostingRegressor(**SMALL, l2_leaf_reg=0.0),
        GradientBoostingClassifier(**SMALL | {"max_depth": 1}),
        XGBoostRegressor(n_estimators=8, max_depth=1, max_bin=16),
        CatBoostingRegressor(**SMALL, **PLAIN),
        CatBoostingClassifier(**SMALL | {"max_depth": 1}, **PLAIN, leaf_method="newton", leaf_iterations=1),
        DecisionTreeRegressor(),
        RandomForestClassifier(8, max_depth=2, bootstrap=False),
        AdaBoostRegressor(**SMALL | {"max_depth": 1}, resample=False),  # draws are of rows, not of weights
    ],
    expected_failed_checks=may_fail,
)
def test_scikit_learns_checks_of_the_others(estimator, check):
    check(estimator)


def regressor(**options):
    return ObliviousBoostingRegressor(**SMALL | options)


def classifier(**options):
    return ObliviousBoostingClassifier(**SMALL | options)


def test_the_trees_are_those_of_fit():
    own = {"num_trees": 8, "depth": 2, "learning_rate": 0.5, "border_count": 16, "l2_leaf_reg": 1.0, "missing": "max"}
    weight = RNG.random(300).astype(np.float32)
    config = types.SimpleNamespace(**base.gbdt_oblivious().to_dict() | own)
    of = trees.fit(X, Y, config, sample_weight=weight)
    model = regressor(l2_leaf_reg=1.0, missing="max").fit(X, Y, weight)
    jax.tree.map(np.testing.assert_array_equal, model.ensemble_, of)
    np.testing.assert_array_equal(model.predict(X), trees.predict(of, X))
    np.testing.assert_array_equal(model.feature_importances_, trees.importances(of))
    assert model.feature_importances_.argmax() == 0


def test_defaults_are_those_of_the_config_but_for_the_number_of_trees():
    ours = ObliviousBoostingRegressor().get_params()
    names = {"num_trees": "n_estimators", "depth": "max_depth", "objective": "loss"}
    theirs = {names.get(name, name): value for name, value in base.gbdt_oblivious().items()}
    shared = ours.keys() & theirs.keys() - {"n_estimators", "loss", "leaf_method"}
    assert len(shared) == len(ours) - 4  # and random_state
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


@pytest.mark.parametrize("loss, share", [("absolute_error", 0.5), ("quantile:alpha=0.9", 0.9)])
def test_losses_by_scikit_learns_name_and_by_ours(loss, share):
    model = regressor(loss=loss, n_estimators=30).fit(X, Y)
    assert np.mean(model.predict(X) >= Y) == pytest.approx(share, abs=0.04)  # exact leaves, not gradient steps


@pytest.mark.parametrize("classes, loss", [(2, "auto"), (2, "exponential"), (3, "log_loss")])
def test_labels_of_any_kind(classes, loss):
    y = LABELS[classes]
    model = classifier(loss=loss).fit(X, y)
    assert model.classes_.tolist() == sorted(set(y))
    assert model.score(X, y) > 0.9
    p, score = model.predict_proba(X), model.decision_function(X)
    assert p.shape == (300, classes) and score.shape == ((300,) if classes == 2 else (300, 3))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(X))
    if classes == 2:
        factor = 2 if loss == "exponential" else 1
        np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-factor * score)), rtol=1e-5)


def test_stages_end_with_the_prediction():
    number, label = regressor().fit(X, Y), classifier().fit(X, LABELS[3])
    for model, y in ((number, Y), (label, LABELS[3])):
        stages = list(model.staged_predict(X))
        assert len(stages) == 8 and stages[0].shape == y.shape
        assert not np.array_equal(stages[0], stages[-1])
    np.testing.assert_array_equal(stages[-1], label.predict(X))
    np.testing.assert_allclose(list(number.staged_predict(X))[-1], number.predict(X), rtol=1e-5)


def test_splits_lie_on_borders_that_are_given():
    given = [np.array([0.25, 0.5]), np.array([0.5]), np.array([]), np.array([0.125])]
    model = regressor(borders=given).fit(X, Y)
    splits = [split for tree in trees.describe(model.ensemble_)["trees"] for split in tree["splits"]]
    assert {split["border"] for split in splits if split["feature"] == 0} == {0.25, 0.5}
    assert all(split["border"] in given[split["feature"]] for split in splits)


def test_early_stopping_watches_the_eval_set():
    options = {"n_estimators": 60, "early_stopping": 5}
    flipped = -(Y - Y.mean()) + Y.mean()  # each tree makes it worse
    assert len(regressor(**options).fit(X, Y, eval_set=(X, flipped)).ensemble_.feature) == 1
    assert len(regressor(**options).fit(X, Y, eval_set=(X, Y)).ensemble_.feature) == 60
    some = classifier(**options).fit(X, LABELS[3], eval_set=(X, np.roll(LABELS[3], 1)))
    assert len(some.ensemble_.feature) < 20


def test_labels_of_an_eval_set_may_be_a_column():
    forms = LABELS[3], LABELS[3][:, None], LABELS[3].tolist()
    flat, *others = (classifier().fit(X, LABELS[3], eval_set=(X, y)).evals_result_ for y in forms)
    assert others == [flat, flat]


def test_what_was_watched_is_of_the_last_fit(tmp_path):
    watched = ("evals_result_", "best_iteration_", "best_score_")
    model = regressor(early_stopping=3).fit(X, Y, eval_set=(X, Y))
    assert all(hasattr(model, name) for name in watched)
    model.save_model(tmp_path / "model.json")
    model.load_model(tmp_path / "model.json")
    assert not any(hasattr(model, name) for name in watched)
    model.fit(X, Y, eval_set=(X, Y)).set_params(early_stopping=0).fit(X, Y)
    assert model.evals_result_ == {} and not any(hasattr(model, name) for name in watched[1:])


def test_random_state():
    one, same, other = (
        regressor(subsample=0.5, colsample_bytree=0.5, random_state=seed).fit(X, Y).predict(X) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("format", ["catboost_json", "xgboost_json"])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_saved_model_predicts_the_same(tmp_path, format, classes):
    table = pyarrow.table({name: X[:, i] for i, name in enumerate("abcd")})
    model = classifier().fit(table, LABELS[classes]) if classes else regressor().fit(table, Y)
    model.save_model(tmp_path / "model.json", format)
    loaded = type(model)().load_model(tmp_path / "model.json", format)
    np.testing.assert_array_equal(loaded.feature_names_in_, model.feature_names_in_)
    if classes:
        assert loaded.classes_.tolist() == model.classes_.tolist()
        np.testing.assert_allclose(loaded.predict_proba(table), model.predict_proba(table), rtol=1e-5)
        np.testing.assert_array_equal(loaded.predict(table), model.predict(table))
    else:
        np.testing.assert_allclose(loaded.predict(table), model.predict(table), rtol=1e-5)
    other = regressor() if classes else classifier()
    with pytest.raises(UserError, match="the file holds"):
        other.load_model(tmp_path / "model.json", format)


@pytest.mark.parametrize("format", ["catboost_json", "xgboost_json"])
def test_a_saved_exponential_loss_keeps_its_probabilities(tmp_path, format):
    model = classifier(loss="exponential").fit(X, LABELS[2])
    model.save_model(tmp_path / "model.json", format)
    loaded = classifier().load_model(tmp_path / "model.json", format)
    assert loaded.classes_.tolist() == model.classes_.tolist()
    np.testing.assert_allclose(loaded.predict_proba(X), model.predict_proba(X), rtol=1e-5)


HOLE = np.where(np.arange(4) == 2, np.nan, X)
TIMES = np.full((300, 4), np.datetime64("2020-01-01"))
MISTAKES = {
    "n_estimators == 0, must be >= 1": lambda: regressor(n_estimators=0).fit(X, Y),
    "subsample == 0.0, must be > 0": lambda: regressor(subsample=0.0).fit(X, Y),
    "subsample must be an instance of float, not NoneType; by default it is 1.0": lambda: regressor(subsample=None).fit(
        X, Y
    ),
    "border_count must be an instance of int": lambda: regressor(border_count=None).fit(X, Y),
    "borders is None; give the name of a kind": lambda: regressor(borders=None).fit(X, Y),
    "the objective is 'None'": lambda: regressor(loss=None).fit(X, Y),
    "row 0, column 0 of the table holds .*2020-01-01.*, not a number": lambda: regressor().fit(TIMES, Y),
    "the table holds .*2020-01-01.*, not a number": lambda: DecisionTreeRegressor().fit(X, Y).predict(TIMES),
    "max_depth must be an instance of int, not NoneType; by default it is 3": lambda: AdaBoostRegressor(
        max_depth=None
    ).fit(X, Y),
    "n_jobs must be an instance of int": lambda: RandomForestRegressor(n_jobs="all").fit(X, Y),
    "score_function is 'l1'": lambda: regressor(score_function="l1").fit(X, Y),
    "row 0, column 2 of the table is missing": lambda: regressor(missing="forbid").fit(HOLE, Y),
    "did you mean 'squared'": lambda: regressor(loss="sqared").fit(X, Y),
    "the objective is 'log_loss'": lambda: regressor(loss="log_loss").fit(X, Y),
    "must be a pair": lambda: regressor(early_stopping=3).fit(X, Y, eval_set=[(X, Y, Y)]),
    "whose labels are classes": lambda: regressor(loss="softmax:classes=3").fit(X, np.digitize(Y, [1.5, 3])),
    "did you mean 'exponential'": lambda: classifier(loss="exponentail").fit(X, LABELS[2]),
    "exponential needs 0 or 1": lambda: classifier(loss="exponential").fit(X, LABELS[3]),
    "no row of class no has a positive weight": lambda: classifier().fit(X, LABELS[2], LABELS[2] == "yes"),
    "y has 1 class": lambda: classifier().fit(X, np.zeros(300)),
    "the label 'maybe' of the eval_set": lambda: classifier().fit(X, LABELS[2], eval_set=(X[:1], ["maybe"])),
    r"array of shape \(300, 2\)": lambda: classifier().fit(X, LABELS[2], eval_set=(X, np.stack([LABELS[2]] * 2, 1))),
    "needs an eval_set": lambda: regressor(early_stopping=3).fit(X, Y),
    "the format is 'catboost'; did you mean": lambda: regressor().load_model("no.json", "catboost"),
    "no.json cannot be read as JSON": lambda: regressor().load_model("no.json"),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_value_errors(message):
    with pytest.raises(ValueError, match=message):
        MISTAKES[message]()
    assert issubclass(trees.estimators.ParameterError, UserError)
