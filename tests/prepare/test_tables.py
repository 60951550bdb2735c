"""Tables to shards: the same bytes whatever did the work, every row once, codes those of research.trees.binning."""

import collections
import hashlib
import json
import math
import pathlib
import types

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from research.data import manifest as manifests
from research.data import shards, tables
from research.trees import binning

pytest.importorskip("pyspark")
pytestmark = pytest.mark.cluster
OPTIONS = {"target": "y", "key": "id", "rows_per_shard": 4000, "row_group_rows": 1024, "bins": 100}
SPLITS = ("train", "valid", "test")
REAL = pathlib.Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def made(prepare, table, write_csv, tmp_path_factory):
    """(folder, the manifest of codes, that of values) of the table."""
    top = tmp_path_factory.mktemp("made")
    write_csv(top / "in", table)
    codes = prepare(top / "codes", top / "in", **OPTIONS)
    return top, codes, prepare(top / "values", top / "in", **OPTIONS | {"bins": 0})


def cells(found):
    """The rows of a pyarrow table as tuples, NaN as None."""
    columns = [found[name].to_numpy().astype(float) for name in found.column_names]
    return collections.Counter(tuple(None if v != v else v for v in row) for row in zip(*columns))


def expected(table):
    """The rows of the table as shards of values should have them."""
    words = sorted({word for word in table["tree"] if word})
    tree = [words.index(word) if word else math.nan for word in table["tree"]]
    columns = [
        np.float32(table["wide"]),
        np.float32(table["few"]),
        np.float32(table["dense"]),
        tree,
        table["y"] == "yes",
    ]
    return words, columns


def test_every_row_is_in_one_split_and_split_by_its_key(made, table, rows):
    top, _, manifest = made
    words, columns = expected(table)
    found = [rows(top / "values", manifest, split) for split in SPLITS]
    assert found[0].column_names == ["wide", "few", "dense", "tree", "y"] and manifest["classes"] == ["no", "yes"]
    whole = collections.Counter(tuple(None if v != v else float(v) for v in row) for row in zip(*columns))
    assert cells(found[0]) + cells(found[1]) + cells(found[2]) == whole
    for part, share in zip(found, (0.8, 0.1, 0.1)):
        assert abs(len(part) / len(table["id"]) - share) < 5 * math.sqrt(share * (1 - share) * 4 / len(table["id"]))
    place = {row: split for split, part in zip(SPLITS, found) for row in cells(part)}
    split_of = collections.defaultdict(set)
    for key, *row in zip(table["id"], *columns):
        row = tuple(None if v != v else float(v) for v in row)
        if whole[row] == 1:
            split_of[key].add(place[row])
    assert len(split_of) > 4000 and all(len(splits) == 1 for splits in split_of.values())
    assert manifest["columns"][3]["vocabulary"] == words


def test_borders_are_quantiles_of_train_and_codes_those_of_binning(made, rows):
    top, codes, values = made
    train = {name: rows(top / "values", values, "train")[name].to_numpy() for name in manifests.names(values)}
    for column in codes["columns"]:
        x = train[column["name"]]
        missing, x = int(np.isnan(x).sum()), np.sort(x[~np.isnan(x)])
        assert column["missing"] == missing and column["has_missing"] == (missing > 0 or column["kind"] == "category")
        count = 100 - column["has_missing"]
        levels = np.unique(x)
        if len(levels) > count + 1:
            levels = np.unique(np.quantile(x, np.arange(1, count + 1) / (count + 1), method="inverted_cdf"))
            levels = np.append(levels[levels < x[-1]], x[-1])
        np.testing.assert_array_equal(np.float32(column["borders"]), levels[:-1])
    borders = manifests.borders(codes)
    for split in SPLITS:
        x = rows(top / "values", values, split)
        stored, x = rows(top / "codes", codes, split), np.stack([x[name].to_numpy() for name in borders.names], axis=1)
        found = np.stack([stored[name].to_numpy() for name in borders.names])
        assert found.dtype == np.int8 and stored.schema.field("wide").nullable is False
        # Orders agree: hashes are of contents, before they are coded.
        np.testing.assert_array_equal(found.view(np.uint8), binning.apply(borders, x))
    read = {
        "train": (dataset := shards.load(types.SimpleNamespace(dir=str(top / "codes")))).train,
        "test": dataset.test,
    }
    for split, source in read.items():
        batch, stored = source.gather(np.arange(source.size)), rows(top / "codes", codes, split)
        found = np.stack([stored[name].to_numpy() for name in borders.names])
        np.testing.assert_array_equal(found.view(np.uint8), binning.apply(dataset.borders, batch["x"]))
        np.testing.assert_array_equal(batch["y"], stored["y"].to_numpy())


