"""What a run is measured by, on a model whose samples and density are known: a standard Gaussian in the plane."""

import json
import types

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from jax import export

from configs import (
    activations_mlp,
    catboost_adult,
    glow_digits,
    jet_imagenet64,
    random_forest_digits,
    realnvp_toy2d,
    rectified_flow_toy2d,
    spline_toy2d,
)
from launch import run
from research import evaluation, experiment, grouping, one_program, results, sampling, sweep, workdir
from research.contracts import LogProb, Model, Samples
from research.data import Dataset, from_arrays
from research.errors import UserError
from research.metrics.frechet import frechet


def gaussian(bad=False):
    """An Experiment of N(label, 1); `bad` samples are NaN."""

    def sample(params, key, n, condition=None, *, shift=0.0):
        x = jax.random.normal(key, (n, 2)) + shift + (0 if condition is None else condition[:, None])
        return Samples(x * jnp.nan if bad else x, None, jnp.float32(7))

    def log_prob(params, key, x, condition=None):
        return LogProb(-0.5 * jnp.sum(x**2, -1) - jnp.log(2 * jnp.pi))

    rng = np.random.default_rng(0)
    train, test = (from_arrays(rng.normal(size=(4000, 2)).astype(np.float32)) for _ in range(2))
    dataset = Dataset(train, test, (2,), entropy=float(np.log(2 * np.pi * np.e)))
    config = ml_collections.ConfigDict(
        {"data": {"num_classes": 3, "levels": None}, "model": {}, "sampler": {"balanced": True, "rtol": 1e-5}}
    )
    return types.SimpleNamespace(config=config, dataset=dataset, model=Model(None, None, sample, log_prob))


def test_samples_come_in_batches_of_one_size_and_keep_their_labels(monkeypatch):
    monkeypatch.setattr(sampling, "SAMPLING_BATCH", 300)
    condition = np.arange(1000) % 3
    x, nfe = evaluation.sample(gaussian(), {}, 1000, condition, shift=5.0)
    assert x.shape == (1000, 2) and nfe == 7
    for label in range(3):
        assert abs(x[condition == label].mean() - 5 - label) < 0.15
    assert len(np.unique(x[:, 0])) == 1000  # each batch has its own key
    again, _ = evaluation.sample(gaussian(), {}, 1000, condition, shift=5.0)
    np.testing.assert_array_equal(x, again)


def test_samples_that_are_not_finite_are_an_error():
    with pytest.raises(UserError, match="not finite"):
        evaluation.sample(gaussian(bad=True), {}, 10)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_labels_that_do_not_exist(labels):
    with pytest.raises(UserError, match="from 0 to 2"):
        evaluation.sample(gaussian(), {}, 2, np.array(labels))


def test_balanced_labels():
    built = gaussian()
    assert np.bincount(evaluation.balanced_labels(built, 30)).tolist() == [10, 10, 10]
    built.config.model.conditional = False  # the data have classes, which the model is not told
    assert evaluation.balanced_labels(built, 30) is None
    built.config.model.conditional = True
    built.config.sampler.balanced = False
    assert evaluation.balanced_labels(built, 30) is None


def test_the_record_of_a_gaussian_is_its_entropy(tmp_path):
    built = gaussian()
    x, _ = evaluation.sample(built, {}, 2000)
    result = evaluation.evaluate(built, {}, x, None, tmp_path)
    stderr = result["likelihood/nats_stderr"]
    assert abs(result["likelihood/nats"] - result["likelihood/negative_entropy"]) < 4 * stderr < 0.5
    assert result["likelihood/bits_per_dim"] == pytest.approx(-result["likelihood/nats"] / (2 * np.log(2)), rel=1e-5)
    assert (result["likelihood/kind"], result["likelihood/space"]) == ("exact", "continuous")
    assert (
        result["sliced_wasserstein/ratio"]
        < 2
        < result["sliced_wasserstein/uniform"] / result["sliced_wasserstein/floor"]
    )
    assert json.loads(evaluation.dumps(result)) == result


