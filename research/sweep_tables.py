"""A sweep's numbers as Parquet tables, which Spark, pandas or DuckDB read: `write`, and SQL on them: `query`."""

import csv
import decimal
import io
import itertools
import json

import pyarrow as pa
from pyarrow import parquet

from research import evaluation, sweep_report, workdir
from research.atomic import replacing
from research.errors import UserError
from research.metrics_writer import read

FOLDER = "tables"
TYPES = {"trial": pa.string(), "state": pa.string(), "step": pa.int64(), "metric": pa.string(), "value": pa.float64()}


def write(path):
    """Writes tables/trials.parquet and tables/metrics.parquet into a sweep's folder; {name: pyarrow.Table}.

    trials has a row a trial: trial, state, step, each swept field under its own name, the numbers of its evaluation.
    metrics has a row for each number in its metrics.jsonl: trial, the swept fields, step, metric, value. Raises
    UserError for a folder that is no sweep's.
    """
    report = sweep_report.load(path)
    heads, trials, metrics = ("trial", *report["fields"]), [], []
    for row in report["trials"]:
        found = workdir.load_evaluation(_folder(path, row, report["fields"])) or {}
        trials.append({name: row[name] for name in ("state", "step", *heads)} | dict(_numbers(found)))
    tables = {"trials": _table(trials, ["trial", "state", "step", *report["fields"]], TYPES)}
    own = tables["trials"].select(heads)  # swept fields have one type in both tables
    for head in own.to_pylist():
        for line in read(_folder(path, head, report["fields"]) / "metrics.jsonl"):
            step = {"step": line.pop("step")}
            metrics += [head | step | {"metric": name, "value": value} for name, value in _numbers(line)]
    types = TYPES | dict(zip(heads, own.schema.types))
    tables["metrics"] = _table(metrics, [*heads, "step", "metric", "value"], types)
    (path / FOLDER).mkdir(exist_ok=True)
    for name, table in tables.items():
        with replacing(path / FOLDER / f"{name}.parquet") as file:
            parquet.write_table(table, file)
    return tables


def query(tables, sql):
    """(names of columns, rows) that DuckDB finds for a query on tables. Raises UserError for one that is wrong.

    Fields and metrics stand in double quotes there: select "optimizer.learning_rate", min(value) from metrics ...
    """
    try:
        import duckdb
    except ImportError:
        raise UserError("--sql needs DuckDB, which is not installed; pip install duckdb.") from None
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        try:
            found = connection.sql(sql)
            if found is None:
                raise UserError(f"--sql={sql} asks for nothing; write a query: select ... from trials or metrics.")
            rows = found.fetchall()
        except duckdb.Error as error:
            reason = " ".join(str(error).partition("\nLINE ")[0].split())
            raise UserError(f"--sql={sql} is wrong: {reason.rstrip('.')}; the tables are trials and metrics.") from None
        names = [f"{name}_{i}" if name in found.columns[:i] else name for i, name in enumerate(found.columns)]
        return names, [tuple(map(_plain, row)) for row in rows]


def shown(names, rows, form):
    """What was found as a "text" of aligned columns, as "csv", or as "json", a list of objects."""
    if form == "json":
        return "[" + ",\n ".join(evaluation.dumps(dict(zip(names, row))) for row in rows) + "]"
    if form == "csv":
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([names, *rows])
        return file.getvalue()
    return "\n".join(sweep_report.aligned([dict(zip(names, row)) for row in rows])) if rows else "  ".join(names)


def _folder(path, row, fields):
    return sweep_report.result_of(path / row["trial"], fields)


def _numbers(found):
    return [(name, x) for name, x in found.items() if isinstance(x, int | float) and not isinstance(x, bool)]


def _plain(value):
    return float(value) if isinstance(value, decimal.Decimal) else value


def _table(rows, first, types):
    """Rows of dicts as a pyarrow.Table: the columns `first`, then those that any row has."""
    names = dict.fromkeys(itertools.chain(first, *rows))
    return pa.table({name: _column([row.get(name) for row in rows], types.get(name)) for name in names})


def _column(values, kind=None):
    """Values of one type, nothing as float64; of several types as words."""
    values = [json.dumps(value) if isinstance(value, list | tuple | dict) else value for value in values]
    try:
        column = pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        column = pa.array([None if value is None else str(value) for value in values])
    return column.cast(pa.float64()) if pa.types.is_null(column.type) else column
