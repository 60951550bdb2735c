"""Inputs of other formats, images and words: what goes in comes out."""

import collections
import csv
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from research.data import libsvm

pytest.importorskip("pyspark")
pytestmark = pytest.mark.cluster
ALL = {"bins": 0, "splits": (1.0, 0.0, 0.0)}


def matrix(found):
    """The rows of a pyarrow table as sorted lists, None where missing."""
    columns = [found[name].to_numpy().astype(float).tolist() for name in found.column_names]
    return sorted(([None if v != v else v for v in row] for row in zip(*columns)), key=str)


def test_libsvm(prepare, rows, tmp_path):
    text = "1 0:2.5 3:-1e3 # first\n\n-1 2:0\n0.5 qid:3 1:1 0:4\n1\n"
    (tmp_path / "a.libsvm").write_text(text)
    manifest = prepare(tmp_path / "out", tmp_path / "a.libsvm", target="label", **ALL)
    x, y, _ = libsvm.read(tmp_path / "a.libsvm")
    found = rows(tmp_path / "out", manifest, "train")
    assert found.column_names == ["column 0", "column 1", "column 2", "column 3", "label"]
    whole = np.concatenate([x, y[:, None]], axis=1).tolist()
    assert matrix(found) == sorted(([None if v != v else v for v in row] for row in whole), key=str)


def test_json_lines_parquet_and_sql_over_them(prepare, rows, spark, tmp_path):
    n = 300
    rng = np.random.default_rng(0)
    columns = {
        "a.b": [None if i % 7 == 0 else float(v) for i, v in enumerate(rng.normal(size=n))],
        "count": [int(i) for i in rng.integers(0, 2**40, n)],
        "is": [bool(i) for i in rng.integers(0, 2, n)],
        "word": [None if i % 5 == 0 else f"w {i % 3}" for i in range(n)],
    }
    lines = [json.dumps({name: values[i] for name, values in columns.items()}) for i in range(n)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    expected = [
        [np.float32(a) if a is not None else None, np.float32(c), float(i), None if w is None else int(w[-1])]
        for a, c, i, w in zip(*columns.values())
    ]
    for name in ("a.jsonl", "a.parquet"):
        found = rows(out := tmp_path / f"out_{name}", prepare(out, tmp_path / name, **ALL), "train")
        assert found.column_names == ["a.b", "count", "is", "word"]
        assert matrix(found) == sorted(([None if v is None else float(v) for v in row] for row in expected), key=str)
    inputs = (tmp_path / "a.parquet", tmp_path / "a.parquet")
    sql = "select input.`a.b` * 2 as twice, input1.word from input1 join input using (count) where not input.is"
    found = rows(tmp_path / "sql", prepare(tmp_path / "sql", inputs, sql=sql, **ALL), "train")
    joined = [[None if a is None else float(np.float32(2 * a)), w] for a, _, i, w in zip(*columns.values()) if not i]
    assert matrix(found) == sorted(([a, None if w is None else float(int(w[-1]))] for a, w in joined), key=str)
    spark.createDataFrame([(1.5, "x"), (2.5, "y")], "v double, w string").createOrReplaceTempView("kept")
    found = rows(tmp_path / "kept", prepare(tmp_path / "kept", (), sql="select * from kept", **ALL), "train")
    assert matrix(found) == [[1.5, 0.0], [2.5, 1.0]]


def write_images(folder, classes=("cat", "dog"), size=(7, 5), mode="RGB"):
    """{bytes: class} of images in folders, some PNG and some JPEG."""
    rng, found = np.random.default_rng(0), {}
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(6):
            path = folder / name / f"{i}.{('png', 'jpg', 'JPEG')[i % 3]}"
            image = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).convert(mode)
            image.save(path, format="PNG" if i % 3 == 0 else "JPEG", **({"exif": image.getexif()} if i % 3 else {}))
            found[path.read_bytes()] = classes.index(name) if name else None
    return found


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_images(prepare, rows, tmp_path, mode):
    known = write_images(tmp_path / "in", mode=mode)
    (tmp_path / "in" / "cat" / "notes.txt").write_text("no image")
    manifest = prepare(
        tmp_path / "out", tmp_path / "in", format="images", rows_per_shard=4, row_group_rows=2, splits=(0.6, 0.0, 0.4)
    )
    assert manifest["kind"] == "images"
    assert manifest["image"] == {"shape": [7, 5, 1 if mode == "L" else 3], "classes": ["cat", "dog"]}
    parts = [part for split in ("train", "test") if (part := rows(tmp_path / "out", manifest, split))]
    assert all(part.schema.field("label").type == pyarrow.int32() for part in parts)
    found = [(row["image"], row["label"]) for part in parts for row in part.to_pylist()]
    assert len(found) == 12 and dict(found) == known
    assert max(max(shard["groups"]) for shard in manifest["splits"]["train"]) == 2


def test_images_without_classes(prepare, rows, tmp_path):
    known = write_images(tmp_path / "in", classes=("",))
    manifest = prepare(tmp_path / "out", tmp_path / "in", format="images", splits=(1.0, 0.0, 0.0))
    found = rows(tmp_path / "out", manifest, "train")
    assert found.column_names == ["image"] and {row["image"] for row in found.to_pylist()} == set(known)
    assert manifest["image"]["classes"] is None


def test_words_are_counted(spark, tmp_path):
    from research.prepare import describe, request

    text = ["To be, or not to be:", "  that is\tthe question ", "", 'être\u2003not "to" be', "be"]
    (tmp_path / "in").mkdir()
    for i in range(2):
        (tmp_path / "in" / f"{i}.txt").write_text("\n".join(text) + "\n")
    asked = request.make(input=(str(tmp_path / "in"),), output=str(tmp_path / "out"), format="text")
    found = describe.words(spark, asked, "text")
    counter = collections.Counter(" ".join(text).split() * 2)
    assert dict(found) == counter and found[0] == ("be", 4)
    assert found == sorted(found, key=lambda pair: (-pair[1], pair[0]))
    with open(tmp_path / "out" / "word_count.csv", newline="") as file:
        assert [(word, int(count)) for word, count in list(csv.reader(file))[1:]] == found


def test_description(spark, write_csv, table, tmp_path, capsys):
    from research.prepare import describe, request

    write_csv(tmp_path / "in", table)
    asked = request.make(input=(str(tmp_path / "in"),), target="y", key="id")
    found = describe.table(spark, asked)
    assert list(found["rows of"].unique()) == ["all", "y=no", "y=yes"]
    line = found[(found["rows of"] == "y=yes") & (found["column"] == "wide")].iloc[0]
    x = table["wide"][table["y"] == "yes"]
    assert line["count"] == len(x) and line["missing"] == np.isnan(x).sum()
    np.testing.assert_allclose(line["mean"], np.nanmean(x), rtol=1e-4)
    np.testing.assert_allclose(line["std"], np.nanstd(x, ddof=1), rtol=1e-4)
    x = np.sort(x[~np.isnan(x)])
    assert x[int(0.247 * len(x))] <= line["25%"] <= x[int(0.253 * len(x))] and line["max"] == np.float32(x[-1])
    for name, start in (("a.html", b"<table"), ("a.png", b"\x89PNG")):
        describe.write(found, str(tmp_path / name))
        assert (tmp_path / name).read_bytes().startswith(start)
    describe.write(found, "-")
    assert "y=no" in capsys.readouterr().out
