"""Boosting as a Program: what the loop grows is what `trees.fit` grows, bit for bit, also when it was stopped."""

import dataclasses

import jax
import ml_collections
import numpy as np
import pytest

from configs import gbdt_california, gbdt_oblivious_adult, gbdt_oblivious_california
from research import experiment, grouping, loop, results, trees
from research.data import from_arrays
from research.errors import UserError
from research.metrics_writer import read
from research.models import gbdt_oblivious


def config(of=gbdt_oblivious_california, **fields):
    made = of.get_config("tiny")
    made.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return made


KINDS = [gbdt_oblivious_california, gbdt_california]


@pytest.mark.parametrize("of", KINDS, ids=lambda of: of.__name__)
def test_the_loop_grows_what_fit_grows(tmp_path, of):
    made = config(of, model__subsample=0.7, seed=3)
    built = experiment.build(made)
    state = loop.run(built.program, built.program.batch, built.config, tmp_path)
    table = built.dataset.train.gather(np.arange(built.dataset.train.size))
    whole = trees.fit(table["x"], table["y"], ml_collections.FrozenConfigDict(made.model), key=jax.random.key(3))
    for name, array in gbdt_oblivious.params_of(whole).items():
        np.testing.assert_array_equal(state["params"][name], array, err_msg=name)
    test = built.dataset.test.gather(np.arange(built.dataset.test.size))
    last = [row for row in read(tmp_path / "metrics.jsonl") if "eval/mse" in row][-1]
    np.testing.assert_allclose(last["eval/mse"], np.mean((trees.predict(whole, test["x"]) - test["y"]) ** 2), rtol=1e-4)


def test_stopped_between_two_blocks_it_grows_the_same_trees(tmp_path):
    built = experiment.build(config(model__subsample=0.7))
    step = jax.jit(built.program.step)
    with jax.enable_x64(True):
        state = jax.jit(built.program.init)(jax.random.key(0))
        for _ in range(6):
            state = jax.device_get(step(state, built.program.batch)[0])  # as a checkpoint keeps it
    whole = loop.run(built.program, built.program.batch, built.config, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, state, jax.device_get(whole))
    assert all(leaf.dtype.itemsize <= 4 for leaf in jax.tree.leaves(whole))


def test_rows_over_devices_change_no_bit(tmp_path):
    """64 rows on one device, on three and on all."""
    states = []
    for data, count in ((1, 1), (3, 3), (-1, 8)):
        built, path = experiment.build(config(model__subsample=0.7, mesh__data=data)), tmp_path / str(data)
        path.mkdir()
        states.append(jax.device_get(loop.run(built.program, built.program.batch, built.config, path)))
        assert len(built.program.batch["codes"].sharding.device_set) == count
        jax.tree.map(np.testing.assert_array_equal, states[0], states[-1])
        assert read(tmp_path / "1" / "metrics.jsonl") == read(path / "metrics.jsonl")


def test_a_run_on_more_devices_than_are_here_predicts_and_does_not_train(tmp_path):
    built = experiment.build(config(mesh__data=64))
    assert jax.eval_shape(built.program.init, jax.random.key(0))["score"].shape == (64, 1)
    with pytest.raises(UserError, match="needs 64 devices"):
        loop.run(built.program, built.program.batch, built.config, tmp_path)


@pytest.mark.parametrize("of", [gbdt_oblivious_adult, gbdt_california], ids=lambda of: of.__name__)
def test_a_finished_run_predicts_what_its_params_say(tmp_path, of):
    fields = {"objective": "logistic"} if of is gbdt_california else {}
    made = config(of, data__name="friedman_classes", **{f"model__{name}": value for name, value in fields.items()})
    built = experiment.build(made)
    state = loop.run(built.program, built.program.batch, built.config, tmp_path)
    result = results.finish(built, built.program.params(state), tmp_path)
    with np.load(tmp_path / "predictions.npz") as kept, np.load(tmp_path / "params.npz") as params:
        ensemble = gbdt_oblivious.ensemble_of(built.config, dict(params))
        test = built.dataset.test.gather(np.arange(built.dataset.test.size))
        np.testing.assert_allclose(kept["logits"], trees.predict_raw(ensemble, test["x"]), rtol=1e-5)
        accuracy = np.mean((kept["logits"][:, 0] > 0) == (test["y"] > 0.5))
    np.testing.assert_allclose(result["accuracy"], accuracy, rtol=1e-5)
    assert result["loss"] < result["start/loss"] and dataclasses.is_dataclass(ensemble)


@pytest.mark.parametrize("of", KINDS, ids=lambda of: of.__name__)
def test_all_numbers_of_a_config_may_be_traced(of):
    """A program of traced numbers grows the trees of known ones."""
    made = config(of, train__num_steps=1, model__num_trees=2, model__learning_rate=0.3, model__depth=2)
    built = experiment.build(made)
    numbers = {f"model.{name}": value for name, value in made.model.items() if isinstance(value, float)}
    numbers |= {name: 0.75 for name in numbers if "sample" in name} | {"model.random_strength": 0.01}
    numbers = {name: value for name, value in numbers.items() if name.removeprefix("model.") in made.model}

    def grown(numbers):
        program = experiment.assemble(grouping.with_numbers(made, numbers), built.dataset).program
        return program.step(program.init(jax.random.key(0)), built.program.batch)[0]["params"]

    with jax.enable_x64(True):
        traced, known = (
            jax.jit(grown)({name: np.float32(x) for name, x in numbers.items()}),
            jax.jit(lambda: grown(numbers))(),
        )
    for name, array in traced.items():
        np.testing.assert_allclose(array, known[name], rtol=1e-4, atol=1e-6, err_msg=name)


MISTAKES = {
    "train.num_steps, which is 5": {"train__num_steps": 5},
    "mesh.fsdp is 2; trees spread their rows over mesh.data": {"mesh__fsdp": 2},
    "has no targets, which trees are fitted to": {"data__name": "two_moons"},
    "model.early_stopping is 3, which trees.fit alone knows": {"model__early_stopping": 3},
    "learning_rate is -1.0; it must be at least 0": {"model__learning_rate": -1.0},
    "not examples of shape": {"data__name": "digits"},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_a_sentence(message):
    with pytest.raises(UserError, match=message):
        experiment.build(config(**MISTAKES[message]))


@pytest.mark.parametrize("of", KINDS, ids=lambda of: of.__name__)
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, of):
    built = experiment.build(config(of, model__learning_rate=1e30))
    with pytest.raises(UserError, match="step 1: the loss of the trees is not finite"):
        loop.run(built.program, built.program.batch, built.config, tmp_path)
    with jax.enable_x64(True):
        start = jax.jit(built.program.init)(jax.random.key(0))
        state, metrics = jax.jit(built.program.step)(start, built.program.batch)
    assert metrics["nonfinite"] == 1
    jax.tree.map(np.testing.assert_array_equal, state, start)


def test_the_rows_held_out_are_checked_and_need_not_have_all_classes():
    made = config(gbdt_oblivious_adult, model__missing="forbid")
    dataset = experiment.build(made).dataset
    x, y = dataset.test.gather(np.arange(20)).values()
    ones = from_arrays(x[y == 1], y=y[y == 1])
    assert experiment.assemble(made, dataset._replace(test=ones)).program
    hole = from_arrays(np.where(x == x[3, 2], np.nan, x), y=y)
    with pytest.raises(UserError, match="row 3, column 2 of the table is missing"):
        experiment.assemble(made, dataset._replace(test=hole))
