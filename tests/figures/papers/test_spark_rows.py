"""Spark against pandas by rows: commands, what is timed, ratios by hand, what rows say."""

import json
import pathlib

import pytest

from research import reproduce
from research.figures.papers import spark_rows
from research.reproduce import records, verdict


@pytest.fixture
def points():
    times = {"spark": [10.0, 12.0, 20.0], "pandas": [1.0, 2.0, 6.0]}
    return {"rows": [1000, 2000, 6000], "megabytes": [1.0, 2.0, 6.0], "columns": 4, "load": 0.0} | times


def test_both_ways_read_the_same_csv_and_write_apart(tmp_path):
    lines = spark_rows.commands(tmp_path / "table.csv", tmp_path)
    assert list(lines) == list(spark_rows.STYLES)
    assert f"--input={tmp_path}/table.csv" in lines["spark"] and "--master=local[2]" in lines["spark"]
    assert f"--output={tmp_path}/spark" in lines["spark"] and f"'{tmp_path}/pandas'" in lines["pandas"][1]
    compile(lines["pandas"][1], "command", "exec")


def test_the_command_of_pandas_makes_shards(tmp_path):
    pytest.importorskip("pandas")
    spark_rows.data.write_csv(tmp_path / "table.csv", 300, 2)
    exec(spark_rows.commands(tmp_path / "table.csv", tmp_path)["pandas"][1], {})
    assert {path.name for path in (tmp_path / "pandas").iterdir()} == {"train", "valid", "test"}


def test_each_size_is_written_and_timed(monkeypatch):
    seen = []

    def run(command):
        words = command[-1] if command[0] == "-c" else command[2].removeprefix("--input=")
        source = pathlib.Path(words.split("'")[1] if command[0] == "-c" else words)
        seen.append((command[0], len(source.read_text().splitlines()) - 1))

    monkeypatch.setattr(spark_rows, "SIZES", {"smoke": (30, 70)})
    monkeypatch.setattr(spark_rows, "run", run)
    monkeypatch.setattr(spark_rows.data, "timed", lambda call: call() or float(len(seen)))
    found = records.plain(spark_rows.load({}, "smoke"))
    assert seen == [("-m", 30), ("-c", 30), ("-m", 70), ("-c", 70)]
    assert found["rows"] == [30, 70] and found["spark"] == [1, 3] and found["pandas"] == [2, 4]
    assert found["megabytes"][0] < found["megabytes"][1] and found["columns"] == spark_rows.data.COLUMNS


def test_a_command_that_fails_is_not_timed():
    with pytest.raises(spark_rows.subprocess.CalledProcessError):
        spark_rows.run(["-c", "raise SystemExit(3)"])


def test_ratios_and_the_time_of_more_rows(points):
    assert spark_rows.ratios(points) == pytest.approx([10, 6, 10 / 3])
    assert spark_rows.more(points, "spark") == 2000 and spark_rows.more(points, "pandas") == 1000


def test_rows_turn_with_the_points(points):
    (row,) = spark_rows.rows(points)
    assert row["verdict"] == verdict.TREND and row["ours"] == "10.00, 6.00, 3.33"
    assert "1,000 to 6,000 rows" in row["what"]
    for spark, found in (([10.0, 12.0, 70.0], verdict.DIFFERS), ([10.0, 30.0, 20.0], verdict.TREND)):
        assert spark_rows.rows(points | {"spark": spark})[0]["verdict"] == found


def test_lines_and_ratios_are_drawn(points):
    pytest.importorskip("matplotlib")
    left, right = spark_rows.draw(json.loads(json.dumps(points))).axes
    assert all(axis.get_xlabel() == "rows" and axis.get_ylabel() for axis in (left, right))
    assert [line.get_ydata().tolist() for line in left.lines] == [points["spark"], points["pandas"]]
    assert left.get_legend().get_texts()[0].get_text() == "Spark, local[2]: launch.prepare (2000 s a million rows more)"
    assert [text.get_text().split("\n")[0] for text in right.texts] == ["10.00", "6.00", "3.33"]


def test_needs_and_scales():
    assert spark_rows.NEEDS[:2] == ("java", "pyspark") and set(spark_rows.SIZES) == set(reproduce.SCALES)
    assert max(spark_rows.SIZES["full"]) == 2_000_000 and spark_rows.runs("smoke") == spark_rows.runs("full") == {}
