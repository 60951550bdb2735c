"""Trials as one program leave what each would alone: curves, checkpoints, evaluations; one that fails, fails alone."""

import json
import os
import shutil

import jax
import numpy as np
import pytest

from configs import gbdt_oblivious_california, rectified_flow_toy2d
from research import checkpoint, data, evaluation, experiment, grouping, interrupts, loop, one_program, sweep, workdir
from research.errors import UserError
from research.metrics_writer import read

TREES, TOY = gbdt_oblivious_california.get_config("tiny"), rectified_flow_toy2d.get_config("tiny")


def trials(config, *overrides, **more):
    config = sweep.override(config, more)
    return [(sweep.label(each), sweep.override(config, each)) for each in overrides]


def train(group, path):
    """{trial: final params or None} of a group in folders under path."""
    found = one_program.run(group, [path / name for name in group.names])
    return {name: state and built.program.params(state) for name, built, state in found}


def same_lines(a, b, rtol):
    """Two metrics.jsonl hold the same steps and names, and numbers to a relative difference."""
    a, b = read(a / "metrics.jsonl"), read(b / "metrics.jsonl")
    assert [sorted(line) for line in a] == [sorted(line) for line in b] and a
    for x, y in zip(a, b):
        np.testing.assert_allclose([x[name] for name in sorted(x)], [y[name] for name in sorted(x)], rtol=rtol)


def alone(trial, path):
    """Params of a trial's own run."""
    name, config = trial
    built = experiment.build(config)
    batches = built.program.batch or data.iterate(built.dataset.train, config.data.batch_size, config.data.seed)
    path = workdir.open_for(path / name, built.config)
    return built.program.params(loop.run(built.program, batches, built.config, path))


@pytest.mark.parametrize("backend", ["cpu", "another"])
@pytest.mark.parametrize("field", ["model.l2_leaf_reg", "model.learning_rate"])
def test_trees_are_those_of_single_runs_bit_for_bit(field, backend, tmp_path, monkeypatch):
    of_sweep = trials(TREES, {field: 0.1}, {field: 0.7})
    (group,) = grouping.plan(of_sweep)
    assert group.fields == (field,) and group.names == (f"{field[6:]}=0.1", f"{field[6:]}=0.7")
    with monkeypatch.context() as patched:
        patched.setattr(jax, "default_backend", lambda: backend)
        found = train(group, tmp_path / "all")
    for trial in of_sweep:
        want = alone(trial, tmp_path / "one")
        for name, x in found[trial[0]].items():
            np.testing.assert_array_equal(x, want[name], err_msg=name)
        same_lines(tmp_path / "all" / trial[0], tmp_path / "one" / trial[0], rtol=0)
        both = [json.loads((tmp_path / way / trial[0] / "config.json").read_text()) for way in ("all", "one")]
        assert both[0] == both[1]
    assert not np.array_equal(*(found[name]["leaves"] for name in group.names))


def test_trials_that_devices_cannot_share_evenly(tmp_path, monkeypatch):
    """Three on two devices, until a step and then on from there: what each is alone."""
    field, devices = "model.learning_rate", jax.devices()[:2]
    of_sweep = trials(TREES, *({field: rate} for rate in (0.1, 0.3, 0.7)))
    (group,) = grouping.plan(of_sweep)
    paths = [tmp_path / "all" / name for name in group.names]
    with monkeypatch.context() as patched:
        patched.setattr(jax, "default_backend", lambda: "another")
        patched.setattr(jax, "devices", lambda: devices)
        assert [state is not None for *_, state in one_program.run(group, paths, until=3)] == [True] * 3
        assert [sorted(os.listdir(path / "checkpoints")) for path in paths] == [["3"]] * 3
        found = train(group, tmp_path / "all")
    want = alone(of_sweep[2], tmp_path / "one")
    jax.tree.map(np.testing.assert_array_equal, found[of_sweep[2][0]], want)


