"""XGBoost's estimators: its predictions, metrics and rounds where nothing is left to chance (make_xgboost.py wrote them
down), and laws of what it leaves to chance."""

import json
import pathlib

import jax
import numpy as np
import pytest

from research import trees
from research.trees import fit_linear, interop_xgboost, objectives
from research.trees.estimators import XGBoostClassifier, XGBoostRegressor
from tests.peers import tables

PEERS = pathlib.Path(__file__).parents[1] / "peers"
PEER = json.loads((PEERS / "estimators_xgboost.json").read_text())["cases"]
LINEAR = json.loads((PEERS / "linear.json").read_text())["files"]
RNG = np.random.default_rng(0)
X = RNG.random((200, 4)).astype(np.float32)
Y = (4 * X[:, 0] + np.sin(6 * X[:, 1])).astype(np.float32)
LABEL = np.where(Y > 2, "yes", "no")


@pytest.fixture(scope="module", autouse=True)
def _quick_to_compile():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def small(kind=XGBoostRegressor, **params):
    return kind(**{"n_estimators": 5, "max_depth": 2} | params)


@pytest.mark.parametrize("name", PEER)
def test_predictions_and_metrics_are_xgboosts(name):
    case = PEER[name]
    x, y, _ = tables.load(case["table"])
    numeric = case["table"].startswith("diabetes")
    y, kind = (y, XGBoostRegressor) if numeric else (y.astype(int), XGBoostClassifier)
    model = kind(**{"n_estimators": 20, "max_depth": 3} | case["params"])
    model.fit(x[::2], y[::2], eval_set=[(x[::2], y[::2]), (x[1::2], y[1::2])])
    assert getattr(model, "best_iteration_", None) == case["best"]
    sketched = case["params"].get("tree_method") == "approx"  # XGBoost's cuts are not exact there
    for of, values in case["evals"].items():
        assert model.evals_result_[of].keys() == values.keys()
        for metric, theirs in values.items():
            np.testing.assert_allclose(model.evals_result_[of][metric], theirs, rtol=0.05 if sketched else 1e-5)
    if not sketched:
        ours, theirs = model._raw(x[:100]).ravel(), np.array(case["predictions"])
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * (y.std() if numeric else 1), rtol=0)


def test_early_stopping_keeps_the_best_round():
    options = {"n_estimators": 60, "learning_rate": 0.5, "early_stopping_rounds": 4, "eval_metric": "rmse"}
    held = X[100:], Y[100:] + RNG.normal(size=100).astype(np.float32)
    model = small(**options).fit(X[:100], Y[:100], eval_set=[(X[:100], Y[:100]), held])
    whole = small(**options | {"early_stopping_rounds": None}).fit(X[:100], Y[:100], eval_set=held)
    values, last = model.evals_result_["validation_1"]["rmse"], model.best_iteration_
    assert len(values) == last + 5 and np.argmin(values) == last and model.best_score_ == values[last]
    np.testing.assert_array_equal(whole.evals_result_["validation_0"]["rmse"][: len(values)], values)
    found = np.sqrt(np.mean((model.predict(held[0]) - held[1]) ** 2))
    assert found == pytest.approx(values[last], rel=1e-5)
    assert len(model.ensemble_.feature) == last + 1 and not hasattr(whole, "best_iteration_")


def test_rounds_of_several_trees_stop_together():
    flipped = X, Y.mean() - (Y - Y.mean())  # each round makes it worse
    model = small(num_parallel_tree=3, early_stopping_rounds=2).fit(X, Y, eval_set=flipped)
    assert len(model.ensemble_.feature) == 3 and model.best_iteration_ == 0


def test_a_round_of_trees_on_drawn_rows_is_a_random_forest():
    forest = small(n_estimators=1, learning_rate=1.0, num_parallel_tree=30, subsample=0.6, colsample_bynode=0.6)
    forest.fit(X, Y)
    of = forest.ensemble_
    assert len(np.unique(np.asarray(of.border)[:, 0, 0])) > 5
    alone = [trees.predict_raw(trees.prediction.first(of, t), X) for t in (0, 1, 30)]
    single = (alone[1] - alone[0]) * 30 + alone[0]  # a tree's leaves are scaled by 1 / 30
    assert np.mean((alone[2][:, 0] - Y) ** 2) < np.mean((single[:, 0] - Y) ** 2)
    same = small(n_estimators=1, num_parallel_tree=3).fit(X, Y).ensemble_
    for field in (same.border, same.value, same.feature):
        np.testing.assert_array_equal(field[0], field[2])