def test_a_model_that_was_trained_with_classes_alone_is_told_those_of_held_out_data(tmp_path):
    def log_prob(params, key, x, condition):
        return LogProb(-0.5 * jnp.sum((x - condition[:, None]) ** 2, -1) - jnp.log(2 * jnp.pi))

    rng, built = np.random.default_rng(0), gaussian()
    labels = rng.integers(3, size=4000).astype(np.int32)
    source = from_arrays((rng.normal(size=(4000, 2)) + labels[:, None]).astype(np.float32), labels)
    built.config.model.label_dropout = 0.0
    built.dataset, built.model = Dataset(source, source, (2,)), built.model._replace(log_prob=log_prob)
    condition = evaluation.balanced_labels(built, 2000)
    x, _ = evaluation.sample(built, {}, 2000, condition)
    result = evaluation.evaluate(built, {}, x, condition, tmp_path)
    assert abs(result["likelihood/nats"] + np.log(2 * np.pi * np.e)) < 4 * result["likelihood/nats_stderr"] < 0.5
    assert result["likelihood/given"] == "class" and "likelihood/gaussian_bits_per_dim" not in result
    assert "on held-out data, given their class" in results.summary(result)


def test_json_has_no_nan():
    assert json.loads(evaluation.dumps({"a": float("nan"), "b": 1.0})) == {"a": None, "b": 1.0}


def test_an_experiment_fills_in_what_the_data_say():
    built = experiment.build(rectified_flow_toy2d.get_config("tiny"))
    data = built.config.data
    assert (tuple(data.shape), data.levels, data.num_classes) == ((2,), None, 8)
    state = jax.eval_shape(built.program.init, jax.random.key(0))
    assert state["params"]["params"]["in"]["kernel"].shape == (2, 16)


@pytest.mark.parametrize("field", experiment.AT_LEAST)
def test_counts_below_their_least(field):
    flows = glow_digits, spline_toy2d, jet_imagenet64
    modules = rectified_flow_toy2d, activations_mlp, *flows, random_forest_digits, catboost_adult
    configs = [module.get_config("tiny") for module in modules]
    config = next(c for c in configs if field in workdir.flatten(c.to_dict()))
    config = sweep.override(config, {field: experiment.AT_LEAST[field] - 1})
    with pytest.raises(UserError, match=f"{field} is .*; it must be at least"):
        experiment.build(config)


def predictor(good):
    """An Experiment whose logits are the label's own one-hot vector, or the next class's."""

    def predict(params, x):
        return jax.nn.one_hot((x[:, 0] + (not good)) % 3, 3)

    def loss(params, key, batch, train=True):
        right = predict(params, batch["x"]).argmax(-1) == batch["condition"]
        return jnp.mean(~right), ({"accuracy": jnp.mean(right), "layers": params * jnp.arange(2.0)}, None)

    labels = np.arange(10, dtype=np.int32) % 3
    dataset = Dataset(None, from_arrays(labels[:, None], labels), (1,), num_classes=3)
    config = types.SimpleNamespace(
        data=types.SimpleNamespace(batch_size=4), model=types.SimpleNamespace(name="one"), seed=0
    )
    program = types.SimpleNamespace(init=lambda key: {"params": jnp.float32(0)})
    return types.SimpleNamespace(
        config=config, dataset=dataset, program=program, model=Model(None, loss, None, None, predict)
    )


@pytest.mark.parametrize("good", [True, False])
def test_predictions_of_the_whole_test_set(good):
    logits, labels = evaluation.predict(predictor(good), {})
    assert logits.shape == (10, 3) and (logits.argmax(-1) == labels).mean() == good
    found = evaluation.evaluate_predictions(predictor(good), jnp.float32(2))
    assert found["accuracy"] == found["start/accuracy"] == good and found["loss"] == (not good)
    assert found["layers/01"] == 2.0 and found["start/layers/01"] == 0.0


def test_a_model_that_predicts_has_no_samples():
    with pytest.raises(UserError, match=r"predictions\.npz"):
        evaluation.sample(predictor(True), {}, 4)


