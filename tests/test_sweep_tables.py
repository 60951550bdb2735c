"""A sweep's numbers as tables: a row a trial, a row a number, and what SQL finds there."""

import json
import math
import sys

import pytest
from pyarrow import parquet

from research import sweep_report, sweep_tables
from research.errors import UserError

RATE = "optimizer.learning_rate"


@pytest.fixture
def folder(tmp_path):
    """Rates 0.1, 0.2, 0.3 with nets and channels of different types; the last has not begun, the second not ended."""
    trials = {f"r={i}": {RATE: i / 10, "net": [8, i], "width": i if i < 3 else "wide"} for i in (1, 2, 3)}
    for name, fields in trials.items():
        (tmp_path / name).mkdir()
        frozen = {"optimizer": {"learning_rate": fields[RATE]}, "net": fields["net"], "width": fields["width"]}
        (tmp_path / name / "frozen.json").write_text(json.dumps(frozen))
    for i in (1, 2):
        lines = [{"step": 5, "loss": 2.0 * i}, {"step": 10, "loss": 1.0 * i, "eval/loss": float("nan")}]
        text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 1'  # a kill cut the last line short
        (tmp_path / f"r={i}" / "metrics.jsonl").write_text(text)
    (tmp_path / "r=1" / "evaluation.json").write_text(json.dumps({"loss": 0.5, "note": "words", "accuracy": 1}))
    sweep_report.record(tmp_path, trials)
    return tmp_path


def test_rows_of_both_tables(folder):
    tables = sweep_tables.write(folder)
    trials, metrics = (tables[name].to_pylist() for name in ("trials", "metrics"))
    assert trials[0] == {
        **{"trial": "r=1", "state": "finished", "step": 10, RATE: 0.1, "net": "[8, 1]", "width": "1"},
        **{"loss": 0.5, "accuracy": 1},
    }
    assert [row["state"] for row in trials] == ["finished", "begun", "to do"]
    assert [row["width"] for row in trials] == ["1", "2", "wide"] and trials[2]["loss"] is None
    assert len(metrics) == 6 and list(metrics[0]) == ["trial", "net", RATE, "width", "step", "metric", "value"]
    assert [(row["trial"], row["step"], row["metric"]) for row in metrics[:3]] == [
        ("r=1", 5, "loss"),
        ("r=1", 10, "loss"),
        ("r=1", 10, "eval/loss"),
    ]
    swept = {RATE: 0.2, "net": "[8, 2]", "width": "2"}
    assert metrics[4] == {"trial": "r=2", **swept, "step": 10, "metric": "loss", "value": 2.0}
    assert math.isnan(metrics[2]["value"])


def test_files_are_those_tables(folder):
    tables = sweep_tables.write(folder)
    assert sorted(path.name for path in (folder / "tables").iterdir()) == ["metrics.parquet", "trials.parquet"]
    for name, table in tables.items():
        assert parquet.read_table(folder / "tables" / f"{name}.parquet").schema == table.schema


def test_a_sweep_that_has_not_begun_has_tables_of_known_types(tmp_path):
    sweep_report.record(tmp_path, {"a": {"seed": 1}})
    tables = sweep_tables.write(tmp_path)
    assert tables["metrics"].num_rows == 0 and tables["trials"].num_rows == 1
    assert [str(t) for t in tables["metrics"].schema.types] == ["string", "double", "int64", "string", "double"]
    with pytest.raises(UserError, match="no sweep"):
        sweep_tables.write(tmp_path / "none")


def test_sql_joins_and_groups(folder):
    pytest.importorskip("duckdb")
    tables = sweep_tables.write(folder)
    sql = f"""select trials.trial, "{RATE}" * 10 as ten, min(value) as least, trials.loss from metrics
              join trials using (trial, "{RATE}") where metric = 'loss' group by all order by 1"""
    names, rows = sweep_tables.query(tables, sql)
    assert names == ["trial", "ten", "least", "loss"]
    assert rows == [("r=1", 1.0, 1.0, 0.5), ("r=2", 2.0, 2.0, None)]
    assert sweep_tables.query(tables, "select 1.5 a, count(*) a from trials") == (["a", "a_1"], [(1.5, 3)])


def test_forms():
    names, rows = ["trial", "x"], [("a,b", 0.25), ("c", None)]
    assert sweep_tables.shown(names, rows, "text") == "trial  x\na,b    0.25\nc      -"
    assert sweep_tables.shown(names, rows, "csv") == 'trial,x\n"a,b",0.25\nc,\n'
    assert json.loads(sweep_tables.shown(names, [*rows, ("d", float("nan"))], "json")) == [
        {"trial": "a,b", "x": 0.25},
        {"trial": "c", "x": None},
        {"trial": "d", "x": None},
    ]
    assert [sweep_tables.shown(names, [], form) for form in ("text", "csv", "json")] == ["trial  x", "trial,x\n", "[]"]


WRONG = {
    "select lost from trials": 'wrong: Binder Error: Referenced column "lost" not found',
    "selec 1": "wrong: Parser Error: syntax error at or near",
    "select * from nowhere": "wrong: Catalog Error: Table with name nowhere does not exist",
    "": "asks for nothing",
}


@pytest.mark.parametrize("sql, match", WRONG.items(), ids=WRONG)
def test_a_wrong_query_is_one_sentence(folder, sql, match):
    pytest.importorskip("duckdb")
    with pytest.raises(UserError, match=match) as caught:
        sweep_tables.query(sweep_tables.write(folder), sql)
    assert "\n" not in str(caught.value) and "LINE" not in str(caught.value)


def test_without_duckdb_the_sentence_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(UserError, match="pip install duckdb"):
        sweep_tables.query(sweep_tables.write(folder), "select 1")