def test_missing_may_be_a_number():
    holes = X.copy()
    holes[::7, 0] = np.nan
    told = small(missing=-1.0).fit(np.nan_to_num(holes, nan=-1.0), Y)
    np.testing.assert_array_equal(told.predict(np.nan_to_num(holes, nan=-1.0)), small().fit(holes, Y).predict(holes))


@pytest.mark.parametrize("strategy, width", [("one_output_per_tree", 1), ("multi_output_tree", 2)])
def test_several_outputs(strategy, width):
    both = np.stack([Y, 2 * X[:, 2]], 1)
    model = small(n_estimators=20, multi_strategy=strategy).fit(X, both)
    assert model.ensemble_.value.shape[-1] == width
    assert np.mean((model.predict(X) - both) ** 2) < 0.1


def test_a_loss_of_ones_own():
    loss = objectives.from_loss(lambda score, y: (score - y) ** 2 / 2)
    own = small(objective=loss).fit(X, Y - Y.mean(), eval_set=(X, Y - Y.mean()))
    assert list(own.evals_result_["validation_0"]) == ["loss"]
    np.testing.assert_allclose(own.predict(X), small(base_score=0.0).fit(X, Y - Y.mean()).predict(X), atol=1e-5)


def test_linear_functions(tmp_path):
    y = X @ np.array([1, -2, 0, 3], np.float32) + 5
    model = small(booster="gblinear", n_estimators=150, learning_rate=1.0, reg_lambda=0.0).fit(X, y, eval_set=(X, y))
    np.testing.assert_allclose(model.coef_, [1, -2, 0, 3], atol=2e-2)
    np.testing.assert_allclose(model.intercept_, [5], atol=2e-2)
    np.testing.assert_allclose(model.feature_importances_, np.array([1, 2, 0, 3]) / 6, atol=1e-2)
    values = model.evals_result_["validation_0"]["rmse"]
    assert len(values) == 150 and values[-1] == pytest.approx(np.sqrt(np.mean((model.predict(X) - y) ** 2)), rel=1e-4)
    model.save_model(tmp_path / "linear.json")
    np.testing.assert_allclose(small().load_model(tmp_path / "linear.json").predict(X), model.predict(X), rtol=1e-6)
    classes = small(XGBoostClassifier, booster="gblinear", n_estimators=50, reg_lambda=0.0).fit(X, LABEL)
    assert classes.score(X, LABEL) > 0.8 and classes.coef_.shape == (4,)
    assert not hasattr(small().fit(X, y), "coef_")


@pytest.mark.parametrize("name", LINEAR)
def test_linear_functions_of_several_outputs_are_xgboosts(name):
    """Read from its file, and fitted anew: all start from the estimate for the first."""
    kept, kind = LINEAR[name], XGBoostClassifier if name == "classes" else XGBoostRegressor
    x, y, _ = tables.load(kept["table"])
    x, theirs = tables.standardized(x), np.array(kept["predictions"])
    found = fit_linear.predict_raw(interop_xgboost.from_xgboost(kept["model"]), x[:20])
    np.testing.assert_allclose(found.ravel(), theirs, atol=1e-5)
    model = kind(booster="gblinear", n_estimators=5, learning_rate=0.5, reg_lambda=0.01).fit(x, y)
    np.testing.assert_allclose(model._raw(x[:20]).ravel(), theirs, atol=1e-4)


SAVED = {  # objective: its parameter
    name: {}
    for name in (None, "reg:absoluteerror", "reg:squaredlogerror", "reg:logistic", "reg:gamma")
    + ("binary:logistic", "binary:logitraw")
} | {
    "count:poisson": {"max_delta_step": 0.2},
    "reg:tweedie": {"tweedie_variance_power": 1.3},
    "reg:quantileerror": {"quantile_alpha": 0.3},
    "reg:pseudohubererror": {"huber_slope": 0.5},
}


