"""Boosting as a Program: what the loop grows is what `trees.fit` grows, bit for bit, also when it was stopped."""

import dataclasses

import jax
import ml_collections
import numpy as np
import pytest

from configs import base, gbdt_oblivious_adult, gbdt_oblivious_california
from research import experiment, loop, results, trees
from research.errors import UserError
from research.metrics_writer import read
from research.models import gbdt_oblivious


def config(**fields):
    made = gbdt_oblivious_california.get_config("tiny")
    made.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return made


def test_the_loop_grows_what_fit_grows(tmp_path):
    made = config(model__subsample=0.7, seed=3)
    built = experiment.build(made)
    state = loop.run(built.program, built.program.batch, built.config, tmp_path)
    table = built.dataset.train.gather(np.arange(built.dataset.train.size))
    whole = trees.fit(table["x"], table["y"], ml_collections.FrozenConfigDict(made.model), key=jax.random.key(3))
    for name in gbdt_oblivious.ARRAYS:
        np.testing.assert_array_equal(state["params"][name], getattr(whole, name), err_msg=name)
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


def test_a_finished_run_predicts_what_its_params_say(tmp_path):
    made = gbdt_oblivious_adult.get_config("tiny")
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


MISTAKES = {
    "train.num_steps, which is 5": {"train__num_steps": 5},
    "a run of trees takes one device": {"mesh__data": 2},
    "has no targets, which trees are fitted to": {"data__name": "two_moons"},
    "not examples of shape": {"data__name": "digits"},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_a_sentence(message):
    with pytest.raises(UserError, match=message):
        experiment.build(config(**MISTAKES[message]))


def test_the_config_is_that_of_fit():
    assert set(base.gbdt_oblivious()) == set(gbdt_oblivious_california.get_config().model)
