"""A user's own arrays in an .npz file."""

import pathlib
import zipfile
import zlib

import numpy as np

from research.data.source import Dataset, from_arrays, holdout, shuffled
from research.errors import UserError


def load(config):
    """The Dataset of an .npz: `config.dir` is the file, or a folder with data.npz.

    It holds train_x and test_x [N, ...], or x, of which a tenth is held out by `config.seed`; labels are optional, in
    train_y and test_y, or y, integers from 0. uint8 has 256 levels, floats are continuous. Rows that lie sorted by
    their labels are put in an order of `config.seed`.
    Raises UserError that names the array that is missing or wrong.
    """
    path = pathlib.Path(config.dir).expanduser()
    path = path / "data.npz" if path.is_dir() else path
    arrays = read(path)
    whole = "x" in arrays
    splits = [""] if whole else ["train_", "test_"]
    x = [_checked_x(arrays, f"{split}x", path) for split in splits]
    y = [_checked_y(arrays, f"{split}y", xs, path) for split, xs in zip(splits, x)]
    if whole:
        parts = holdout(len(x[0]), config.seed, f"x in {path}")
        x, y = [x[0][i] for i in parts], [None if y[0] is None else y[0][i] for i in parts]
    if x[0].shape[1:] != x[1].shape[1:] or x[0].dtype != x[1].dtype:
        raise UserError(f"train_x and test_x in {path} differ: {_say(x[0])} and {_say(x[1])}; make them alike.")
    if (y[0] is None) != (y[1] is None):
        raise UserError(f"{path} has labels for one of train_x and test_x; give both train_y and test_y, or neither.")
    classes = None if y[0] is None else int(max(y[0].max(), y[1].max())) + 1
    levels = 256 if x[0].dtype == np.uint8 else None
    sources = [_source(*part, config.seed) for part in zip(x, y)]
    return Dataset(*sources, x[0].shape[1:], classes, levels)


def _source(x, y, seed):
    source = from_arrays(x, y)
    return source if y is None or (np.diff(y) < 0).any() else shuffled(source, seed)


def read(path, names=()):
    """All arrays of an .npz as a dict. Raises UserError if it cannot be read or has none of one of `names`."""
    if not path.exists():
        raise UserError(f"{path} does not exist; put the data there, or set data.dir.")
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("it is not a zip file")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is not an .npz of plain arrays ({error}); write it by numpy.savez.") from error
    for name in names:
        _array(arrays, name, path)
    return arrays


def _array(arrays, name, path):
    if name not in arrays:
        raise UserError(f"{path} has no array '{name}', only {', '.join(arrays) or 'none'}; add it by numpy.savez.")
    return arrays[name]


def _checked_x(arrays, name, path):
    x = _array(arrays, name, path)
    if x.ndim < 2 or not x.size:
        raise UserError(f"'{name}' in {path} is {_say(x)}; it needs at least one example, and two axes: [N, ...].")
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f":
        raise UserError(f"'{name}' in {path} is {_say(x)}; store integers 0..255 as uint8, anything else as floats.")
    bad = len(x) - np.isfinite(x).all(axis=tuple(range(1, x.ndim))).sum()
    if bad:
        raise UserError(f"'{name}' in {path} has NaN or infinity in {bad} of {len(x)} rows; clean them first.")
    return x.astype(np.float32)


def _checked_y(arrays, name, x, path):
    if name not in arrays:
        return None
    y = arrays[name]
    if y.shape != x.shape[:1] or y.dtype.kind not in "iu" or y.min() < 0:
        raise UserError(f"'{name}' in {path} is {_say(y)}; it needs {len(x)} integers from 0, one for each example.")
    return y.astype(np.int32)


def _say(x):
    return f"{x.dtype} {list(x.shape)}"