def test_the_manifest_says_what_the_files_are(made):
    top, codes, _ = made
    assert manifests.read(str(top / "codes")) == codes
    for shard in [shard for split in codes["splits"].values() for shard in split]:
        content = (top / "codes" / shard["file"]).read_bytes()
        assert shard["bytes"] == len(content) and shard["sha256"] == hashlib.sha256(content).hexdigest()
        meta = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content)).metadata
        assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == shard["groups"]
        assert all(rows == 1024 for rows in shard["groups"][:-1])
    assert len(codes["splits"]["train"]) == 4 or len(codes["splits"]["train"]) == 5
    assert sorted(p.name for p in top.iterdir()) == ["codes", "in", "values"]
    assert {p.name for p in (top / "codes").rglob("*") if p.is_file()} == {"manifest.json"} | {
        f"{i:05d}.parquet" for i in range(len(codes["splits"]["train"]))
    }


def test_a_changed_byte_is_noticed(made, tmp_path):
    top, codes, _ = made
    content = bytearray((top / "codes" / codes["splits"]["train"][0]["file"]).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(OSError):
        pyarrow.parquet.read_table(tmp_path / "a.parquet", page_checksum_verification=True)


def test_bytes_do_not_depend_on_how_the_work_is_divided(made, prepare, table, write_csv, spark):
    top, first, _ = made
    kept = {p.relative_to(top / "codes"): p.read_bytes() for p in (top / "codes").rglob("*.parquet")}
    order = np.random.default_rng(1).permutation(len(table["id"]))
    for files, shuffles in ((3, 7), (7, 1)):
        write_csv(top / "in", table, files, order)
        spark.conf.set("spark.sql.shuffle.partitions", shuffles)
        again = prepare(top / f"codes{files}", top / "in", **OPTIONS)
        found = {
            p.relative_to(top / f"codes{files}"): p.read_bytes() for p in (top / f"codes{files}").rglob("*.parquet")
        }
        assert found == kept
        for manifest in (first, again):
            manifest.pop("plan", None)
            manifest["request"].pop("output", None)
        assert again == first
    spark.conf.set("spark.sql.shuffle.partitions", 3)


def test_another_seed_gives_other_splits_and_sorted_input_is_shuffled(prepare, write_csv, rows, tmp_path):
    write_csv(tmp_path / "in", {"a": np.arange(2000.0)})
    found = {}
    for seed in (0, 1):
        manifest = prepare(tmp_path / f"{seed}", tmp_path / "in", bins=0, seed=seed, splits=(0.5, 0.0, 0.5))
        assert not manifest["splits"]["valid"] and manifest["target"] is None
        found[seed] = rows(tmp_path / f"{seed}", manifest, "train")["a"].to_numpy()
    shared = len(set(found[0]) & set(found[1]))
    assert abs(shared - 500) < 120
    assert abs(np.corrcoef(np.arange(len(found[0])), found[0])[0, 1]) < 0.15


def test_adult_is_the_table_of_data_tables(prepare, rows, tmp_path):
    if not (REAL / "adult").is_dir():
        pytest.skip("no real adult here")
    dataset = tables.load(types.SimpleNamespace(name="adult", dir=str(REAL), seed=0))
    batch = dataset.train.gather(np.arange(dataset.train.size))
    names = (*tables.ADULT, "income")
    manifest = prepare(
        tmp_path / "out", REAL / "adult" / "adult.data", names=names, missing_word="?", target="income", bins=0,
        splits=(1.0, 0.0, 0.0),
    )  # fmt: skip
    found = rows(tmp_path / "out", manifest, "train")
    assert manifests.names(manifest) == tables.ADULT and manifest["classes"] == ["<=50K", ">50K"]
    assert [c["name"] for c in manifest["columns"] if c["kind"] == "category"] == list(tables.WORDS)
    whole = np.concatenate([batch["x"], batch["y"][:, None]], axis=1).astype(float)
    assert cells(found) == collections.Counter(tuple(None if v != v else v for v in row) for row in whole.tolist())


def test_words_that_train_lacks_are_missing(prepare, rows, tmp_path):
    n = 4000
    (tmp_path / "a.csv").write_text("word,n\n" + "".join(f"w{i},{i}\n" for i in range(n)))
    manifest = prepare(tmp_path / "out", tmp_path / "a.csv", bins=0, splits=(0.5, 0.25, 0.25))
    words = manifest["columns"][0]["vocabulary"]
    train, test = (rows(tmp_path / "out", manifest, split) for split in ("train", "test"))
    assert words == sorted(f"w{int(i)}" for i in train["n"].to_numpy())
    np.testing.assert_array_equal([words.index(f"w{int(i)}") for i in train["n"].to_numpy()], train["word"].to_numpy())
    assert np.isnan(test["word"].to_numpy()).all() and len(test) > 900
    coded = prepare(tmp_path / "codes", tmp_path / "a.csv", splits=(0.5, 0.25, 0.25), bins=301)
    assert coded["columns"][0]["borders"] == [i * len(words) // 301 - 1 for i in range(1, 301)]
    assert not rows(tmp_path / "codes", coded, "test")["word"].to_numpy().any()
    assert rows(tmp_path / "codes", coded, "train")["word"].to_numpy().min() == 1


def test_many_borders_take_sixteen_bits(prepare, rows, tmp_path, write_csv, table):
    write_csv(tmp_path / "in", {"dense": table["dense"]})
    manifest = prepare(tmp_path / "out", tmp_path / "in", bins=2900, splits=(1.0, 0.0, 0.0))
    codes = rows(tmp_path / "out", manifest, "train")["dense"].to_numpy()
    assert codes.dtype == np.int16
    assert codes.view(np.uint16).max() == len(manifest["columns"][0]["borders"]) > 2000
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["bins"] == 2900


def test_borders_of_many_rows_are_those_of_a_sample_by_contents(prepare, table, write_csv, tmp_path, monkeypatch):
    from research.prepare import columns

    monkeypatch.setattr(columns, "EXACT", 4000)
    monkeypatch.setattr(columns, "AT_ONCE", 1)  # a column a call
    kept, found = {name: table[name] for name in ("wide", "dense")}, []
    for files in (1, 5):
        write_csv(tmp_path / "in", kept, files, np.random.default_rng(files).permutation(len(table["id"])))
        manifest = prepare(tmp_path / f"{files}", tmp_path / "in", bins=10, splits=(1.0, 0.0, 0.0))
        found.append([column["borders"] for column in manifest["columns"]])
    assert found[0] == found[1]
    for x, borders in zip(kept.values(), found[0]):
        x = x[~np.isnan(x)]
        ranks = (x[:, None] <= np.array(borders)).mean(axis=0)
        error = np.abs(ranks - np.arange(1, len(borders) + 1) / (len(borders) + 1)).max()
        assert 1e-3 < error < 5 * 0.5 / math.sqrt(4000)  # not exact, and as good as so many rows are
