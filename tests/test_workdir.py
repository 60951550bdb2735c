"""A workdir belongs to one config, and no file in it is ever half-written."""

import contextlib
import json

import jax
import numpy as np
import pytest

from configs import base
from research import workdir
from research.errors import UserError


def config(**train):
    return base.config(train=base.update(base.train(), **train), mesh=base.mesh(), data=base.data("digits"))


def test_leaves_config_and_versions(tmp_path):
    path = workdir.open_for(tmp_path / "a" / "b", config(num_steps=7))
    assert workdir.load_config(path)["train"]["num_steps"] == 7
    found = json.loads((path / "versions.json").read_text())
    assert found["jax"] == jax.__version__ and found["devices"] == 8 and found["device"]


def test_the_same_config_opens_it_again_and_the_mesh_may_change(tmp_path):
    workdir.open_for(tmp_path, config())
    other = base.config(train=base.train(), mesh=base.update(base.mesh(), fsdp=8), data=base.data("digits"))
    workdir.open_for(tmp_path, other)
    assert workdir.load_config(tmp_path)["mesh"]["fsdp"] == 8


def test_what_was_frozen_belongs_to_its_config(tmp_path):
    workdir.freeze(tmp_path / "a", config(num_steps=7))
    workdir.freeze(tmp_path / "a", config(num_steps=7))
    with pytest.raises(UserError, match="belongs to a run of another config: train.num_steps is 7 there, 8 here"):
        workdir.freeze(tmp_path / "a", config(num_steps=8))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to workdir .*file/a"):
        workdir.freeze(tmp_path / "file" / "a", config())


@pytest.mark.parametrize("field, free", [("unroll", True), ("remat", True), ("reversible", False), ("steps", False)])
def test_a_flow_may_be_laid_out_anew_but_not_be_another(field, free, tmp_path):
    first, other = (base.config(train=base.train(), model=base.glow()) for _ in range(2))
    other.model[field] = 7 if field == "steps" else not other.model[field]
    workdir.open_for(tmp_path, first)
    with contextlib.nullcontext() if free else pytest.raises(UserError, match=f"model.{field} is"):
        workdir.open_for(tmp_path, other)


def test_another_config_is_refused_and_changes_nothing(tmp_path):
    workdir.open_for(tmp_path, config(num_steps=7))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"train.num_steps is 7 there, 8 here; choose another"):
        workdir.open_for(tmp_path, config(num_steps=8))
    with pytest.raises(UserError, match=r"\(and 2 more\)"):
        workdir.open_for(tmp_path, config(num_steps=8, log_every=1, eval_every=1, keep_last=1, keep_best="x"))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_not_a_workdir(tmp_path):
    with pytest.raises(UserError, match="is not a workdir"):
        workdir.load_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON any more"):
        workdir.load_config(tmp_path)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to workdir"):
        workdir.open_for(tmp_path / "file" / "run", config())


def test_versions_name_the_commit_or_nothing_without_git(monkeypatch):
    found = workdir.versions()["git"]
    assert found is None or len(found.rstrip("+")) == 40
    monkeypatch.setenv("PATH", "")
    assert workdir.versions()["git"] is None


def test_flatten():
    assert workdir.flatten({"a": {"b": 1, "c": {"d": (2,)}}, "e": {}}) == {"a.b": 1, "a.c.d": (2,), "e": {}}


def test_exported_params_are_named_by_their_paths(tmp_path):
    workdir.export_params(tmp_path / "params.npz", {"dense": {"kernel": np.eye(2), "bias": np.zeros(2)}})
    with np.load(tmp_path / "params.npz") as archive:
        assert set(archive) == {"dense/kernel", "dense/bias"} and (archive["dense/kernel"] == np.eye(2)).all()
