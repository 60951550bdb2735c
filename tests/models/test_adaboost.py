"""AdaBoost and LogitBoost as models: what the loop grows is what the engine grows, and how many labels are wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import adaboost_adult
from research import experiment, loop
from research.errors import UserError
from research.metrics_writer import read
from research.models import adaboost
from research.trees.estimators import AdaBoostClassifier


def config(**fields):
    made = adaboost_adult.get_config("tiny")
    made.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return made


def grown(built, steps):
    with jax.enable_x64(True):
        state, step = jax.jit(built.program.init)(jax.random.key(0)), jax.jit(built.program.step)
        for _ in range(steps):
            state, metrics = step(state, built.program.batch)
            state = jax.device_get(state)  # as a checkpoint keeps it
    return state, metrics


@pytest.fixture(scope="module")
def table():
    source = experiment.build(config()).dataset.train
    return source.gather(np.arange(source.size))


@pytest.mark.parametrize("depth", [1, 3])
def test_the_loop_grows_what_the_estimator_grows(tmp_path, table, depth):
    built = experiment.build(config(model__depth=depth, model__learning_rate=0.5))
    state = loop.run(built.program, built.program.batch, built.config, tmp_path)
    peer = AdaBoostClassifier(max_depth=depth, n_estimators=12, learning_rate=0.5, border_count=15)
    peer.fit(table["x"], table["y"])
    score = built.model.predict(built.program.params(state), jnp.asarray(table["x"]))[:, 0]
    total = peer.estimator_weights_.sum()
    np.testing.assert_allclose(score, peer.decision_function(table["x"]) * total / 2, rtol=1e-4, atol=1e-5)
    last = [row for row in read(tmp_path / "metrics.jsonl") if "bound" in row][-1]
    np.testing.assert_allclose(last["bound"], peer.bound_[-1], rtol=1e-5)
    sign = 2.0 * table["y"] - 1
    np.testing.assert_allclose(last["loss"], np.log(np.exp(-sign * score).mean()), rtol=1e-4)
    np.testing.assert_allclose(last["train_error"], 1 - peer.score(table["x"], table["y"]), rtol=1e-5)
    if len(peer.bound_) == 12:  # no stage without an error
        np.testing.assert_allclose(np.exp(last["loss"]), last["bound"], rtol=1e-4)


@pytest.mark.parametrize("algorithm", ["adaboost", "logitboost"])
def test_blocks_of_any_size_grow_the_same_stages(algorithm):
    fields = {"model__algorithm": algorithm, "model__label_noise": 0.2, "model__depth": 1}
    small, _ = grown(experiment.build(config(**fields, train__num_steps=6, model__block=2)), 6)
    large, _ = grown(experiment.build(config(**fields, train__num_steps=2, model__block=6)), 2)
    assert small["trees"] == large["trees"] == 12
    assert all(leaf.dtype.itemsize <= 4 for leaf in jax.tree.leaves(small))
    for name in ("params", "w", "bound", "stage"):
        jax.tree.map(np.testing.assert_array_equal, small[name], large[name])
    np.testing.assert_allclose(small["score"], large["score"], rtol=1e-5, atol=1e-6)


def test_labels_are_turned_round_and_those_held_out_are_not():
    """All of them: the model says the contrary of the truth, in training rightly and held out wrongly."""
    built = experiment.build(config(model__label_noise=1.0, data__size=256))
    state, metrics = grown(built, 6)
    assert metrics["train_error"] < 0.1
    assert built.program.evaluate(state, jax.random.key(0))["eval/accuracy"] < 0.3


def test_the_logistic_loss_of_logitboost():
    built = experiment.build(config(model__algorithm="logitboost", data__size=256))
    state, metrics = grown(built, 6)
    batch = {"x": built.program.batch["x"], "y": built.program.batch["y"]}
    score = built.model.predict(state["params"], batch["x"])[:, 0]
    value, (rest, _) = built.model.loss(state["params"], None, batch)
    probability = 1 / (1 + np.exp(-2 * np.where(batch["y"] > 0, score, -score)))
    np.testing.assert_allclose([value, metrics["loss"]], -np.log(probability).mean(), rtol=1e-4)
    np.testing.assert_allclose(rest["accuracy"], 1 - metrics["train_error"], rtol=1e-5)
    assert metrics["train_error"] < 0.1


def test_the_exponential_loss_of_large_scores():
    """exp(-y F) of a row that is told wrong by 100 is beyond float32; its log is not."""
    score, y = np.array([100, 1, -2, 90]), np.array([0, 1, 0, 0])
    value, wrong = adaboost._measured(config().model, jnp.float32(score), y)
    assert value == pytest.approx(100 + np.log((1 + np.exp(-10)) / 4), rel=1e-6) and wrong == 0.5


MISTAKES = {
    "model.algorithm is 'adabost'; did you mean 'adaboost'": {"model__algorithm": "adabost"},
    "model.learning_rate is -1.0; it must be above 0": {"model__learning_rate": -1.0},
    "model.learning_rate is nan; it must be above 0": {"model__learning_rate": float("nan")},
    "model.depth is 40; it must be at most 16": {"model__depth": 40},
    "LogitBoost draws no rows": {"model__resample": True, "model__algorithm": "logitboost"},
    "model.label_noise is 1.5; it is a share": {"model__label_noise": 1.5},
    "takes labels 0 and 1; data.name 'friedman' has others": {"data__name": "friedman"},
    "not examples of shape": {"data__name": "digits"},
    "train.num_steps, which is 5": {"train__num_steps": 5},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_a_sentence(message):
    with pytest.raises(UserError, match=message):
        experiment.build(config(**MISTAKES[message]))
