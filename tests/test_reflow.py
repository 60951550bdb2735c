"""Pairs of a trained run, the configs of what trains on them, and how straight a flow is."""

import json
import types

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from ml_collections import config_dict

from configs import activations_mlp, realnvp_toy2d, reflow_digits, reflow_toy2d
from research import checkpoint, data, experiment, noise, oracle, reflow, results, sampler_table, sampling
from research.contracts import Model
from research.data import pairs
from research.errors import UserError
from research.workdir import flatten, write_json

PAIR = oracle.gaussian_pair(np.array([1.0, -2.0]), np.array([0.5, 0.8]), 0.0, 1.0)


@pytest.fixture(scope="module", params=[reflow_toy2d, reflow_digits], ids=["toy2d", "digits"])
def run(request, tmp_path_factory):
    """(workdir, Experiment) of a run that was not trained at all, whose weights are drawn."""
    path, moons = tmp_path_factory.mktemp("run"), request.param == "moons"  # transport between two sets
    config = (reflow_toy2d if moons else request.param).get_config("tiny")
    if moons:
        config.data.update({"name": "two_moons", "source": "8gaussians"})
    config.sampler.name = "euler"
    built = experiment.build(config)
    write_json(path / "config.json", json.loads(built.config.to_json()))
    state = built.program.init(jax.random.key(0))
    drawn = jax.tree.map(lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size, dtype=float)).reshape(x.shape), state["ema"])
    with checkpoint.open_manager(path) as manager:
        checkpoint.save(manager, 6, state | {"ema": drawn})
    return path, built


def test_a_pair_is_noise_and_where_the_flow_carries_it(run, tmp_path, monkeypatch):
    path, built = run
    monkeypatch.setattr(sampling, "SAMPLING_BATCH", 16)
    reflow.draw_pairs(path, tmp_path / "p", 40, seed=3, num_steps=4)
    train, held = pairs.load(tmp_path / "p", built.dataset.shape)
    batch = [source.gather(np.arange(source.size)) for source in (train, held)]
    batch = {name: np.concatenate([part[name] for part in batch]) for name in batch[0]}
    _, _, params = results.load(path)
    out = built.model.sample(
        params, jax.random.key(9), 40, batch.get("condition"), noise=batch["noise"], rounded=False, num_steps=4
    )
    np.testing.assert_allclose(batch["x"], out.x, atol=1e-4)
    assert abs(np.asarray(out.x) - np.asarray(out.x).mean(axis=0)).max() > 0.1
    # The noise is N(0, 1), no row twice; the nfe and the seed are recorded.
    assert len(np.unique(batch["noise"].reshape(40, -1)[:, 0])) == 40 and abs(batch["noise"].mean()) < 0.3
    with np.load(tmp_path / "p" / "00000.npz") as shard:
        assert shard["nfe"] == 4
    assert json.loads((tmp_path / "p" / "identity.json").read_text())["seed"] == 3
    assert ("condition" in batch) == bool(built.config.sampler.balanced)


def test_drawing_again_draws_what_is_missing_and_nothing_else(run, tmp_path, monkeypatch):
    path, _ = run
    monkeypatch.setattr(sampling, "SAMPLING_BATCH", 16)
    reflow.draw_pairs(path, tmp_path, 40, num_steps=2)
    whole = {file.name: file.read_bytes() for file in tmp_path.glob("*.npz")}
    for kept in (0, 2):
        for i in range(kept, 3):
            (tmp_path / f"{i:05}.npz").unlink()
        reflow.draw_pairs(path, tmp_path, 40, num_steps=2)
        assert {file.name: file.read_bytes() for file in tmp_path.glob("*.npz")} == whole
    with pytest.raises(UserError, match="holds batches of other samples: .*num_steps"):
        reflow.draw_pairs(path, tmp_path, 40, num_steps=3)


@pytest.mark.parametrize("run", [reflow_toy2d, reflow_digits, "moons"], ids=["toy2d", "digits", "moons"], indirect=True)
def test_pairs_of_one_step_are_learned_already(run, tmp_path):
    # At t = 1 the velocity of a pair is what its one step was made with, so whoever mixes pairs up has a loss.
    path, built = run
    reflow.draw_pairs(path, tmp_path, 40, num_steps=1)
    config = reflow.student_config(config_dict.ConfigDict(built.config.to_dict()), tmp_path, 1)
    student, (_, _, params) = experiment.build(config), results.load(path)
    batch = student.dataset.fitted[0].gather(np.arange(36))
    assert student.model.loss(params, jax.random.key(1), batch, train=False)[0] < 1e-9


