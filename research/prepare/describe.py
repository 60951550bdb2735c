"""What a table is like, for a person: counts, quantiles, what is missing, by class; and the words of a column."""

import csv
import io
import pathlib

from pyspark.sql import functions as F

from research.atomic import replacing
from research.errors import UserError, nearest
from research.figures import canvas
from research.prepare import reading, schema, session
from research.prepare.folder import Folder

SHARES = {"min": 0.0, "5%": 0.05, "25%": 0.25, "50%": 0.5, "75%": 0.75, "95%": 0.95, "max": 1.0}
ACCURACY = 0.001  # of a quantile's rank
BOX = {"whislo": "5%", "q1": "25%", "med": "50%", "q3": "75%", "whishi": "95%"}
CLASSES = 20  # shown at most
SPLIT_AT = r"(?U)[\s\x1c-\x1f]+"  # what Python's str.split takes for space


def table(spark, request):
    """A pandas table, one row a column of all input rows, for each class too where the target has few values."""
    import pandas as pd

    with session.explained():
        frame = reading.table(spark, request)
        types = schema.types(frame, request)
        rows = schema.typed(frame, types, request.missing_word).persist()
        names = [(f"f{i}", *feature) for i, feature in enumerate(types.features)]
        names += [("target", *types.target)] if types.target else []
        groups = {"all": rows}
        if types.target:
            seen = sorted(
                row[0] for row in rows.select("target").distinct().limit(CLASSES + 1).collect() if row[0] is not None
            )
            if len(seen) <= CLASSES:
                groups |= {f"{types.target[0]}={value}": rows.where(F.col("target") == F.lit(value)) for value in seen}
        found = [line for group, part in groups.items() for line in _lines(group, part, names)]
        rows.unpersist()
    return pd.DataFrame(found)


def _lines(group, rows, names):
    numbers = [name for name, _, kind in names if kind == "number"]
    sums = [f(name) for name, *_ in names for f in (F.count, F.approx_count_distinct)]
    sums += [f(name) for name in numbers for f in (F.avg, F.stddev)]
    count, *found = rows.agg(F.count(F.lit(1)), *sums).first()
    quantiles = dict(zip(numbers, rows.approxQuantile(numbers, list(SHARES.values()), ACCURACY))) if numbers else {}
    for i, (name, shown, kind) in enumerate(names):
        line = {"rows of": group, "column": shown, "kind": kind, "count": count, "missing": count - found[2 * i]}
        if kind == "number":
            at = 2 * len(names) + 2 * numbers.index(name)
            line |= {"mean": found[at], "std": found[at + 1]} | dict(zip(SHARES, quantiles[name]))
        yield line | {"distinct, about": found[2 * i + 1]}


def write(table, to):
    """Writes a table as .html or .png, or prints it where `to` is "-". Raises UserError for another ending."""
    path = None if to == "-" else pathlib.Path(to).expanduser()
    if path is None:
        print(table.to_string(index=False, na_rep="", float_format="{:g}".format))
        return
    check(to)
    if path.suffix == ".html":
        content = table.to_html(index=False, na_rep="", float_format="{:g}".format).encode()
    else:
        content = _drawn(table)
    with replacing(path) as file:
        file.write(content)


def check(to):
    """Raises UserError unless `to` is "-" or a file of a known ending in a folder that is there."""
    path = pathlib.Path(to).expanduser()
    if to != "-" and path.suffix not in (".html", ".png"):
        raise UserError(f"--describe={to} must end in .html or .png, or be - for text.")
    if not path.parent.is_dir():
        raise UserError(f"--describe={to}: there is no folder {path.parent}; make it first.")


def _drawn(table):
    """The bytes of a PNG: for each column of numbers the boxes of its quantiles, one a class."""
    numbers = table[table["kind"] == "number"]
    names = list(dict.fromkeys(numbers["column"]))
    if not names:
        raise UserError("no column has numbers to draw; take --describe=-.")
    wide = min(4, len(names))
    figure = canvas.figure(3 * wide, 2.4 * -(-len(names) // wide))
    for axes, name in zip(figure.subplots(-(-len(names) // wide), wide, squeeze=False).flat, names):
        part = numbers[numbers["column"] == name].dropna(subset="50%")
        boxes = [
            {"label": row["rows of"]} | {key: row[share] for key, share in BOX.items()} for _, row in part.iterrows()
        ]
        axes.bxp(boxes, showfliers=False)
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=6)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=150)
    return out.getvalue()


def words(spark, request, name):
    """[(word, count)] of a column of text, split at white space, the most frequent first, then by the alphabet.

    Written to <output>/word_count.csv too where there is an output. Raises UserError for no such column.
    """
    with session.explained():
        frame = reading.table(spark, request)
        if name not in frame.columns:
            raise UserError(f"--word_count names '{name}', which is no column; {nearest(name, frame.columns)}")
        word = F.explode(F.split(schema.column(name).cast("string"), SPLIT_AT)).alias("word")
        counts = frame.select(word).where("word != ''").groupBy("word").count().orderBy(F.desc("count"), "word")
        found = [(row["word"], row["count"]) for row in counts.collect()]
        if request.output:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([("word", "count"), *found])
            Folder(spark, request.output).write("word_count.csv", text.getvalue())
    return found
