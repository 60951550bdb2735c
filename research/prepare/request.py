"""What is asked for: the options that decide the bytes of a folder of shards, checked."""

import math
import pathlib
from typing import NamedTuple

from research.errors import UserError, nearest

FORMATS = ("csv", "parquet", "json", "libsvm", "images", "text", "sql")
SUFFIXES = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".libsvm": "libsvm", ".svm": "libsvm"}
KINDS = {"number": "number", "float": "number", "double": "number", "int": "number", "category": "category"}
KINDS |= {"string": "category"}  # --schema=name:type


class Request(NamedTuple):
    """The options of launch.prepare under their own names; kept in the manifest as "request"."""

    input: tuple = ()  # URIs
    output: str | None = None
    format: str | None = None  # None: by the name of the first input, csv where that says nothing
    sql: str | None = None
    target: str | None = None
    names: tuple = ()  # of a CSV without header
    categorical: tuple = ()
    schema: dict = {}  # noqa: RUF012 - name: one of KINDS; a tuple's default is never written to
    missing_word: str = ""
    bins: int = 254
    rows_per_shard: int = 65536
    row_group_rows: int = 8192
    splits: tuple = (0.8, 0.1, 0.1)
    key: str | None = None
    seed: int = 0


def make(**options):
    """The Request of options as they were given; bare paths become file:// URIs. Raises UserError for a wrong one."""
    asked = Request(**options)
    given = asked._replace(
        input=tuple(map(absolute, asked.input)), output=absolute(asked.output), format=asked.format or _format(asked)
    )
    for name, least in (("bins", 0), ("rows_per_shard", 1), ("row_group_rows", 1)):
        if getattr(given, name) < least:
            raise UserError(f"--{name} is {getattr(given, name)}; it must be at least {least}.")
    if given.bins > 65534:
        raise UserError(f"--bins is {given.bins}; it must be at most 65534.")
    if given.format not in FORMATS:
        raise UserError(f"there is no --format={given.format}; {nearest(given.format, FORMATS)}")
    whole = len(given.splits) == 3 and min(given.splits) >= 0 and math.isclose(sum(given.splits), 1, abs_tol=1e-6)
    if not (whole and given.splits[0] > 0):
        told = ",".join(f"{part:g}" for part in given.splits)
        raise UserError(f"--splits is {told}; give the shares of train, valid and test, which sum to 1: 0.8,0.1,0.1.")
    if not given.input and not given.sql:
        raise UserError("--input is missing: name a file, a folder or a glob, or give --sql over tables of a catalog.")
    if given.format == "images" and (given.sql or given.target or given.names or given.key):
        raise UserError("--format=images takes the folders' names as classes; leave out --sql --target --names --key.")
    for name, kind in given.schema.items():
        if kind not in KINDS:
            raise UserError(f"--schema gives '{name}' the type '{kind}'; {nearest(kind, KINDS)}")
    return given


def pairs(words):
    """{"a": "number"} of ["a:number"]. Raises UserError for a word of another form."""
    for word in words:
        if not all(word.rpartition(":")):
            raise UserError(f"--schema has '{word}', which should be name:type, such as age:number.")
    return {word.rpartition(":")[0]: word.rpartition(":")[2] for word in words}


def record(request):
    """The Request as JSON keeps it."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in request._asdict().items()}


def absolute(uri):
    """A URI as it is, a bare path as file://, so that Spark's default filesystem does not matter."""
    return uri if uri is None or "://" in uri else f"file://{pathlib.Path(uri).expanduser().absolute()}"


def shown(uri):
    """A URI as a person would write it: a path of this machine without file:."""
    return uri.removeprefix("file:").replace("///", "/", 1) if uri.startswith("file:") else uri


def _format(request):
    first = (request.input or ("",))[0].rstrip("/*")
    return "sql" if not first else SUFFIXES.get(pathlib.PurePath(first).suffix, "csv")