@pytest.mark.parametrize("run", ["moons"], indirect=True)
def test_transport_between_two_sets_has_a_table_too(run, tmp_path):
    (path, built), chosen = run, {"1": {"sampler": "euler", "num_steps": 1}}
    _, step, params = results.load(path)
    found = sampler_table.rows(built, step, params, tmp_path, "some", chosen, 32)
    assert found["1"]["nfe"] == 1 and found["1"]["sliced_wasserstein/ours"] > 0


def test_the_config_of_a_round_differs_where_it_says():
    config = reflow_toy2d.get_config()
    made = reflow.round_config(config, "p")
    old, new = flatten(config.to_dict()), flatten(made.to_dict())
    changed = {name: new[name] for name in new if new[name] != old[name]}
    wanted = {"data.pairs": "p", "model.coupling": "given"} | flatten(config.reflow.round.to_dict())
    assert changed == {name: value for name, value in wanted.items() if value != old[name]}
    student = reflow.student_config(config, "p", 2)
    assert (student.model.time_density, student.model.num_steps, student.sampler.num_steps) == ("steps", 2, 2)


def test_a_student_is_sampled_at_the_times_it_knows():
    config = reflow_toy2d.get_config()
    config.model.interpolant = "vp"  # of the first round, whose times may be any
    config.sampler.update({"name": "heun", "spacing": "quadratic", "end": 0.0})
    found = reflow.student_config(config, "p", 4).sampler
    assert found.name == "euler" and (found.spacing, found.end) == ("uniform", None)
    np.testing.assert_allclose(
        noise.times(noise.rectified(), found.num_steps, found.spacing, found.end), np.arange(4, -1, -1) / 4
    )


def test_pairs_are_joined_by_lines():
    config = reflow_toy2d.get_config()
    config.model.update({"interpolant": "trigonometric", "gamma": 0.5, "coupling": "exact"})
    for made in (reflow.round_config(config, "p"), reflow.student_config(config, "p", 1)):
        assert (made.model.interpolant, made.model.gamma, made.model.coupling) == ("linear", 0, "given")


def test_mistakes_in_a_round():
    config = reflow_toy2d.get_config()
    config.reflow.unlock()
    config.reflow.round = {"train": {"num_stepz": 3}}
    with pytest.raises(UserError, match="no field 'train.num_stepz'; did you mean 'train.num_steps'"):
        reflow.round_config(config, "p")
    config.model.name = "ddpm"
    with pytest.raises(UserError, match="reflow is for model.name 'rectified_flow', not 'ddpm'"):
        reflow.round_config(config, "p")


def gaussian(field, source=None):
    """An Experiment as far as `measure` looks at it."""
    config = ml_collections.ConfigDict({"data": {"num_classes": None}, "model": {}, "sampler": {"balanced": False}})
    dataset = types.SimpleNamespace(shape=(2,), source=source, levels=None)
    model = Model(None, None, None, None, field=lambda params, n, condition: field)
    return types.SimpleNamespace(config=config, dataset=dataset, model=model)


def test_measures_of_a_gaussian_pair_are_closed_forms():
    found = reflow.measure(gaussian(PAIR.field()), {})
    np.testing.assert_allclose(found["straightness"], PAIR.straightness(), rtol=0.05)
    mean, std = np.array([1.0, -2.0]), np.array([0.5, 0.8])
    np.testing.assert_allclose(found["cost_2"], np.sum(mean**2 + (1 - std) ** 2), rtol=0.02)
    np.testing.assert_allclose(found["independent_2"], np.sum(mean**2 + 1 + std**2), rtol=0.03)
    assert found["cost_1"] < found["independent_1"] and len(found["curve"]) == len(found["times"]) == 65


def test_a_source_is_where_the_measured_flow_starts():
    start = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32) + 7
    pair = oracle.gaussian_pair(np.array([1.0, -2.0]), 1.0, 7.0, 1.0)
    test = data.from_arrays(start)
    found = reflow.measure(gaussian(pair.field(), (None, test)), {})
    np.testing.assert_allclose(found["cost_2"], 36 + 81, rtol=0.02)


def test_a_source_is_measured_in_the_nets_unit():
    stats = {"mean": np.array([7.0, -3.0]), "std": np.array([2.0, 0.5])}
    start = stats["mean"] + stats["std"] * np.random.default_rng(0).normal(size=(500, 2))
    made = gaussian(PAIR.field(), (None, data.from_arrays(start.astype(np.float32))))
    made.config.model.standardize = True
    np.testing.assert_allclose(reflow.measure(made, {"stats": stats})["cost_2"], 5 + 0.5**2 + 0.2**2, rtol=0.03)


@pytest.mark.parametrize("module", [realnvp_toy2d, activations_mlp])
def test_a_model_that_takes_no_steps_has_no_table_of_them(module):
    with pytest.raises(UserError, match="takes no steps"):
        sampler_table.few_steps(module.get_config("tiny"))
