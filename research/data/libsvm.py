"""Rows as text, "label[:weight] [qid:number] index:value ... # comment", as LIBSVM, SVMlight and XGBoost write them.

A value that is not written is missing, as XGBoost takes it. Entry points: `load`, `read`, `blocks`.
"""

import io
import itertools
import pathlib
import re

import numpy as np
from sklearn.datasets import load_svmlight_file

from research.data.source import Dataset, from_arrays, holdout
from research.errors import UserError

ROWS = 65536  # of a block
LARGEST = float(np.finfo(np.float32).max)


def load(config):
    """The Dataset of a file `config.dir`, of which a tenth is held out by `config.seed`, or of the files train.libsvm
    and test.libsvm of that folder; x float32 [F] and y a number. Raises UserError for files that cannot be read, and
    for weights, which a run does not take."""
    path = pathlib.Path(config.dir).expanduser()
    paths = [path / "train.libsvm", path / "test.libsvm"] if path.is_dir() else [path]
    columns = max(_extent(path)[1] for path in paths) + 1
    tables = [read(path, columns) for path in paths]
    if any(w is not None for _, _, w in tables):
        raise UserError(f"{paths[0]} has weights, which a run does not take; write labels without them.")
    x, y, _ = zip(*tables)
    if len(paths) == 1:
        parts = holdout(len(x[0]), config.seed, path)
        x, y = [x[0][i] for i in parts], [y[0][i] for i in parts]
    names = tuple(f"column {i}" for i in range(columns))
    return Dataset(*(from_arrays(a, y=b) for a, b in zip(x, y)), (columns,), feature_names=names)


def read(path, columns=None, first=0, absent=np.nan):
    """(x float32 [N, F], y float32 [N], weights float32 [N] or None) of a whole file; arguments as of `blocks`."""
    found = list(blocks(path, columns, first, absent))
    return *(np.concatenate(part) for part in zip(*found)), *[None] * (3 - len(found[0]))


def blocks(path, columns=None, first=0, absent=np.nan, rows=ROWS):
    """Yields (x float32 [n, F], y float32 [n]), and weights [n] where labels have them, of each `rows` lines.

    columns: F; None: as many as there are, which takes a pass of its own. first: the index of the first column, 0 as
    XGBoost's, 1, or "auto", 1 where no index is 0. absent: what stands for a value that is not written, NaN or 0. qid
    is left out. Raises UserError that names the file, the line and what stands there.
    """
    if columns is None or first == "auto":
        low, high = _extent(path)
        first = min(low, 1) if first == "auto" else first
        columns = high + 1 - first if columns is None else columns
    if columns < 1:
        raise UserError(f"{path} has no column; write at least one index:value.")
    for y, w, row, index, value in _parsed(path, rows):
        if len(index) and not first <= index.min() <= index.max() < columns + first:
            bad = index.min() if index.min() < first else index.max()
            place = f"{path}, line {_line(path, bad)}"
            raise UserError(f"{place} has the index {bad}; of {columns} columns they go from {first}.")
        x = np.full((len(y), columns), absent, np.float32)
        x[row, index - first] = value
        yield (x, y) if w is None else (x, y, w)


def _extent(path):
    """(lowest, highest index) of a file; (1, -1) of one with no index."""
    ends = [(index.min(), index.max()) for *_, index, _ in _parsed(path, ROWS) if len(index)]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (1, -1)


def _line(path, index):
    """The number of the first line of a file that has this index."""
    found = re.compile(rb"[^#]*\s0*%d:" % index)
    with open(path, "rb") as file:
        return next(number for number, line in enumerate(file, 1) if found.match(line))


def _parsed(path, rows):
    """Yields (y [n], weights [n] or None, and of each value its row, index and itself) of each `rows` lines."""
    start, weighted = 1, None
    try:
        with open(path, "rb") as file:
            while lines := list(itertools.islice(file, rows)):
                found = None if weighted else _fast(lines)
                found = _slow(lines, path, start, weighted) if found is None else found
                if len(found[0]):
                    weighted = found[1] is not None
                    yield found
                start += len(lines)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}); name the file, or the folder of train.libsvm.") from error
    if weighted is None:
        raise UserError(f"{path} has no rows; give at least one.")


def _fast(lines):
    """scikit-learn's reading of lines, or None where it finds a mistake or reads them differently."""
    if any(b":" in line.split(None, 1)[0] for line in lines if line.strip()):
        return None  # a weight, or an index where the label should be
    try:
        x, y, _ = load_svmlight_file(io.BytesIO(b"".join(lines)), zero_based=True, query_id=True)
    except (ValueError, OverflowError, IndexError):
        return None
    if not (np.abs(y) <= LARGEST).all() or (np.abs(x.data) > LARGEST).any() or (x.indices < 0).any():
        return None
    row = np.repeat(np.arange(len(y)), np.diff(x.indptr))
    return y.astype(np.float32), None, row, x.indices, x.data.astype(np.float32)


def _slow(lines, path, start, weighted):
    """What `_fast` gives, also where there are weights or indices in any order. Raises UserError for a mistake."""
    y, w, row, index, value = [], [], [], [], []
    for number, line in enumerate(lines, start):
        label, *cells = line.partition(b"#")[0].split() or [None]
        if label is None:
            continue
        place, (label, given, weight) = f"{path}, line {number}", label.partition(b":")
        y.append(_number(label, f"{place}: the label"))
        weighted = bool(given) if weighted is None else weighted
        if bool(given) != weighted:
            has = "has a weight, and lines above have" if given else "has no weight, and lines above have"
            raise UserError(f"{place} {has} {'none' if given else 'one'}; write a weight for each label, or for none.")
        w.append(_number(weight, f"{place}: the weight") if given else 1)
        pairs = [_pair(cell, place) for cell in cells if not cell.startswith(b"qid:")]
        if len({i for i, _ in pairs}) < len(pairs):
            raise UserError(f"{place} has an index twice; write each once.")
        row += [len(y) - 1] * len(pairs)
        index += [i for i, _ in pairs]
        value += [v for _, v in pairs]
    y, w, value = (np.array(part, np.float32) for part in (y, w, value))
    return y, w if weighted else None, np.array(row, int), np.array(index, int), value


def _pair(cell, place):
    index, colon, value = cell.partition(b":")
    if not (colon and index.isdigit()):
        raise UserError(f"{place} has '{_text(cell)}', which should be index:value.")
    return int(index), _number(value, f"{place}: the value of {int(index)}", missing=True)


def _number(word, what, missing=False):
    try:
        found = float(word)
        if abs(found) <= LARGEST or (missing and found != found):
            return found
    except ValueError:
        pass
    raise UserError(f"{what} is '{_text(word)}', which is no number of float32.")


def _text(word):
    return word.decode("ascii", "replace")
