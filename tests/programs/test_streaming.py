"""Trees on a folder of shards are those of the same codes in memory, wherever it is and however it is read."""

import dataclasses
import types

import numpy as np
import pytest

from configs import base
from research import trees
from research.data import manifest
from research.errors import UserError
from research.programs import streaming
from research.trees import streamed
from tests.programs import shards


def config(of=base.gbdt_oblivious, **fields):
    fields = {"num_trees": 3, "block": 1, "depth": 2, "objective": "logistic", "subsample": 0.6} | fields
    return base.update(of(), **fields)


def assert_same(one, other):
    assert type(one) is type(other)
    for field in dataclasses.fields(one):
        if field.name != "names":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def in_memory(borders, fields):
    """The trees of the table in memory, with the borders of the shards."""
    given = fields.to_dict() | {"borders": [*borders.values], "missing": borders.missing}
    return trees.fit(*shards.table(), types.SimpleNamespace(**given))


@pytest.mark.parametrize("of, missing", ((base.gbdt_oblivious, "min"), (base.gbdt, "learn")))
def test_trees_are_those_in_memory(tmp_path, of, missing):
    folder = f"memory://{of.__name__}"
    borders = shards.write(folder, missing=missing)
    found = streaming.fit(folder, config(of), tmp_path, rows=256)
    assert found.names == ("f0", "f1", "f2", "f3") and found.missing == missing
    assert_same(found, in_memory(borders, config(of)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trees.npz"]


def test_values_are_binned_here(tmp_path):
    shards.write(str(tmp_path / "shards"), bins=0)
    x, y = shards.table()
    assert_same(streaming.fit(str(tmp_path / "shards"), config(), tmp_path / "kept"), trees.fit(x, y, config()))


def test_it_goes_on_and_another_table_starts_anew(tmp_path, monkeypatch):
    folder, grown, grow = str(tmp_path / "shards"), [], streamed.grow
    shards.write(folder)

    def counted(*args):
        grown.append(args[-1])
        return grow(*args)

    whole = streaming.fit(folder, config(), tmp_path / "whole")
    monkeypatch.setattr(streamed, "grow", counted)
    streaming.fit(folder, config(num_trees=2), tmp_path / "kept")
    assert_same(streaming.fit(folder, config(), tmp_path / "kept"), whole)
    assert grown == [0, 1, 2]
    found = manifest.read(folder)
    found["splits"]["train"][0]["sha256"] = "other"
    manifest.write(folder, found)
    streaming.fit(folder, config(num_trees=1), tmp_path / "kept")
    assert grown[3:] == [0]


CHANGES = {  # fields of the manifest, what the sentence says
    "images": ({"kind": "images"}, "holds images without targets"),
    "no target": ({"target": None}, "name a --target"),
    "no shards": ({"splits": {"train": []}}, "has 0 shards of 'train' for 1 processes"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_trees_cannot_be_fitted_to_is_named(tmp_path, change):
    fields, sentence = CHANGES[change]
    shards.write(str(tmp_path))
    manifest.write(str(tmp_path), manifest.read(str(tmp_path)) | fields)
    with pytest.raises(UserError, match=sentence):
        streaming.fit(str(tmp_path), config(), tmp_path / "kept")


def test_codes_beyond_the_borders_are_named(tmp_path):
    shards.write(str(tmp_path))
    found = manifest.read(str(tmp_path))
    for column in found["columns"]:
        column["borders"] = column["borders"][:5]
    manifest.write(str(tmp_path), found)
    with pytest.raises(UserError, match="the borders are of 4 columns, with codes below 7"):
        streaming.fit(str(tmp_path), config(), tmp_path / "kept")
