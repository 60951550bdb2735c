"""Each mistake is one sentence, and nothing is left that looks like shards."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from research.errors import UserError

pytest.importorskip("pyspark")
pytestmark = pytest.mark.cluster
ROOT = pathlib.Path(__file__).parents[2]
FAST = {"spark.sql.codegen.wholeStage": "false", "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1"}
GOOD = "age,word,y\n1,a,0\n2,b,1\n3,a,0\n4,c,1\n"

TEXTS = {  # what is wrong: (the second file's text, options, what the sentence says)
    "a word among numbers": (GOOD + "many,a,1\n", {}, r"b.csv, row 5: column 'age' has 'many', .* 8 of 9 are"),
    "a number of Java's": (GOOD + "1d,a,1\n", {}, "row 5: column 'age' has '1d'"),
    "too large a number": (GOOD.replace("3,", "1e39,"), {}, r"b.csv, row 3: column 'age' has '1e39'"),
    "another type than --schema's": (GOOD, {"schema": {"word": "number"}}, "column 'word' has 'a', .* by --schema"),
    "a short row": (GOOD + "5,a\n6,b,1\n", {}, r"b.csv, row 5 is '5,a', of another form .*\(3\)"),
    "a long row": (GOOD.replace("2,b,1", "2,b,1,9"), {}, "b.csv, row 2 is '2,b,1,9'"),
    "another header": (GOOD.replace("age", "Age"), {}, "b.csv has another header .* than the first file"),
    "a target that is missing": (GOOD + "5,a,\n", {"target": "y"}, "1 rows have no 'y'"),
    "an unknown target": (GOOD, {"target": "yy"}, "--target names 'yy', .*did you mean 'y'"),
    "an unknown key": (GOOD, {"key": "agee"}, "--key names 'agee', .*did you mean 'age'"),
    "an unknown column of words": (GOOD, {"categorical": ("wrd",)}, "--categorical names 'wrd', .*'word'"),
    "an unknown column of the schema": (GOOD, {"schema": {"wrd": "number"}}, "--schema names 'wrd', .*'word'"),
    "no feature": (GOOD, {"target": "y", "sql": "select y from input"}, "no column beside --target"),
    "a column of dates": (GOOD, {"sql": "select date'2020-01-01' as d, y from input"}, "'d' is of the type date"),
    "sql with a wrong name": (GOOD, {"sql": "select agee from input"}, "does not understand .*agee"),
    "sql that is none": (GOOD, {"sql": "selekt 1"}, "does not understand .*selekt"),
    "no rows left": (GOOD, {"sql": "select * from input where age > 9"}, "no rows"),
    "nothing in train": (GOOD, {"splits": (1e-9, 0.5, 0.5)}, "no row falls into train, of 8"),
    "names for another number of columns": (GOOD, {"names": ("a", "b")}, r"row 1 is 'age,word,y', of another form"),
    "a name twice": (GOOD, {"names": ("a", "b", "a")}, "--names has 'a' twice"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_table_with_a_mistake(prepare, tmp_path, name):
    text, options, match = TEXTS[name]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text(GOOD)
    (tmp_path / "in" / "b.csv").write_text(text)
    with pytest.raises(UserError, match=match):
        prepare(tmp_path / "out", tmp_path / "in", **options)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_the_row_is_found_in_a_file_that_is_read_in_parts(prepare, spark, tmp_path):
    lines = [f"{i},{i}" for i in range(3000)]
    lines[2345] = "no,1"
    (tmp_path / "a.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    spark.conf.set("spark.sql.files.maxPartitionBytes", 5000)
    try:
        with pytest.raises(UserError, match=r"a.csv, row 2346: column 'a' has 'no'"):
            prepare(tmp_path / "out", tmp_path / "a.csv")
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")


@pytest.mark.parametrize(
    "text, match",
    [
        ("1 0:1\n1 0:1 x\n", "row 2 is '1 0:1 x', of another form"),
        ("1 0:1 0:2\n", "row 1 is '1 0:1 0:2'"),
        ("1 0:1\nyes 0:2\n", "column 'label' has 'yes'"),
        ("1 0:1\n1 0:a\n", "row 2: column 'column 0' has 'a'"),
        ("1 20000:1\n", "index 20000, beyond"),
        ("1\n", "no index:value"),
    ],
)
def test_libsvm(prepare, tmp_path, text, match):
    (tmp_path / "a.libsvm").write_text(text)
    with pytest.raises(UserError, match=match):
        prepare(tmp_path / "out", tmp_path / "a.libsvm")


def test_other_files(prepare, tmp_path):
    (tmp_path / "latin.csv").write_bytes("a,b\nélan,1\nx,2\n".encode("latin1"))
    (tmp_path / "a.json").write_text('{"a": 1}\n{"a": \n')
    (tmp_path / "nested.json").write_text('{"a": [1, 2]}\n')
    (tmp_path / "a.parquet").write_text("no parquet")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("a,b\n")
    (tmp_path / "folder").mkdir()
    for name, match in (
        ("a.json", "a.json, row 2 is .*of another form"),
        ("nested.json", "'a' is of the type array<string>"),
        ("a.parquet", "no Parquet or is damaged"),
        ("empty.csv", "no rows"),
        ("header.csv", "no rows"),
        ("latin.csv", "'a' has letters that are not of UTF-8"),
        ("folder", "no rows"),
        ("absent.csv", "absent.csv is not there"),
    ):
        with pytest.raises(UserError, match=match):
            prepare(tmp_path / "out", tmp_path / name, splits=(1.0, 0.0, 0.0))
        assert not (tmp_path / "out").exists()


def test_images(prepare, tmp_path):
    top = tmp_path / "in"

    def wrong(match):
        with pytest.raises(UserError, match=match):
            prepare(tmp_path / "out", top, format="images")

    (top / "a").mkdir(parents=True)
    wrong("no images")
    Image.new("RGB", (4, 5)).save(top / "a" / "0.png")
    Image.new("RGB", (4, 5)).save(top / "1.png")
    wrong("1.png lies beside folders of classes")
    (top / "1.png").rename(top / "a" / "1.bmp")
    wrong("1.bmp is neither PNG nor JPEG; convert")
    (top / "a" / "1.bmp").unlink()
    Image.new("RGB", (6, 5)).save(top / "a" / "1.jpg")
    wrong("has 6 x 5 pixels and .*0.png 4 x 5|has 4 x 5 pixels and .*1.jpg 6 x 5")
    (top / "a" / "1.jpg").write_text("no image")
    wrong("1.jpg is damaged")
    (top / "a" / "1.jpg").unlink()
    (top / "a" / "b").mkdir()
    (top / "a" / "0.png").rename(top / "a" / "b" / "0.png")
    wrong("0.png lies deeper than a folder a class")


def test_outputs(prepare, tmp_path):
    (tmp_path / "a.csv").write_text(GOOD)
    options = {"target": "y", "splits": (1.0, 0.0, 0.0)}
    first = prepare(tmp_path / "out", tmp_path / "a.csv", **options)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    assert prepare(tmp_path / "out", tmp_path / "a.csv", **options) == first
    with pytest.raises(UserError, match=r"out was made with --bins=254, not 9; name another --output"):
        prepare(tmp_path / "out", tmp_path / "a.csv", bins=9, **options)
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    (tmp_path / "out" / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="manifest.json is damaged"):
        prepare(tmp_path / "out", tmp_path / "a.csv", **options)
    (tmp_path / "out" / "manifest.json").unlink()  # as of a try that was killed
    (tmp_path / "out" / "train" / "00007.parquet").write_text("old")
    (tmp_path / ".out.prepare").mkdir()
    assert prepare(tmp_path / "out", tmp_path / "a.csv", **options)["splits"] == first["splits"]
    assert not (tmp_path / "out" / "train" / "00007.parquet").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="mine holds 'thesis.txt'"):
        prepare(tmp_path / "mine", tmp_path / "a.csv", **options)


def test_a_file_in_the_place_of_a_folder(prepare, tmp_path):
    (tmp_path / "a.csv").write_text(GOOD)
    with pytest.raises(UserError, match="a file is in the place of a folder"):
        prepare(tmp_path / "a.csv" / "out", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == GOOD


@pytest.mark.parametrize(
    "uri, match",
    [
        ("hdfs://127.0.0.1:1/a.csv", ":1 did not answer in . s of tries; check that the name node runs there"),
        ("gs://bucket/a.csv", "no files of 'Google.*'; add their package"),
        ("s3://bucket/a.csv", "no files of 'S3AFileSystem'; add their package"),
    ],
)
def test_storage_that_is_not_there(prepare, spark, tmp_path, uri, match):
    spark._jsc.hadoopConfiguration().set("ipc.client.connect.max.retries", "1")
    with pytest.raises(UserError, match=match):
        prepare(tmp_path / "out", uri)


@pytest.mark.parametrize(
    "text, match",
    [
        ("java.io.IOException: No space left on device", "the disk is full"),
        (
            "o.a.h.security.AccessControlException: Permission denied: user=a, path=/b",
            "may not be .*Permission denied: user",
        ),
        ("java.io.FileNotFoundException: /a/b.csv (Permission denied)", "may not be read"),
        ("java.io.FileNotFoundException: File file:/a/b.csv does not exist", "a file is gone"),
        ("ModuleNotFoundError: No module named 'pandas'", "workers has no pandas"),
    ],
)
def test_what_spark_says_is_told_in_a_sentence(text, match):
    from pyspark.errors import PySparkException

    from research.prepare import session

    with pytest.raises(UserError, match=match), session.explained():
        raise PySparkException(text)
    with pytest.raises(PySparkException), session.explained():
        raise PySparkException("a defect")


@pytest.mark.parametrize(
    "options, match",
    [
        ({"input": ()}, "--input is missing"),
        ({"splits": (0.5, 0.6, 0.1)}, "--splits is 0.5,0.6,0.1; give the shares"),
        ({"splits": (1.0,)}, "--splits is 1; give the shares"),
        ({"splits": (0.0, 0.5, 0.5)}, "--splits is 0,0.5,0.5; give the shares"),
        ({"bins": -1}, "--bins is -1; it must be at least 0"),
        ({"bins": 65535}, "--bins is 65535; it must be at most"),
        ({"rows_per_shard": 0}, "--rows_per_shard is 0; it must be at least 1"),
        ({"format": "cvs"}, "no --format=cvs; did you mean 'csv'"),
        ({"format": "images", "target": "y"}, "leave out --sql --target"),
        ({"schema": {"a": "nmber"}}, "type 'nmber'; did you mean 'number'"),
    ],
)
def test_options(options, match):
    from research.prepare import request

    with pytest.raises(UserError, match=match):
        request.make(**{"input": ("a",), "output": "b", **options})
    with pytest.raises(UserError, match="--schema has 'a', which should be name:type"):
        request.pairs(["a"])


def test_neither_spark_nor_java(monkeypatch):
    from research.prepare import session

    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(UserError, match="there is no Java here; Spark needs Java 17"):
        session.start("local[1]")
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(UserError, match=r"pip install '.\[spark\]'"):
        session.start("local[1]")


def command(*arguments):
    """A process of launch.prepare."""
    fast = [f"--conf={name}={value}" for name, value in FAST.items()]
    argv = [sys.executable, "-m", "launch.prepare", "--master=local[2]", *fast, *arguments]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_line(prepare, tmp_path):
    (tmp_path / "a.csv").write_text(GOOD)
    done = command(f"--input={tmp_path}/a.csv", f"--output={tmp_path}/out", "--target=y", "--splits=1,0,0")
    out, err = done.communicate()
    assert (done.returncode, err) == (0, "")
    assert out == f"{tmp_path}/out: 4 rows of train, 0 rows of valid, 0 rows of test\n"
    prepare(tmp_path / "here", tmp_path / "a.csv", target="y", splits=(1.0, 0.0, 0.0))  # by another JVM
    one, other = (tmp_path / name / "train" / "00000.parquet" for name in ("out", "here"))
    assert one.read_bytes() == other.read_bytes()
    for arguments, match in (
        (["--input=a", "--output=o", "--every=3"], "--every=3 goes with --stream"),
        ([f"--input={tmp_path}/absent.csv", f"--output={tmp_path}/o"], f"--input={tmp_path}/absent.csv is not there"),
    ):
        done = command(*arguments)
        out, err = done.communicate()
        assert done.returncode == 2 and err.startswith(f"error: {match}") and err.count("\n") == 1, err


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_run_that_is_stopped_leaves_nothing(tmp_path, number, status):
    sql = "select id, id % 7 as seven, sin(id) as s, cast(id % 11 as string) as word from range(300000)"
    running = command(f"--sql={sql}", f"--output={tmp_path}/out", "--rows_per_shard=3000")
    while not (tmp_path / ".out.prepare").exists() and running.poll() is None:
        time.sleep(0.02)
    time.sleep(0.2)
    while running.poll() is None:  # a signal may come within a finaliser, where Python drops what it raises
        os.kill(running.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(20)
    out, err = running.communicate()
    assert (running.returncode, out) == (status, ""), err
    assert err == "stopped; nothing was made; the same command starts anew.\n"
    assert not list(tmp_path.iterdir())
