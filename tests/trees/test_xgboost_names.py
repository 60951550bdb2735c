"""XGBoost's names stand for its slopes, curvatures, starts and metrics; scikit-learn agrees on what both measure."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as peers

from research.errors import UserError
from research.trees import fitting, metrics, xgboost_names

KEPT = json.loads((pathlib.Path(__file__).parents[1] / "peers" / "losses.json").read_text())
W = np.array(KEPT["w"], np.float32)
WITHIN = {"mphe": "mphe@0.7", "quantile": "quantile@0.8"}  # the parameters that XGBoost was given


def labels(case):
    return jnp.asarray(np.array(case["y"]), np.int32 if case["objective"].startswith("multi") else np.float32)


def ours(case, **more):
    return xgboost_names.objective(case["objective"], **case["params"], **more)


@pytest.mark.parametrize("case", KEPT["cases"].values(), ids=KEPT["cases"])
def test_slopes_and_curvatures_are_xgboosts(case):
    objective, y = ours(case), labels(case)
    score = np.reshape(np.float32(case["score"]), (len(y), -1))
    for found, wanted in zip(objective.gradients(score, y), (-np.array(case["g"]), case["h"])):
        np.testing.assert_allclose(np.ravel(found), wanted, rtol=2e-5, atol=3e-5)


@pytest.mark.parametrize("case", KEPT["cases"].values(), ids=KEPT["cases"])
def test_starts_are_xgboosts(case):
    objective, y = ours(case), labels(case)
    objective.check(np.asarray(y))
    for w, wanted in zip((None, W), case["starts"]):
        np.testing.assert_allclose(objective.start(y, w), wanted, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("case", KEPT["cases"].values(), ids=KEPT["cases"])
def test_the_name_and_the_metric_tell_it_again(case):
    objective, y = ours(case), labels(case)
    assert objective is ours(case)
    again, score = fitting.get_objective(objective.name), np.float32(case["score"]).reshape(len(y), -1)
    for one, other in zip(again.gradients(score, y), objective.gradients(score, y)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again.link(score), objective.link(score))
    named = xgboost_names.metric_of(case["objective"], **case["params"])
    assert named in (case["metric"], WITHIN.get(case["metric"]))


def test_every_name_is_a_case():
    assert {case["objective"] for case in KEPT["cases"].values()} == set(xgboost_names.NAMES)


@pytest.mark.parametrize(
    "name, base, score",
    [("reg:squarederror", 2, 2), ("binary:logistic", 0.75, np.log(3)), ("reg:logistic", 0.5, 0)]
    + [("binary:logitraw", -0.4, -0.4), ("count:poisson", 2, np.log(2)), ("reg:tweedie", 0.1, np.log(0.1))],
)
def test_a_base_score_is_in_the_unit_of_predictions(name, base, score):
    found = xgboost_names.objective(name, base_score=base)
    np.testing.assert_allclose(found.start(jnp.zeros(3)), [score], rtol=1e-6)
    np.testing.assert_allclose(found.link(found.start(None)), base, rtol=1e-6)


@pytest.mark.parametrize(
    "entry, name",
    [(entry, name) for entry in KEPT["metrics"] for name in entry["values"]],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_metrics_are_xgboosts(entry, name):
    prediction = np.array(entry["prediction"])
    prediction = prediction[0] if len(prediction) == 1 else prediction
    found, _ = metrics.metric(WITHIN.get(name, name))
    assert found(prediction, entry["y"], entry["w"]) == pytest.approx(entry["values"][name], rel=2e-6)


RNG = np.random.default_rng(3)
TIED, TRUE, WEIGHTS = np.round(RNG.random(60), 1), RNG.random(60) < 0.4, RNG.integers(0, 4, 60)
OF_CLASSES, THREE = RNG.dirichlet([1, 1, 1], 60), np.arange(60) % 3
PEERS = {  # our name: scikit-learn's, predictions, labels
    "mae": (peers.mean_absolute_error, TIED, RNG.random(60)),
    "mape": (peers.mean_absolute_percentage_error, TIED, 1 + TIED**2),
    "rmse": (peers.root_mean_squared_error, TIED, RNG.random(60)),
    "rmsle": (peers.root_mean_squared_log_error, TIED, RNG.random(60)),
    "quantile@0.3": (
        lambda y, p, sample_weight: peers.mean_pinball_loss(y, p, alpha=0.3, sample_weight=sample_weight),
        TIED,
        RNG.random(60),
    ),
    "logloss": (peers.log_loss, TIED * 0.8 + 0.1, TRUE),
    "auc": (peers.roc_auc_score, TIED, TRUE),
    "mlogloss": (peers.log_loss, OF_CLASSES, THREE),
    "gamma-deviance": (peers.mean_gamma_deviance, TIED + 1, TIED**2 + 1),
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("w", [None, WEIGHTS], ids=["", "weighted"])
def test_metrics_are_scikit_learns(name, w):
    theirs, prediction, y = PEERS[name]
    found, _ = metrics.metric(name)
    assert found(prediction, y, w) == pytest.approx(theirs(y, prediction, sample_weight=w), rel=1e-5)


def test_precision_over_recall_by_hand():
    """True are one of two at the top score and two of three below, to which the false ones rise in a straight line."""
    found, greater = metrics.metric("aucpr")
    assert greater and found([0.9, 0.5, 0.1], [1, 1, 0]) == pytest.approx(1)  # scikit-learn's average precision too
    p, y = [0.9, 0.9, 0.5, 0.5, 0.5], [1, 0, 1, 1, 0]
    recall = np.linspace(1 / 3, 1, 200001)
    true, false = 3 * recall, 1 + (3 * recall - 1) / 2
    area = 1 / 6 + np.trapezoid(true / (true + false), recall)  # up to the first point precision stays 1/2
    assert found(p, y) == pytest.approx(area, rel=1e-9)
    assert found(p, y) != pytest.approx(peers.average_precision_score(y, p), rel=1e-2)


def test_a_row_that_weighs_two_is_two_rows():
    w = np.array([1, 2, 1, 3] * 15)
    for name in metrics.METRICS:
        classes = 2 in metrics.AXES.get(name, ())
        p, y = (OF_CLASSES, THREE) if classes else (0.1 + 0.8 * TIED, TRUE)
        found, _ = metrics.metric(name)
        y = y + 0.5 if name in ("mape", "gamma-deviance") else y
        assert found(p, y, w) == pytest.approx(found(np.repeat(p, w, 0), np.repeat(y, w)), rel=1e-9), name


@pytest.mark.parametrize("name", ["auc", "aucpr"])
def test_one_class_has_no_curve(name):
    assert np.isnan(metrics.metric(name)[0]([0.1, 0.2], [1, 1]))


def test_mistakes_are_named():
    with pytest.raises(UserError, match="the objective is 'binary:logistics'; did you mean 'binary:logistic'"):
        xgboost_names.objective("binary:logistics")
    with pytest.raises(UserError, match="reg:gamma has no parameter 'power'; it has none"):
        xgboost_names.objective("reg:gamma", power=2)
    with pytest.raises(UserError, match="multi:softprob needs its parameter num_class"):
        xgboost_names.objective("multi:softprob")
    with pytest.raises(UserError, match="base_score is 1.5, which logistic cannot predict"):
        xgboost_names.objective("binary:logistic", base_score=1.5)
    with pytest.raises(UserError, match="the metric is 'rsme'; did you mean 'rmse'"):
        metrics.metric("rsme")
    with pytest.raises(UserError, match="the metric is 'rmse@2'"):
        metrics.metric("rmse@2")
    with pytest.raises(UserError, match="what follows @ must be a number"):
        metrics.metric("error@half")
    with pytest.raises(UserError, match=r"mlogloss got predictions, labels and weights of shapes \[2\], \[2\]"):
        metrics.metric("mlogloss")[0]([0.1, 0.2], [0, 1])