@pytest.mark.parametrize("objective", SAVED)
def test_a_saved_model_predicts_the_same(tmp_path, objective):
    kind = XGBoostClassifier if objective == "binary:logitraw" else XGBoostRegressor
    special = {"binary:logitraw": LABEL, "binary:logistic": np.float32(Y > 2), "reg:logistic": X[:, 0]}
    y = special.get(objective, Y + 2)
    model = small(kind, objective=objective, **SAVED[objective]).fit(X, y)
    model.save_model(tmp_path / "model.json")
    saved = json.loads((tmp_path / "model.json").read_text())["learner"]["objective"]["name"]
    assert saved == objective or objective is None
    loaded = small(kind).load_model(tmp_path / "model.json")
    predict = "predict" if kind is XGBoostRegressor else "predict_proba"
    np.testing.assert_allclose(getattr(loaded, predict)(X), getattr(model, predict)(X), rtol=1e-5)
    assert loaded.ensemble_.objective.partition(":")[0] == model.ensemble_.objective.partition(":")[0]


def test_a_raw_score_stands_for_the_probability():
    """As XGBoost's: a label is the second where the score is above 1/2, not 0."""
    model = small(XGBoostClassifier, objective="binary:logitraw").fit(X, LABEL)
    score = model.decision_function(X)
    assert (np.abs(score) < 0.5).any() and (score > 1).any()
    np.testing.assert_array_equal(model.predict(X), np.where(score > 0.5, "yes", "no"))
    np.testing.assert_allclose(model.predict_proba(X), np.stack([1 - score, score], 1))


def test_an_eval_set_is_a_pair_or_a_list():
    pair = X[:50], Y[:50]
    both = [small().fit(X, Y, eval_set=given).evals_result_ for given in (pair, list(pair), [pair])]
    assert both[0] == both[1] == both[2] and len(both[0]["validation_0"]["rmse"]) == 5


MISTAKES = {
    "tree_method is 'hits'; did you mean 'hist'": lambda: small(tree_method="hits").fit(X, Y),
    "proposals is 'node'": lambda: small(tree_method="approx", proposals="node").fit(X, Y),
    "booster is 'tree'": lambda: small(booster="tree").fit(X, Y),
    "the objective is 'reg:square'": lambda: small(objective="reg:square").fit(X, Y),
    "take the classifier": lambda: small(objective="multi:softprob").fit(X, Y),
    "objective of 2 classes is 'multi:softprob'": lambda: small(XGBoostClassifier, objective="multi:softprob").fit(
        X, LABEL
    ),
    "the metric is 'rmsee'": lambda: small(eval_metric="rmsee").fit(X, Y),
    "eval_metric is 3; give the name": lambda: small(eval_metric=3).fit(X, Y),
    r"eval_metric is \[\]; give the name": lambda: small(eval_metric=[]).fit(X, Y),
    "early_stopping_rounds is 3; it needs an eval_set": lambda: small(early_stopping_rounds=3).fit(X, Y),
    "early_stopping_rounds must be an instance of int, not float; by default it is None": lambda: small(
        early_stopping_rounds=1.5
    ).fit(X, Y, eval_set=(X, Y)),
    "base_score must be an instance of float": lambda: small(base_score="half").fit(X, Y),
    "missing must be an instance of float": lambda: small(missing=None).fit(X, Y),
    "the objective is '3'": lambda: small(objective=3).fit(X, Y),
    "eval_set must be a pair": lambda: small().fit(X, Y, eval_set=(X, Y, Y)),
    "scale_pos_weight is 2; it is of two classes": lambda: small(scale_pos_weight=2).fit(X, Y),
    "num_parallel_tree is 2; dart": lambda: small(booster="dart", num_parallel_tree=2).fit(X, Y),
    "sample_type is 'even'": lambda: small(booster="dart", sample_type="even").fit(X, Y),
    "base_score is 1.5": lambda: small(XGBoostClassifier, base_score=1.5).fit(X, LABEL),
    "keeps the functions of its last round alone": lambda: list(small(booster="gblinear").fit(X, Y).staged_predict(X)),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_value_errors(message):
    with pytest.raises(ValueError, match=message):
        MISTAKES[message]()


def test_a_root_that_weighs_too_little_adds_nothing():
    """As XGBoost's: 200 rows whose Hessians sum to less than min_child_weight have a leaf of 0."""
    x = np.linspace(0, 1, 200, dtype=np.float32)[:, None]
    y = np.where(x[:, 0] > 0.3, 100, -60).astype(np.float32)
    model = XGBoostRegressor(objective="reg:pseudohubererror", n_estimators=1, base_score=0.0)
    np.testing.assert_array_equal(model.fit(x, y).predict(x), 0)
    assert np.abs(model.set_params(min_child_weight=0).fit(x, y).predict(x)).min() > 0
