"""Boosted linear functions reach least squares, ridge and lasso in closed form, and are XGBoost's round for round."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.trees import linear, objectives
from tests.peers import tables

KEPT = json.loads((pathlib.Path(__file__).parents[1] / "peers" / "linear.json").read_text())


def boost(x, y, objective, start, rounds, w=None, **options):
    """(Linear, losses) on rows x [N, F]."""
    columns, y = jnp.asarray(np.asarray(x, np.float32).T), jnp.asarray(y)
    w = None if w is None else jnp.asarray(w, jnp.float32)
    how = linear.Options(**options)
    with jax.enable_x64(True):
        run = jax.jit(lambda state: linear.boost(state, columns, y, w, objective, how, rounds))
        return run(linear.init(columns, start))


@pytest.mark.parametrize("name", KEPT["cases"])
def test_weights_are_those_of_xgboost(name):
    case = KEPT["cases"][name]
    params = case["params"]
    x, y, w = tables.load(case["table"])
    objective = {
        "binary:logistic": objectives.get("logistic"),
        "multi:softprob": objectives.get("softmax", classes=3, factor=2.0),
    }.get(params.get("objective"), objectives.get("squared"))
    start = np.zeros(objective.outputs) + (0.5 if objective.name == "squared" else 0)
    options = {"rate": params.get("eta", 0.5), "l2": params.get("lambda", 0.0), "l1": params.get("alpha", 0.0)}
    labels = y.astype(np.int32) if objective.name == "softmax" else y
    w = w if params.get("weighted") else None
    found, _ = boost(tables.standardized(x), labels, objective, start, KEPT["rounds"], w, **options)
    want, scale = np.array(case["weights"]), np.abs(case["weights"]).max()
    np.testing.assert_allclose(found.weights, want, atol=1e-5 * scale)
    np.testing.assert_allclose(found.bias - start, case["bias"], atol=1e-5 * max(scale, np.abs(case["bias"]).max()))
    assert (want == 0).any() == (name in ("elastic net", "logistic")) and (found.weights[want == 0] == 0).all()


def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)) @ (np.eye(4) + 0.3)
    return x, x @ [1.0, -2.0, 0.0, 0.5] + 3 + rng.normal(size=200)


@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_in_closed_form(weighted):
    x, y = table()
    w = np.random.default_rng(1).integers(1, 4, 200) if weighted else np.ones(200)
    found, loss = boost(x, np.float32(y), objectives.squared(), [0.0], 200, w, rate=1.0, l2=0.1)
    design = np.column_stack([x, np.ones(200)])
    penalty = np.diag([0.1 * w.sum()] * 4 + [0])
    want = np.linalg.solve(design.T @ (w[:, None] * design) + penalty, design.T @ (w * y))
    np.testing.assert_allclose([*found.weights[:, 0], found.bias[0]], want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(loss[-1], np.average((y - design @ want) ** 2 / 2, weights=w), rtol=1e-5)


def test_lasso_meets_its_conditions():
    """Slope l1 against the sign of each weight, and less than l1 where it is 0."""
    x, y = table()
    found, _ = boost(x, np.float32(y), objectives.squared(), [0.0], 300, rate=1.0, l1=0.6)
    weights = np.asarray(found.weights[:, 0], np.float64)
    slope = x.T @ (x @ weights + np.asarray(found.bias) - y) / 200
    zero = weights == 0
    assert 0 < zero.sum() < 4
    np.testing.assert_allclose(slope[~zero], -0.6 * np.sign(weights[~zero]), rtol=1e-3)
    assert (np.abs(slope[zero]) < 0.6).all()


def test_loss_never_rises_and_rounds_go_on():
    x, y = table()
    columns, target = jnp.asarray(x.T, jnp.float32), jnp.asarray(y > 3, jnp.float32)
    rest = (columns, target, None, objectives.logistic(), linear.Options(0.5))
    run = jax.jit(lambda state, n: linear.boost(state, *rest, n), static_argnums=1)
    whole, loss = run(linear.init(columns, [0.0]), 10)
    half, first = run(linear.init(columns, [0.0]), 4)
    both, second = run(half, 6)
    assert (np.diff(loss) < 0).all()
    np.testing.assert_allclose(both.weights, whole.weights, rtol=1e-6)
    np.testing.assert_allclose([*first, *second], loss, rtol=1e-6)
    np.testing.assert_allclose(
        linear.predict(whole, columns)[:, 0], x @ np.asarray(whole.weights[:, 0]) + whole.bias, rtol=1e-4, atol=1e-5
    )


def test_a_constant_column_of_zeros_gets_no_weight():
    x = np.zeros((5, 2))
    x[:, 1] = np.arange(5)
    found, _ = boost(x, np.float32(2 * np.arange(5)), objectives.squared(), [0.0], 50, rate=1.0)
    np.testing.assert_allclose(found.weights[:, 0], [0, 2], atol=1e-3)
