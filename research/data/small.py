"""Eighteen small tables of classes or numbers (collected by Brownlee, most from UCI). Entry points: `load`, `read`."""

import csv
import pathlib

import numpy as np

from research.data import files
from research.data.source import Dataset, from_arrays
from research.errors import UserError, nearest

NAME, COMMIT = "small_tabular", "d20fcb6402ae34e653d4513b00f39257bb37ed7f"
SITE = f"https://raw.githubusercontent.com/jbrownlee/Datasets/{COMMIT}/"
TABLES = {  # data.table: rows, columns, what its target is, the checksum of its file
    "auto-insurance": (63, 2, "numbers", "sha256:d9e3760422d50a8b68176cc233c8b8889badc017f38a1551f2f4ec3efcd9ebe4"),
    "auto_imports": (201, 26, "numbers", "sha256:bf76211fc32da0a927334e690e8f59e42c6b11ee281f9bed8a6ecdfe4bd70f31"),
    "banknote_authentication": (
        1372,
        5,
        "classes",
        "sha256:d0539aaed2139ba7a587b3e34fb345ce503ff7d5d33dbf9912d8e195ce425cb9",
    ),
    "breast-cancer": (286, 10, "classes", "sha256:4523656d14e91168a602301490a8c89674a9b14384c29a5f652ba1a2bec844a9"),
    "breast-cancer-wisconsin": (
        699,
        10,
        "classes",
        "sha256:9c9dc50e62dbcece16e5707bdec7514f87230d0aa35798b9aaffbc77cf736f1f",
    ),
    "ecoli": (336, 8, "classes", "sha256:26836c66779f5ce2b0c4d21c0667dcfb89f2a408e3cdac7e38dbc63e0abd5691"),
    "german": (1000, 21, "classes", "sha256:ec12a88b9fc14d74ba646ea0410cf7ff4533bec2eb61652f8ad76796bbfec017"),
    "glass": (214, 10, "classes", "sha256:1b7039aa2d617c1827e790b55d45ac138dce06b5f2a3fb6c25f2f135b59ad2d0"),
    "haberman": (306, 4, "classes", "sha256:b4b7a32586a5668f9f4d6dc8be9d1bc8cd4822523affb1f6b5bfc350681ef3e2"),
    "horse-colic": (300, 28, "classes", "sha256:6ea4b4e9819f56dd021bea06d4a56c711825d0e6e33bc0cfc183f054fc4256d6"),
    "ionosphere": (351, 35, "classes", "sha256:fd6dd7864b55d56dac0a1e6e24af9ccc35bf2555ac79af8ab9f3d1daa065ab83"),
    "iris": (150, 5, "classes", "sha256:f5d0c11e5c78a69a20dbb80baf2b24703f59a6687595752abb397d23732647c5"),
    "longley": (16, 7, "numbers", "sha256:6e869bc6e736ff75d8b3139be4689693ebde273a4b9b152ea198d4871646d47f"),
    "new-thyroid": (215, 6, "classes", "sha256:b1e244cdb7764210cfbf2888c47a4a558c36acd3c5e25452c0255c09c0b2c0a0"),
    "pima-indians-diabetes": (
        768,
        9,
        "classes",
        "sha256:6bfe5d0f379d17a0e0819b996407e3c09bf80febd4287f2ed212190dfff154af",
    ),
    "sonar": (208, 61, "classes", "sha256:3079c09b5d2789a0f96aff82c28e5164fafe2495c5f8da96c6c256c1bd25763f"),
    "wheat-seeds": (210, 8, "classes", "sha256:8dbd1853a4439afc113cfe07f290422c7ce3fe48745d71f3f7eaa027cd38fd6e"),
    "wine": (178, 14, "classes", "sha256:e9c16b779f9194945067f65118da6afb317ef60c6515879c50124dc4f6cdd756"),
}
MISSING = ("?", "nan")
WORDS = {  # columns of words; all others, but for targets, hold numbers
    "auto_imports": (*range(2, 9), 14, 15, 17),
    "breast-cancer": (0, 1, 2, 3, 4, 6, 7, 8),
    "german": (0, 2, 3, 5, 6, 8, 9, 11, 13, 14, 16, 18, 19),
}
CODES = {"horse-colic": (0, 1, *range(6, 15), 16, 17, 20, 22, 27)}  # columns of numbers that stand for words
TARGETS = {"horse-colic": 23}  # whether the lesion was surgical; elsewhere the last column
DROPPED = {"horse-colic": (2, 24, 25, 26)}  # the hospital's number, and what the lesion was