@pytest.mark.parametrize("backend", ["cpu", "another"])
def test_nets_follow_the_curves_of_single_runs(backend, tmp_path, monkeypatch):
    """Fields of the optimiser, the seed, and one that the held-out loss depends on, too; in turns, and side by side."""
    overrides = [
        {"optimizer.learning_rate": 1e-3, "seed": 1, "model.time_mean": 1.0},
        {"optimizer.learning_rate": 3e-3, "seed": 0, "model.time_mean": -1.5},
    ]
    more = {"model.time_density": "logit_normal", "train.num_steps": 20, "train.log_every": 1, "train.eval_every": 5}
    of_sweep = trials(TOY, *overrides, **more)
    (group,) = grouping.plan(of_sweep)
    assert set(group.fields) == {"optimizer.learning_rate", "model.time_mean"}
    with monkeypatch.context() as patched:
        patched.setattr(jax, "default_backend", lambda: backend)
        train(group, tmp_path / "all")
    for trial in of_sweep:
        alone(trial, tmp_path / "one")
        same_lines(tmp_path / "all" / trial[0], tmp_path / "one" / trial[0], rtol=1e-5)


def test_plan():
    def plan(*overrides):
        return [(len(g.names), g.fields, g.why) for g in sweep.plan(TOY, list(overrides))]

    rate, decay = "optimizer.learning_rate", "optimizer.weight_decay"
    assert plan({rate: 1e-3}, {rate: 1e-2}) == [(2, (rate,), "")]
    assert plan({"seed": 1}, {"seed": 2}) == [(2, (), "")]
    assert plan({"sampler.num_samples": 8}, {"sampler.num_samples": 9}) == [(2, (), "")]  # after the training
    wide = plan(*({"net.mlp.width": w, rate: r} for w in (8, 16) for r in (1e-3, 1e-2)))
    assert wide == [(2, (rate,), "net.mlp.width=8"), (2, (rate,), "net.mlp.width=16")]
    apart = plan({"data.name": "checkerboard", decay: 0.1}, {"data.name": "rings", decay: 0.2})
    assert [(n, why) for n, _, why in apart] == [(1, "data.name=checkerboard"), (1, "data.name=rings")]
    said = grouping.describe(sweep.plan(TOY, [{rate: 1e-3}, {rate: 1e-2}, {"net.mlp.width": 8}]))
    assert said.splitlines()[0] == "3 trials in 2 programs:" and "numbers: optimizer.learning_rate" in said


def test_numbers_that_switch_code_keep_programs_apart():
    """A share of 1 draws no rows, which is another program than that of any other share; some are never traced."""

    def plan(config, field, *values):
        return [(len(g.names), g.fields, g.why) for g in sweep.plan(config, [{field: value} for value in values])]

    share, clip = "model.subsample", "optimizer.clip_norm"
    assert plan(TREES, share, 0.5, 0.7, 1.0) == [(2, (share,), ""), (1, (), f"{share}=1.0")]
    assert plan(TREES, "model.l2_leaf_reg", 0.0, 1.0, 3.0) == [(3, ("model.l2_leaf_reg",), "")]
    assert plan(TOY, clip, 0.0, 1.0, 2.0) == [(1, (), f"{clip}={value}") for value in (0.0, 1.0, 2.0)]


def test_a_trial_whose_numbers_go_bad_stops_alone(tmp_path):
    rate = "optimizer.learning_rate"
    more = {"train.num_steps": 20, "train.log_every": 1}
    of_sweep = trials(TOY, {rate: 1e-3}, {rate: 1e38}, **more)
    (group,) = grouping.plan(of_sweep)
    for _ in range(2):  # the second time it goes on from what the first one left
        found = train(group, tmp_path / "all")
        assert found["learning_rate=1e+38"] is None
    lines = read(tmp_path / "all" / "learning_rate=1e+38" / "metrics.jsonl")
    assert all(np.isfinite(list(line.values())).all() for line in lines)
    assert len([line for line in lines if "loss" in line]) < 20
    alone(of_sweep[0], tmp_path / "one")
    same_lines(tmp_path / "all" / of_sweep[0][0], tmp_path / "one" / of_sweep[0][0], rtol=1e-5)


