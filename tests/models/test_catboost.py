"""CatBoost as a program: its trees are those of the estimator; stopped, or on several devices, it is the same."""

import jax
import numpy as np
import pytest

from configs import catboost_adult
from research import data, evaluation, experiment, loop
from research.errors import UserError
from research.metrics_writer import read
from research.trees import categorical
from research.trees.estimators import CatBoostingClassifier


def table(seed, rows=300):
    """x [N, 3] of a number and categories, of which 40 are rare, y [N]."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.random(rows), rng.integers(0, 5, rows), rng.geometric(0.1, rows).clip(max=40)], 1)
    x[rng.random(rows) < 0.1, 1] = np.nan
    score = 2 * x[:, 0] + np.sin(7 * np.nan_to_num(x[:, 1], nan=9)) + np.cos(5 * x[:, 2]) + rng.normal(size=rows) / 4
    return x.astype(np.float32), (score > 1).astype(np.float32)


def built(categorical=(1, 2), **fields):
    config = catboost_adult.get_config("tiny")
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    experiment.check(config)
    sources = [data.from_arrays(x, y=y) for x, y in (table(0), table(1))]
    return experiment.assemble(config, data.Dataset(*sources, (3,), categorical=categorical))


def run(built, path):
    return loop.run(built.program, built.program.batch, built.config, path)


def test_its_trees_are_those_of_the_estimator(tmp_path):
    same = dict(subsample=1.0, random_strength=0.0, learning_rate=0.1, max_ctr_complexity=2, has_time=True)
    made = built(**{f"model__{name}": value for name, value in same.items()})
    state = run(made, tmp_path)
    (x, y), (test, truth) = table(0), table(1)
    options = dict(n_estimators=12, max_depth=3, border_count=15, cat_features=[1, 2])
    model = CatBoostingClassifier(**options, **same).fit(x, y)
    scores, labels = evaluation.predict(made, made.program.params(state))
    np.testing.assert_allclose(scores[:, 0], model.decision_function(test), atol=1e-5)
    np.testing.assert_array_equal(labels, truth)
    p = model.predict_proba(test)[np.arange(len(truth)), truth.astype(int)]
    last = [row for row in read(tmp_path / "metrics.jsonl") if "eval/loss" in row][-1]
    assert last["eval/loss"] == pytest.approx(-np.log(p).mean(), rel=1e-4) and last["eval/loss"] < 0.5


def test_the_datas_seed_orders_the_rows():
    """And that of the run does not: trials of one program that differ in it share a table."""
    one, same, other = (built(data__seed=seed).program.batch["codes"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(built(seed=1).program.batch["codes"], built(seed=2).program.batch["codes"])
    assert (one != other).any(1).tolist() == [False] + ([True] * 3 + [False]) * 2  # no numbers, no counters


def test_stopped_or_on_several_devices_it_grows_the_same_trees(tmp_path):
    whole = jax.device_get(run(built(mesh__data=3), tmp_path))
    made = built()
    step = jax.jit(made.program.step)
    with jax.enable_x64(True):
        state = jax.jit(made.program.init)(jax.random.key(0))
        for _ in range(6):
            state = jax.device_get(step(state, made.program.batch)[0])  # as a checkpoint keeps it
    jax.tree.map(np.testing.assert_array_equal, state, whole)
    assert all(leaf.dtype.itemsize <= 4 for leaf in jax.tree.leaves(whole))


def test_columns_are_named_by_the_data_or_the_config():
    assert len(built().program.batch["codes"]) == 1 + 4 + 4
    assert len(built((1,), model__cat_features=(2,)).program.batch["codes"]) == 1 + 4 + 4
    assert len(built((), model__one_hot_max_size=255).program.batch["codes"]) == 3
    assert len(built(model__one_hot_max_size=6).program.batch["codes"]) == 1 + 6 + 4
    assert categorical.kinds_of((6, 40), 6, 2) == ((0,), ((1,),))
    assert categorical.kinds_of((6, 40), 2, 2) == ((), ((0,), (1,), (0, 1)))
    assert categorical.kinds_of((60000, 60000), 2, 2) == ((), ((0,), (1,)))  # a pair would not fit an int32


MISTAKES = {
    "early_stopping is 3": {"model__early_stopping": 3},
    "categorical column 7 is none": {"model__cat_features": (7,)},
    r"column 0 of the table is 0\.\d+, no category": {"model__cat_features": (0,)},
    "model.num_trees is 12 in blocks of 5": {"model__block": 5},
    "depth is 0": {"model__depth": 0},
    "model.block is 0; it must be at least 1": {"model__block": 0},
    "model.one_hot_max_size is -1": {"model__one_hot_max_size": -1},
    "max_ctr_complexity is 0": {"model__max_ctr_complexity": 0},
    "max_ctr_complexity is 3; it must be 1 or 2": {"model__max_ctr_complexity": 3},
    "cat_features is .*; give the places": {"model__cat_features": ("age",)},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes(message):
    with pytest.raises(UserError, match=message):
        built(**MISTAKES[message])