def load(config):
    """The Dataset of the table `config.table`, x float32 [F] and y, a number or a class from 0, as of `read`.

    A tenth is held out by `config.seed`, spread over the targets in order, so that each class of two rows or more
    stays in training. Raises UserError for an unknown table, and for files that are missing or damaged.
    """
    x, y, names, categorical, _ = read(config.dir, config.table)
    rng = np.random.default_rng(config.seed)
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    out = np.arange(len(y)) % 10 == rng.integers(10)
    train, test = np.sort(order[~out]), np.sort(order[out])
    parts = (from_arrays(x[rows], y=y[rows]) for rows in (train, test))
    return Dataset(*parts, x.shape[1:], feature_names=names, categorical=categorical)


def read(where, table):
    """(x float32 [N, F], y float32 [N], names of columns, those that are categorical, "classes" or "numbers").

    where: the file, or the folder data.dir, where it is looked for in `small_tabular/` and downloaded to if need be.
    Words are numbered in the order of the alphabet, classes in that of the words or numbers they are; NaN where one
    is MISSING. Columns are named after their place in the file. Raises UserError as `load`.
    """
    if table not in TABLES:
        raise UserError(f"data.table is '{table}'; {nearest(table, TABLES)}")
    rows, columns, kind, checksum = TABLES[table]
    path = pathlib.Path(where).expanduser()
    if not path.is_file():
        path = files.fetch(where, NAME, f"{table}.csv", f"{SITE}{table}.csv", checksum)
    cells = _cells(path)
    if cells.shape != (rows, columns):
        raise UserError(f"{path} has {_say(cells.shape)}, and should have {_say((rows, columns))}; {AGAIN}")
    target, words = TARGETS.get(table, columns - 1), WORDS.get(table, ())
    kept = [c for c in range(columns) if c != target and c not in DROPPED.get(table, ())]
    x = np.stack([_column(path, cells[:, c], c, c in words) for c in kept], axis=1)
    y = _column(path, cells[:, target], target, kind == "classes")
    if np.isnan(y).any():
        raise UserError(f"{path} has no target in row {np.isnan(y).argmax()}, counted from 0; {AGAIN}")
    categorical = tuple(i for i, c in enumerate(kept) if c in (*words, *CODES.get(table, ())))
    return x, y, tuple(f"column {c}" for c in kept), categorical, kind


AGAIN = "delete it and it is downloaded again."


def _say(shape):
    return f"{shape[0]} rows of {shape[1]} columns"


def _cells(path):
    """Words [N, C] of a file."""
    try:
        with open(path, newline="", encoding="ascii") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file, quotechar="'") if row]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is not plain text ({error}); {AGAIN}") from error
    width = max(map(len, rows), default=0)
    for i, row in enumerate(rows):
        if len(row) != width:
            raise UserError(f"{path} has {len(row)} columns in row {i}, counted from 0, and {width} in others; {AGAIN}")
    return np.array(rows).reshape(len(rows), width)


def _column(path, cells, column, words):
    """float32 [N] of a column's words, or numbers; NaN for those that are MISSING."""
    known = ~np.isin(cells, MISSING)
    x = np.full(len(cells), np.nan, np.float32)
    if words:
        x[known] = np.unique(cells[known], return_inverse=True)[1]
        return x
    for row in np.flatnonzero(known):
        try:
            x[row] = float(cells[row])
        except ValueError:
            x[row] = np.inf
        if not np.isfinite(x[row]):
            where = f"row {row}, column {column}, counted from 0"
            raise UserError(f"{path} has '{cells[row]}' in {where}, where a number should be; {AGAIN}")
    return x
