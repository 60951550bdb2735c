"""Methods as a Program: a random forest in the loop is that of bagging, on any devices, stopped or not; bad numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import random_forest_digits
from research import experiment, grouping, loop, one_program, results
from research.contracts import Method, Model
from research.errors import UserError
from research.metrics_writer import read
from research.models import random_forest
from research.programs import ensembles
from research.trees import bagging, cart, predict_raw


def config(**fields):
    made = random_forest_digits.get_config("tiny")
    small = {"data.name": "friedman_classes", "model.border_count": 0, "model.max_nodes": 0}
    made.update_from_flattened_dict(small | {name.replace("__", "."): value for name, value in fields.items()})
    return made


def run(path, **fields):
    """(Experiment, final state, rows of metrics)."""
    built = experiment.build(config(**fields))
    path.mkdir(exist_ok=True)
    state = loop.run(built.program, built.program.batch, built.config, path)
    return built, jax.device_get(state), read(path / "metrics.jsonl")


@pytest.mark.parametrize("of", ["classes", "numbers"])
def test_the_loop_grows_what_bagging_grows(tmp_path, of):
    numbers = {"data__name": "friedman", "model__criterion": "squared_error"} if of == "numbers" else {}
    built, state, rows = run(tmp_path / "run", seed=3, model__max_samples=0.8, **numbers)
    assert all(leaf.dtype.itemsize <= 4 for leaf in jax.tree.leaves(state))
    train, test = (source.gather(np.arange(source.size)) for source in (built.dataset.train, built.dataset.test))
    aims = cart.targets(train["y"], built.config.model.criterion)
    options = random_forest.options_of(built.config.model, train["x"].shape[1], len(train["x"]))
    whole = bagging.fit(train["x"], cart.columns(train["x"]), aims, options, 12, jax.random.key(3), left=True)
    forest = cart.to_forest(whole[0], 12, train["x"].shape[1])
    want, got = predict_raw(forest, test["x"]), jax.jit(built.model.predict)(state["params"], test["x"])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    errors = [row["oob_error"] for row in rows if "oob_error" in row]
    np.testing.assert_allclose(errors, whole[1].curve[1::2], rtol=1e-5)
    last = [row for row in rows if "eval/loss" in row][-1]
    if of == "numbers":
        assert last["eval/mse"] == pytest.approx(np.mean((want[:, 0] - test["y"]) ** 2), rel=1e-4)
    else:
        assert last["eval/accuracy"] == pytest.approx(np.mean(want.argmax(1) == test["y"]), rel=1e-6)
        shares = np.eye(2)[test["y"].astype(int)]
        assert last["eval/loss"] == pytest.approx(((want - shares) ** 2).sum(axis=1).mean(), rel=1e-4)


def test_devices_and_stops_change_no_bit(tmp_path):
    """Three devices share blocks of two trees; on one device the state goes through the host after each block."""
    _, spread, rows = run(tmp_path / "three", model__max_nodes=9, mesh__data=3)
    assert spread["params"]["feature"].shape == (12, 9) and max(row.get("nodes", 0) for row in rows) == 9
    program = experiment.build(config(model__max_nodes=9, mesh__data=1)).program
    step = jax.jit(program.step)
    with jax.enable_x64(True):
        state = jax.jit(program.init)(jax.random.key(0))
        for _ in range(6):
            state = jax.device_get(step(state, program.batch)[0])  # as a checkpoint keeps it
    jax.tree.map(np.testing.assert_array_equal, state, spread)


def test_a_run_on_images_leaves_its_results(tmp_path):
    fields = {"model__max_nodes": 600, "model__border_count": 16, "train__num_steps": 2, "model__num_trees": 4}
    built, state, _ = run(tmp_path / "run", data__name="digits", **fields)
    result = results.finish(built, built.program.params(state), tmp_path / "run")
    assert result["accuracy"] > 0.5 > result["start/accuracy"] and result["start/loss"] == 1
    with np.load(tmp_path / "run" / "predictions.npz") as kept:
        assert kept["logits"].shape == (built.dataset.test.size, 10)
        np.testing.assert_allclose(kept["logits"].sum(axis=1), 1, rtol=1e-5)
    assert (tmp_path / "run" / "learning_curve.png").exists()


def test_a_sweep_is_planned_by_values():
    made = [(str(share), config(model__max_samples=share)) for share in (0.5, 0.9)]
    assert [group.names for group in grouping.plan(made)] == [("0.5",), ("0.9",)]


def test_trials_of_seeds_are_one_program(tmp_path):
    seeds = {"model__num_trees": 4, "train__num_steps": 2, "model__max_nodes": 9}
    (group,) = grouping.plan([(str(seed), config(seed=seed, **seeds)) for seed in (0, 5)])
    together = {name: state for name, _, state in one_program.run(group, [tmp_path / name for name in group.names])}
    alone = run(tmp_path / "alone", seed=5, **seeds)[1]
    jax.tree.map(np.testing.assert_array_equal, together["5"], alone)


def toy(bad):
    """A Method whose state would be of 64 bits, and whose loss is not finite from the third tree on."""

    def init(key):
        return {"params": {"up": jnp.zeros(12)}, "count": jnp.zeros((), int)}

    def grow(state, batch):
        up = state["params"]["up"].at[state["trees"]].set(batch["y"].mean())
        loss = jnp.where(bad & (state["trees"] >= 2), jnp.inf, 1.0)
        return {"params": {"up": up}, "count": state["count"] + 2}, {"loss": loss, "bound": up.sum()}

    return lambda config, dataset: Method(init, grow, {"y": np.ones(3, np.float32)})


def program(bad):
    built = experiment.build(config())
    model = Model(None, lambda params, *_, **__: (params["up"].sum(), ({}, None)), None, None)
    return ensembles.make(model, toy(bad), built.config, built.dataset), built.config


def test_a_method_of_ones_own(tmp_path):
    made, fields = program(False)
    state = loop.run(made, made.batch, fields, tmp_path)
    assert state["count"] == state["trees"] == 12 and state["count"].dtype == state["trees"].dtype == jnp.int32
    rows = read(tmp_path / "metrics.jsonl")
    assert [row["bound"] for row in rows if "bound" in row] == [1, 2, 3, 4, 5, 6]
    assert [row["trees"] for row in rows if "trees" in row] == [2, 4, 6, 8, 10, 12]
    assert [row for row in rows if "eval/loss" in row][-1]["eval/loss"] == 6


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_state(tmp_path):
    made, fields = program(True)
    with pytest.raises(UserError, match="step 2: the loss of the trees is not finite"):
        loop.run(made, made.batch, fields, tmp_path)
    with jax.enable_x64(True):
        first, _ = made.step(made.init(jax.random.key(0)), made.batch)
        second, metrics = made.step(first, made.batch)
    assert metrics["nonfinite"] == 1
    jax.tree.map(np.testing.assert_array_equal, first, second)


MISTAKES = {
    "train.num_steps, which is 5": {"train__num_steps": 5},
    "mesh.fsdp is 2": {"mesh__fsdp": 2},
    "has no targets": {"data__name": "swiss_roll"},
    "max_features is most; it must be": {"model__max_features": "most"},
    "max_samples is 1.5; it is a share": {"model__max_samples": 1.5},
    "max_samples is 0.0; it is a share": {"model__max_samples": 0.0},
    "max_samples is nan; it is a share": {"model__max_samples": float("nan")},
    "max_nodes is -1; it must be at least 0": {"model__max_nodes": -1},
    "features_per is 'tres'; did you mean 'tree'": {"model__features_per": "tres"},
    "num_trees is -12; it must be at least 1": {"model__num_trees": -12, "model__block": -2},
    "leave border_count": {"model__splitter": "random", "model__border_count": 15},
    "criterion is 'squared_error', and data.name 'digits' has classes; choose one of gini, entropy, log_loss": {
        "model__criterion": "squared_error",
        "data__name": "digits",
    },
    "the criterion is 'gin'": {"model__criterion": "gin"},
    "min_samples_leaf is 0": {"model__min_samples_leaf": 0},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_a_sentence(message):
    with pytest.raises(UserError, match=message):
        experiment.build(config(**MISTAKES[message]))
