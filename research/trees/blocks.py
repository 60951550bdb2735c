"""The rows of a table in blocks of float32, checked: from arrays, frames, Parquet files or any iterator."""

import os
import pathlib
from typing import NamedTuple

import numpy as np

from research.errors import UserError
from research.trees.sketch import BLOCK


class Block(NamedTuple):
    """Some rows: x float32 [n, F], NaN where a value is missing; weight float64 [n] or None; number of the first."""

    x: np.ndarray
    weight: np.ndarray | None
    start: int


def is_stream(x):
    """Whether the rows of x come a block at a time."""
    return hasattr(x, "__next__") or _is_path(x)


def names_of(x, names=None, weight=None):
    """The names of x's columns, or None where they have none.

    `names` picks columns of Parquet files, and names those of an array. Raises UserError for a frame that has others.
    """
    if _is_path(x):
        return tuple(names or (name for name in _files(x)[0].schema_arrow.names if name != weight))
    if not _is_frame(x):
        return None if names is None else tuple(names)
    found = tuple(str(name) for name in x.columns)
    if names and len(found) != len(names):
        raise UserError(f"the table has {len(found)} columns; it should have {len(names)}, {', '.join(names)}.")
    for i, (got, wanted) in enumerate(zip(found, names or found)):
        if got != wanted:
            raise UserError(
                f"column {i} of the table is '{got}' and should be '{wanted}'; give the columns in that order."
            )
    return found


def read(x, names=None, weight=None, columns=None):
    """Yields the Blocks of x, rows and columns counted from 0.

    x: an array [N, F]; a pandas frame; a Parquet file, a folder of them or a list of them; an iterator of arrays [n, F]
    or of pairs of one and its weights [n]. weight [N], or the name of a column of Parquet files. columns: their number.
    Raises UserError that names row and column of text, an infinite value or a bad weight, and for a table with no rows
    or another number of columns.
    """
    names, start = names_of(x, names, weight), 0
    columns = columns or (len(names) if names else None)
    for part, w in _parts(x, names, weight):
        block = _checked(part, w, start, names, columns)
        columns, start = block.x.shape[1], start + len(block.x)
        yield block
    if not start:
        raise UserError("the table has no rows; give at least one.")


def say(name, column):
    """How a sentence names a column."""
    return f"column '{name[column]}'" if name else f"column {column}"


def _parts(x, names, weight):
    if _is_path(x):
        wanted = [*names, *([] if weight is None else [weight])]
        for file in _files(x):
            for absent in set(wanted) - set(file.schema_arrow.names):
                raise UserError(f"a Parquet file of the table has no column '{absent}'; write it, or leave it out.")
            for batch in file.iter_batches(BLOCK, columns=wanted):
                arrays = [batch.column(name).to_numpy(zero_copy_only=False) for name in wanted]
                yield arrays[: len(names)], None if weight is None else arrays[-1]
    elif hasattr(x, "__next__"):
        for part in x:
            part, w = part if isinstance(part, tuple) else (part, None)
            yield _array(part), w
    elif _is_frame(x):
        yield [_series(x.iloc[:, i]) for i in range(len(x.columns))], weight
    else:
        yield _array(x), weight


def _array(x):
    try:
        x = np.asarray(x)
    except ValueError as error:
        raise UserError(f"the table is not [rows, columns]: {error}.") from error
    if x.ndim != 2:
        raise UserError(f"the table has shape {list(x.shape)}; it should be [rows, columns].")
    return x if x.dtype.kind in "biuf" else list(x.T)


def _series(series):
    if series.dtype.kind in "biuf":
        return series.to_numpy(np.float64, na_value=np.nan)
    return series.to_numpy(object)


def _checked(part, weight, start, names, columns):
    """The Block of an array [n, F], or of a list of its columns."""
    width = len(part) if isinstance(part, list) else part.shape[1]
    if not width or (columns and width != columns):
        raise UserError(f"the table has {width} columns; it should have {columns or 'at least one'}.")
    if isinstance(part, list):
        part = np.stack([_numbers(c, start, say(names, i)) for i, c in enumerate(part)], axis=1)
    with np.errstate(over="ignore"):
        x = np.asarray(part, np.float32)
    if np.isinf(x).any():
        row, column = np.argwhere(np.isinf(x))[0]
        raise UserError(
            f"row {start + row}, {say(names, column)} of the table is infinite in float32; mend or drop it."
        )
    return Block(x, None if weight is None else weights(weight, len(x), start), start)


def _numbers(column, start, where):
    if column.dtype.kind in "biuf":
        return column
    numbers = np.empty(len(column))
    for row, value in enumerate(column):
        try:
            if isinstance(value, (str, bytes, complex)):
                raise ValueError
            numbers[row] = np.nan if value is None else float(value)
        except (TypeError, ValueError):
            raise UserError(
                f"row {start + row}, {where} of the table holds {value!r}, not a number; encode the column first."
            ) from None
    return numbers


def weights(weight, rows, start=0):
    """float64 [rows], weights of the rows from `start` on. Raises UserError unless each is finite and 0 or more."""
    weight = np.asarray(weight)
    if weight.dtype.kind not in "biuf":
        weight = _numbers(weight.reshape(-1), start, "the column of weights")
    weight = weight.astype(np.float64)
    if weight.shape != (rows,):
        raise UserError(f"the weights have shape {list(weight.shape)}; there are {rows} rows, a weight each.")
    with np.errstate(over="ignore"):
        bad = ~((weight >= 0) & np.isfinite(weight.astype(np.float32)))  # NaN compares as False
    if bad.any():
        raise UserError(f"the weight of row {start + bad.argmax()} is {weight[bad.argmax()]}; it must be 0 or more.")
    return weight


def _is_frame(x):
    return hasattr(x, "iloc") and hasattr(x, "columns")  # a series has no columns, and other tables no iloc


def _is_path(x):
    return isinstance(x, (str, os.PathLike)) or (
        isinstance(x, (list, tuple)) and len(x) > 0 and all(isinstance(path, (str, os.PathLike)) for path in x)
    )


def _files(x):
    import pyarrow
    import pyarrow.parquet

    paths = [pathlib.Path(path).expanduser() for path in ([x] if isinstance(x, (str, os.PathLike)) else x)]
    paths = [file for path in paths for file in (sorted(path.glob("*.parquet")) if path.is_dir() else [path])]
    try:
        files = [pyarrow.parquet.ParquetFile(path) for path in paths]
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise UserError(f"the table cannot be read as Parquet: {error}") from error
    if not files:
        raise UserError(f"{x} holds no .parquet file; name the files of the table.")
    return files
