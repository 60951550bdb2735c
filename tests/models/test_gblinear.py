"""gblinear as a program reaches ridge, lasso and the elastic net; stopped and resumed it is the same."""

import pathlib

import jax
import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, LinearRegression

from configs import base, gblinear_uci
from research import experiment, grouping, loop
from research.errors import UserError
from research.metrics_writer import read

REAL = pathlib.Path(__file__).parents[3] / "shared" / "data"


def config(tiny=True, **fields):
    made = gblinear_uci.get_config("tiny" if tiny else "")
    made.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return made


def tables(built):
    return [source.gather(np.arange(source.size)) for source in built.dataset[:2]]


def run(built, path):
    return loop.run(built.program, built.program.batch, built.config, path)


LONG = {"model__num_trees": 240, "model__block": 40, "model__learning_rate": 1.0}


@pytest.mark.parametrize("standardize", [True, False])
def test_ridge_in_closed_form(tmp_path, standardize):
    built = experiment.build(config(model__reg_lambda=0.3, model__standardize=standardize, **LONG))
    params = run(built, tmp_path)["params"]
    table, test = tables(built)
    x, y = table["x"].astype(float), table["y"].astype(float)
    mean, deviation = (x.mean(0), x.std(0)) if standardize else (0, 1)
    design = np.column_stack([(x - mean) / deviation, np.ones(len(y))])
    penalty = np.diag([0.3 * len(y)] * x.shape[1] + [0])
    want = np.linalg.solve(design.T @ design + penalty, design.T @ y)
    np.testing.assert_allclose([*params["weights"][:, 0], params["bias"][0]], want, rtol=2e-4, atol=2e-4)
    predicted = np.column_stack([(test["x"] - mean) / deviation, np.ones(len(test["y"]))]) @ want
    np.testing.assert_allclose(built.model.predict(params, test["x"])[:, 0], predicted, rtol=1e-3, atol=1e-3)
    last = [row for row in read(tmp_path / "metrics.jsonl") if "eval/mse" in row][-1]
    np.testing.assert_allclose(last["eval/mse"], np.mean((predicted - test["y"]) ** 2), rtol=1e-3)


@pytest.mark.parametrize("table, l2, l1", [("bostonHousing", 0.0, 0.0), ("concrete", 0.05, 0.2), ("yacht", 0.0, 0.5)])
def test_uci_tables_have_scikit_learns_errors(table, l2, l1):
    if not (REAL / "uci_regression").is_dir():
        pytest.skip("no real tables here")
    fields = {"data__dir": str(REAL), "data__table": table, "model__num_trees": 1000, "train__num_steps": 1}
    built = experiment.build(config(tiny=False, model__block=1000, model__reg_lambda=l2, model__reg_alpha=l1, **fields))
    with jax.enable_x64(True):
        state = built.program.init(jax.random.key(0))
        params = jax.jit(built.program.step)(state, built.program.batch)[0]["params"]
    table, test = tables(built)
    mean, deviation = table["x"].astype(float).mean(0), table["x"].astype(float).std(0)
    peer = (
        LinearRegression() if l1 == 0 else ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-10, max_iter=10**5)
    )
    peer.fit((table["x"] - mean) / deviation, table["y"])
    theirs, ours = peer.predict((test["x"] - mean) / deviation), built.model.predict(params, test["x"])[:, 0]
    errors = [np.mean((predicted - test["y"]) ** 2) for predicted in (ours, theirs)]
    np.testing.assert_allclose(*errors, rtol=2e-3)
    if l1:
        np.testing.assert_array_equal(np.asarray(params["weights"][:, 0]) == 0, peer.coef_ == 0)


def test_what_is_missing_is_the_mean(tmp_path):
    built = experiment.build(config())
    params = run(built, tmp_path)["params"]
    x = tables(built)[1]["x"][:5]
    filled = np.where(np.arange(x.shape[1]) == 2, params["mean"], x)
    x[:, 2] = np.nan
    np.testing.assert_allclose(built.model.predict(params, x), built.model.predict(params, filled), rtol=1e-6)


def test_stopped_between_two_blocks_it_goes_on(tmp_path):
    built = experiment.build(config(model__reg_alpha=0.1))
    step = jax.jit(built.program.step)
    with jax.enable_x64(True):
        state = jax.jit(built.program.init)(jax.random.key(0))
        for _ in range(6):
            state = jax.device_get(step(state, built.program.batch)[0])  # as a checkpoint keeps it
    whole = jax.device_get(run(built, tmp_path))
    jax.tree.map(np.testing.assert_array_equal, state, whole)
    records = [row for row in read(tmp_path / "metrics.jsonl") if "weights" in row]
    assert records[-1]["weights"] == (whole["params"]["weights"] != 0).sum() and whole["trees"] == 12
    assert (np.diff([row["loss"] for row in records]) <= 0).all()


def test_classes_have_weights_each(tmp_path):
    built = experiment.build(config(data__name="friedman_classes", model__objective="logistic"))
    params = run(built, tmp_path)["params"]
    last = [row for row in read(tmp_path / "metrics.jsonl") if "eval/accuracy" in row][-1]
    labels = tables(built)[1]["y"]
    assert last["eval/accuracy"] == np.mean((built.model.predict(params, tables(built)[1]["x"])[:, 0] > 0) == labels)


def test_a_sweep_of_penalties_is_one_program():
    """The numbers may be traced; those of 0 too, since nothing is left out for them."""
    trials = [(f"{l1}", config(model__reg_alpha=l1, model__reg_lambda=0.1)) for l1 in (0.0, 0.1, 0.2)]
    assert len(grouping.plan(trials)) == 1


def test_mistakes_are_named():
    with pytest.raises(UserError, match="model.reg_alpha is -1.0; it must be at least 0"):
        experiment.build(config(model__reg_alpha=-1.0))
    with pytest.raises(UserError, match="gblinear takes rows of a table"):
        experiment.build(config(data__name="digits"))
    with pytest.raises(UserError, match="'two_moons' has no targets"):
        experiment.build(config(data__name="two_moons"))
    made = config(data__name="uci_regression")
    base.update(made.data, target=False, dir=str(REAL))
    if REAL.is_dir():
        with pytest.raises(UserError, match="has no targets"):
            experiment.build(made)