def test_the_cost_is_counted_from_shapes():
    def loss(params, key, batch):
        return sum(jnp.sum(x @ params["params"]) for x in (batch["x"], batch["x"][: len(batch["x"]) // 4])), None

    dataset = Dataset(from_arrays(np.zeros((3, 2), np.float32)), None, (2,))  # fewer than a batch
    config = types.SimpleNamespace(data=types.SimpleNamespace(batch_size=8))
    built = types.SimpleNamespace(config=config, model=Model(None, loss, None, None), dataset=dataset)
    found = evaluation.cost(built, {"params": jnp.zeros((2, 5))})
    assert found == {"cost/parameters": 10, "cost/flops_per_example": 20 + 20 // 4}


def test_the_cost_of_a_net_that_measures_a_batch():
    costs = []
    for measures in (False, True):
        config = sweep.override(realnvp_toy2d.get_config("tiny"), {"model.batch_norm": measures})
        built = experiment.build(config)
        params = jax.eval_shape(built.program.init, jax.random.key(0))["params"]
        costs.append(evaluation.cost(built, params)["cost/flops_per_example"])
    assert costs[0] == costs[1] > 0  # a batch norm has no products


def images(levels=256, where=""):
    """An Experiment of uint8 images [4, 4, 3] without classes, with metrics.features."""
    rng = np.random.default_rng(0)
    train, test = (from_arrays(rng.integers(levels, size=(n, 4, 4, 3)).astype(np.uint8)) for n in (90, 60))
    fields = {"data": {"name": "noise", "num_classes": None, "levels": levels}, "metrics": {"features": where}}
    dataset = Dataset(train, test, (4, 4, 3), levels=levels)
    model = Model(None, None, None, None)
    return types.SimpleNamespace(config=ml_collections.ConfigDict(fields), dataset=dataset, model=model)


def test_an_exported_function_gives_the_fid_of_all_training_data(tmp_path):
    means = jax.jit(lambda x: x.astype(jnp.float32).mean((1, 2)))
    made = export.export(means)(jax.ShapeDtypeStruct((32, 4, 4, 3), np.uint8))
    (tmp_path / "means").write_bytes(made.serialize())
    built = images(where=str(tmp_path / "means"))
    x = np.random.default_rng(1).integers(200, size=(70, 4, 4, 3))
    result = evaluation.evaluate(built, {}, x, None, tmp_path)
    expected = frechet(x.mean((1, 2)), built.dataset.train.gather(np.arange(90))["x"].mean((1, 2)))
    assert result["fid/ours"] == pytest.approx(expected, rel=1e-4)
    assert (result["fid/examples"], result["fid/features"]) == (90, str(tmp_path / "means"))
    assert evaluation.evaluate(built, {}, x, None, tmp_path, brief=True)["fid/ours"] == result["fid/ours"]
    assert "fid/ours" not in evaluation.evaluate(images(), {}, x, None, tmp_path)


def test_training_data_are_embedded_once_for_all_rows_of_a_table(tmp_path, monkeypatch):
    seen = []

    def embed(x):
        seen.append(len(x))
        return x.mean((1, 2))

    monkeypatch.setattr(evaluation.fid, "load", lambda where, shape: embed)
    built, x = images(where="x"), np.random.default_rng(1).integers(200, size=(70, 4, 4, 3))
    rows = [evaluation.evaluate(built, {}, x, None, tmp_path, brief=True)["fid/ours"] for _ in range(3)]
    assert rows[0] == rows[1] == rows[2] and sorted(seen) == [70, 70, 70, 90]


def test_a_fid_of_other_data_is_an_error_before_training(tmp_path):
    with pytest.raises(UserError, match="of 256 levels, not for noise"):
        evaluation.embedding(images(levels=17, where="anything"))
    config = rectified_flow_toy2d.get_config("tiny")
    config.metrics.features = "anything"
    with pytest.raises(UserError, match="of 256 levels, not for 8gaussians"):
        run.train(config, tmp_path / "run")
    groups = grouping.plan([("a", config)])
    with pytest.raises(UserError, match="of 256 levels, not for 8gaussians"):
        next(one_program.run(groups[0], [tmp_path / "a"]))


def test_what_predicts_is_compiled_once_for_all_trials():
    calls = []

    def loss(params, key, batch, train=True):
        calls.append(train)
        return params * jnp.sum(batch["x"]), ({}, None)

    dataset = Dataset(None, from_arrays(np.ones((8, 1), np.float32)), (1,))
    config = types.SimpleNamespace(data=types.SimpleNamespace(batch_size=4), seed=0)
    init = lambda key: {"params": jnp.float32(1)}  # noqa: E731
    built = types.SimpleNamespace(
        config=config, dataset=dataset, model=types.SimpleNamespace(loss=loss), program=types.SimpleNamespace(init=init)
    )
    found = [evaluation.evaluate_predictions(built, jnp.float32(n)) for n in (1, 2, 3)]
    assert [f["eval/loss"] if "eval/loss" in f else f["loss"] for f in found] == [4.0, 8.0, 12.0]
    assert calls == [False]
