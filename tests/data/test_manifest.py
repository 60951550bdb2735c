"""The manifest of a folder of shards: read as it was written, or one sentence."""

import json

import numpy as np
import pytest

from research import uri
from research.data import manifest
from research.errors import UserError
from research.trees import binning
from tests.data import shard_files


def made(**fields):
    columns = [
        shard_files.column("a", borders=[0.5, 1.5], has_missing=True),
        shard_files.column("b", borders=[]),
        shard_files.column("c", kind="category", vocabulary=["x", "y", "z"], borders=[0.0, 1.0]),
    ]
    shard = {"file": "train/00000.parquet", "rows": 5, "bytes": 9, "sha256": "", "groups": [3, 2]}
    known = {
        "version": 1,
        "kind": "table",
        "columns": columns,
        "target": None,
        "classes": None,
        "bins": 3,
        "image": None,
    }
    known |= {"missing": "min", "side": "left", "splits": {"train": [shard, shard]}, "generation": 1}
    return known | fields


@pytest.mark.parametrize("top", ["memory://", ""])
def test_it_is_read_as_written(top, tmp_path):
    folder = f"{top}{tmp_path}"
    manifest.write(folder, made())
    assert manifest.read(folder) == made() and uri.listing(folder) == ["manifest.json"]
    assert manifest.rows(made(), "train") == 10 and manifest.rows(made(), "test") == 0
    assert manifest.names(made()) == ("a", "b", "c")


def test_borders_of_missing_values_are_made_again():
    inf = np.inf
    expected = {
        "min": ([-inf, 0.5, 1.5], [], [0, 1]),
        "max": ([0.5, 1.5, inf], [], [0, 1]),
        "learn": ([0.5, 1.5, inf], [inf], [0, 1, inf]),
    }
    for missing, values in expected.items():
        found = manifest.borders(made(missing=missing))
        assert [list(v) for v in found.values] == [list(v) for v in values], missing
        assert (found.missing, found.side, found.names) == (missing, "left", ("a", "b", "c"))
    assert manifest.borders(made(bins=0)) is None
    assert manifest.borders(made(side="right")).side == "right"


@pytest.mark.parametrize("missing", ["min", "max"])
def test_found_borders_survive_json(missing):
    x = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    x[:9, 1] = np.nan
    found = binning.find(x, count=17, missing=missing)
    columns = [
        shard_files.column(name, borders=[float(b) for b in v if np.isfinite(b)], has_missing=has)
        for name, v, has in zip("ab", found.values, found.has_missing)
    ]
    again = manifest.borders(json.loads(json.dumps(made(columns=columns, missing=missing))))
    np.testing.assert_array_equal(binning.apply(again, x), binning.apply(found, x))


MISTAKES = {
    "version": (made(version=2), "version 2, this code reads 1"),
    "no version": ([1], "version None"),
    "field": ({k: v for k, v in made().items() if k != "bins"}, "lacks 'bins'"),
    "kind": (made(kind="sound"), "another kind"),
    "splits": (made(splits={"dev": []}), "other splits"),
    "rows": (made(splits={"train": [{"file": "a", "rows": 4, "groups": [3, 2]}]}), "gives a 4 rows, its row groups 5"),
}


@pytest.mark.parametrize("value, match", MISTAKES.values(), ids=MISTAKES)
def test_what_is_no_such_manifest_is_one_sentence(value, match, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match=f"manifest.json.*{match}"):
        manifest.read(tmp_path)
    with pytest.raises(UserError, match=match):
        manifest.write(tmp_path / "other", value)
    assert not (tmp_path / "other").exists()


def test_a_folder_without_one_is_not_whole(tmp_path):
    with pytest.raises(UserError, match="no manifest.json, so it holds no shards, or their making did not end"):
        manifest.read(tmp_path)


def test_a_damaged_one_is_one_sentence(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(made())[:-9])
    with pytest.raises(UserError, match="manifest.json is damaged"):
        manifest.read(tmp_path)