def test_a_trial_that_skips_bad_steps_goes_on(tmp_path):
    rate = "optimizer.learning_rate"
    more = {"train.num_steps": 5, "train.log_every": 1, "train.on_nonfinite": "skip"}
    (group,) = grouping.plan(trials(TOY, {rate: 1e-3}, {rate: 1e38}, **more))
    assert train(group, tmp_path)["learning_rate=1e+38"] is not None
    assert read(tmp_path / "learning_rate=1e+38" / "metrics.jsonl")[-1]["step"] == 5


def test_each_trial_is_sampled_by_its_own_sampler(tmp_path):
    more = {"train.num_steps": 2, "sampler.name": "euler"}
    (group,) = grouping.plan(trials(TOY, {"sampler.num_steps": 2}, {"sampler.num_steps": 7}, **more))
    found = one_program.run(group, [tmp_path / name for name in group.names])
    assert [evaluation.sample(built, built.program.params(state), 4)[1] for _, built, state in found] == [2, 7]


def test_numbers_that_cannot_be_are_named_before_anything_runs(tmp_path):
    (group,) = grouping.plan(trials(TREES, {"model.learning_rate": 0.1}, {"model.learning_rate": -1.0}))
    with pytest.raises(UserError, match="trial learning_rate=-1.0: learning_rate is -1.0; it must be at least 0"):
        train(group, tmp_path)
    with pytest.raises(UserError, match="mesh.data is 2; trees of a sweep as one program grow on one device"):
        grouping.plan(trials(TREES, {"model.learning_rate": 0.1}, **{"mesh.data": 2}))
    for fields, words in (({"sampler.name": "hoin"}, "name=hoin: .*hoin"), ({"data.batch_size": 0}, "size is 0;")):
        with pytest.raises(UserError, match=f"trial .*{words}"):
            grouping.plan(trials(TOY, {}, fields))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("harm", ["asked to stop", "a checkpoint is damaged", "a trial has none"])
def test_a_group_goes_on_where_all_of_it_was(harm, tmp_path, monkeypatch):
    field = "model.learning_rate"
    of_sweep = trials(TREES, {field: 0.1}, {field: 0.7}, **{"train.checkpoint_every": 2, "train.log_every": 1})
    (group,) = grouping.plan(of_sweep)
    whole = train(group, tmp_path / "whole")

    class Asked:
        def __enter__(self):
            return lambda step: 15 if step == 4 else None

        def __exit__(self, *_):
            pass

    with monkeypatch.context() as patched, pytest.raises(interrupts.Preempted):
        patched.setattr(interrupts, "catch", Asked)
        train(group, tmp_path / "parts")
    second = tmp_path / "parts" / group.names[1] / "checkpoints"
    assert sorted(int(x.name) for x in second.iterdir()) == [2, 4]
    if harm == "a checkpoint is damaged":
        for file in (second / "4" / "state").rglob("*"):
            if file.is_file():
                os.truncate(file, file.stat().st_size // 2)
    if harm == "a trial has none":
        shutil.rmtree(second)
    steps, save = [], checkpoint.save
    monkeypatch.setattr(
        checkpoint, "save", lambda manager, step, *rest: (steps.append(step), save(manager, step, *rest))
    )
    parts = train(group, tmp_path / "parts")
    assert steps[0] == {"asked to stop": 6, "a checkpoint is damaged": 4, "a trial has none": 6}[harm]
    assert (2 in steps) == (harm == "a trial has none")  # which alone begins anew
    for name in group.names:
        jax.tree.map(np.testing.assert_array_equal, whole[name], parts[name])
        same_lines(tmp_path / "whole" / name, tmp_path / "parts" / name, rtol=0)


def test_a_folder_of_another_config_is_refused(tmp_path):
    (group,) = grouping.plan(trials(TREES, {"model.learning_rate": 0.1}))
    workdir.open_for(tmp_path / group.names[0], trials(TREES, {"model.learning_rate": 0.2})[0][1])
    with pytest.raises(Exception, match="model.learning_rate is 0.2 there"):
        train(group, tmp_path)
