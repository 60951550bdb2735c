"""Which columns are numbers and which are words, and the first cell that is neither, by file and row."""

from typing import NamedTuple
from urllib.parse import unquote

from pyspark.sql import functions as F
from pyspark.sql import types as T

from research.errors import UserError, nearest
from research.prepare.request import KINDS, shown

BAD = "_row_of_another_form"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"  # a cast alone would take Java's 1d and 0x1p3
LARGEST = 3.4028234663852886e38  # of float32


class Types(NamedTuple):
    """What a table's columns are: pairs (name, "number" or "category") of features and of the target, and the key."""

    features: tuple
    target: tuple | None
    key: str | None


def column(name):
    """A column by a name of any characters."""
    return F.col("`" + name.replace("`", "``") + "`")


def whole(frame):
    """The frame without its column BAD. Raises UserError for the first row that has one."""
    if BAD not in frame.columns:
        return frame
    rest = [name for name in frame.columns if name != BAD]
    # Spark reads no column of bad rows alone, so another one goes with it.
    if rest and frame.where(F.col(BAD).isNotNull()).select(BAD, column(rest[0])).first():
        text, place = _first(frame, F.col(BAD).isNotNull(), F.col(BAD))
        raise UserError(f"{place} is '{text[:80]}', of another form or number of columns ({len(rest)}); mend the row.")
    return frame.drop(BAD)


def types(frame, request):
    """The Types of a frame's columns: as --schema and --categorical say, else numbers where all words are numbers.

    Raises UserError for a name that is no column, and for a column some of whose words are no numbers.
    """
    names = frame.columns
    for flag in ("target", "key", "categorical", "schema"):
        said = getattr(request, flag) or ()
        for name in [said] if isinstance(said, str) else said:
            if name not in names:
                raise UserError(f"--{flag} names '{name}', which is no column of the table; {nearest(name, names)}")
    features = [name for name in names if name not in (request.target, request.key)]
    if not features:
        raise UserError("the table has no column beside --target and --key; give it features.")
    said = {name: KINDS[kind] for name, kind in request.schema.items()} | dict.fromkeys(request.categorical, "category")
    for field in frame.schema:
        if not isinstance(field.dataType, T.NumericType | T.BooleanType | T.StringType) and field.name != request.key:
            raise UserError(
                f"column '{field.name}' is of the type {field.dataType.simpleString()}; make it a number or words, or "
                "leave it out, by --sql."
            )
    kinds = check(frame, [name for name in names if name != request.key], said, request.missing_word)
    target = (request.target, kinds[request.target]) if request.target else None
    return Types(tuple((name, kinds[name]) for name in features), target, request.key)


def check(frame, names, said, missing_word):
    """{name: kind} of columns, of which `said` are known. Raises UserError for the first cell of another kind."""
    text = {f.name for f in frame.schema if isinstance(f.dataType, T.StringType)}
    checked = [name for name in names if said.get(name) != "category"]
    cells = {name: (_word(name, missing_word) if name in text else column(name)) for name in checked}
    right = {name: _is_number(cells[name], name in text) for name in checked}
    counts = [F.count(cells[name]) for name in checked] + [F.count(F.when(right[name], 1)) for name in checked]
    found = frame.agg(F.count(F.lit(1)), *counts).first()
    if not found[0]:
        raise UserError("--input has no rows; check the path and --sql.")
    kinds = dict.fromkeys(names, "category")
    for i, name in enumerate(checked, 1):
        filled, numbers = found[i], found[i + len(checked)]
        if numbers == filled:
            kinds[name] = "number"
        elif numbers or name in said or name not in text:
            value, place = _first(frame, ~right[name] & cells[name].isNotNull(), cells[name])
            others = "by --schema it should be" if name in said else f"{numbers} of {filled} are"
            raise UserError(
                f"{place}: column '{name}' has '{value}', which is no number of float32, and {others}; mend it, or "
                f"take the column as words by --categorical={name}."
            )
    return kinds


def typed(frame, types, missing_word, keep=()):
    """The frame with columns f0, f1, ... of the features, "target" and "key": float32 or words, null where missing."""
    text = {f.name for f in frame.schema if isinstance(f.dataType, T.StringType)}
    named = [(f"f{i}", *feature) for i, feature in enumerate(types.features)]
    named += [("target", *types.target)] if types.target else []
    cells = [value(name, kind, name in text, missing_word).alias(to) for to, name, kind in named]
    key = [column(types.key).cast("string").alias("key")] if types.key else []
    return frame.select(*cells, *key, *keep)


def value(name, kind, text, missing_word):
    """A cell as float32, without -0 and NaN, or as a word."""
    cell = _word(name, missing_word) if text else column(name)
    if kind == "category":
        return cell if text else cell.cast("string")
    number = (cell.try_cast("double") if text else cell.cast("double")).cast("float")  # rounded twice, as numpy's
    return F.when(number == 0, F.lit(0.0)).when(~F.isnan(number), number).cast("float")


def _word(name, missing_word):
    word = F.trim(column(name))
    return F.when((word != "") & (word != missing_word), word)


def _is_number(cell, text):
    """Whether a cell that is not null is a number of float32, or NaN."""
    if not text:
        number = cell.cast("double")
        return F.isnan(number) | (F.abs(number) <= LARGEST)
    number = F.coalesce(cell.try_cast("double"), F.lit(float("inf")))
    return (F.lower(cell) == "nan") | (cell.rlike(NUMBER) & (F.abs(number) <= LARGEST))


def _first(frame, wrong, cell):
    """(the first cell whose row is wrong, "FILE, row N"); rows of a file are counted from 1, without its header.

    Files are read in parts: their row numbers come from where a part starts and the order within it.
    """
    if "file" in frame.columns:  # of a stream
        word, file = frame.where(wrong).select(cell.cast("string"), "file").first()
        return word, shown(unquote(file))
    try:
        rows = frame.select(
            "*",
            F.col("_metadata.file_path").alias("_file"),
            F.col("_metadata.file_block_start").alias("_start"),
            F.monotonically_increasing_id().alias("_id"),
        )
        order = F.struct("_file", "_start", "_id")
        some = column(next(name for name in frame.columns if name != BAD))  # Spark reads no BAD alone
        found = rows.where(wrong).select(F.min_by(F.struct(order, cell.cast("string"), some), order)).first()[0]
        (file, start, row), word = found[:2]
    except Exception as error:
        if type(error).__name__ != "AnalysisException":  # what comes out of --sql is no row of a file
            raise
        return frame.where(wrong).select(cell.cast("string")).first()[0], "the table"
    before = (F.col("_start") < start) | ((F.col("_start") == start) & (F.col("_id") < row))
    return word, f"{shown(unquote(file))}, row {rows.where((F.col('_file') == file) & before).count() + 1}"
