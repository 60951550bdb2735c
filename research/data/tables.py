"""Tables with a target: California housing (Pace and Barry 1997), Adult (Kohavi 1996), Agaricus (Schlimmer 1981).

x float32 [F] and y float32 [], a number or a class 0, 1; NaN in x where a value is missing.
"""

import numpy as np

from research.data import files
from research.data.source import Dataset, from_arrays, holdout
from research.errors import UserError

SITE = "https://raw.githubusercontent.com/"
FILES = {  # data.name -> a file's name: its address, its checksum
    "california_housing": {
        "housing.csv": (
            f"{SITE}ageron/handson-ml2/1e2115277b50f6c584cd668fa30e3af309a5b136/datasets/housing/housing.csv",
            "sha256:8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e",
        ),
    },
    "adult": {
        "adult.data": (
            "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.data",
            "sha256:5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        ),
        "adult.test": (
            "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.test",
            "sha256:a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
        ),
    },
    "agaricus": {
        name: (f"{SITE}dmlc/xgboost/379b29f0836b9dbc313b993d8e5743bd452d4117/demo/data/{name}", f"sha256:{checksum}")
        for name, checksum in (
            ("agaricus.txt.train", "915c2def06e9b44a306ad097fe8b6652c7c477d9c1e605bd2130ad20a70a8ad6"),
            ("agaricus.txt.test", "765db79391141953d890ce197fe828a621d6487fbba4de5e4d2217bd140371c0"),
            ("featmap.txt", "846f08e3cfa39e459260ffe96dfcc37d34f330d8e661fbb34a87b8a9ffedae5d"),
        )
    },
}
COASTS = ("<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN")
WORDS = ("workclass", "education", "marital-status", "occupation", "relationship", "race", "sex", "native-country")
ADULT = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country"),
)


def load(config):
    """The Dataset of the table `config.name`, with the names of its columns.

    california_housing: y in dollars, a column of 0 and 1 for each value of ocean_proximity, a tenth held out by
    `config.seed`; adult: 1 is an income above 50K, words are numbered in the order of the alphabet, the rows for
    testing are its own; agaricus: 1 is poisonous, index i of the files is column i - 1, its own rows for testing.
    Files are looked for in `<dir>/<name>/` and `<dir>/`, and downloaded where there are none. Raises UserError for
    files that are missing or are not such a table.
    """
    found = FILES[config.name].items()
    paths = [files.fetch(config.dir, config.name, name, url, checksum) for name, (url, checksum) in found]
    names, parts = READERS[config.name](*paths, config)
    places = tuple(names.index(name) for name in WORDS) if config.name == "adult" else ()
    sources = (from_arrays(x, y=y) for x, y in parts)
    return Dataset(*sources, (len(names),), feature_names=names, categorical=places)


def california(path, config):
    """(names, (train, test) pairs of x [N, 13] and y [N]) of housing.csv."""
    (header, *rows), width = _read(path, ","), 10
    _same_width(path, rows, width)
    _known(path, rows, width - 1, COASTS)
    numbers = _numbers(path, [row[: width - 1] for row in rows], missing="")
    coast = np.array([[row[-1] == name for name in COASTS] for row in rows], np.float32)
    x, y = np.concatenate([numbers[:, :-1], coast], axis=1), numbers[:, -1]
    if np.isnan(y).any():
        raise UserError(f"{path} has no {header[width - 2]} in row {np.isnan(y).argmax()}, counted from 0; {AGAIN}")
    names = (*header[: width - 2], *(f"{header[-1]}={name}" for name in COASTS))
    return names, [(x[i], y[i]) for i in holdout(len(x), config.seed, path)]


def adult(train, test, config):
    """(names, (train, test) pairs of x [N, 14] and y [N]) of adult.data and adult.test."""
    tables = [[row for row in _read(path, ",") if not row[0].startswith("|")] for path in (train, test)]
    places = [ADULT.index(name) for name in WORDS]
    words = {i: sorted({row[i] for row in tables[0] if len(row) > i} - {"?"}) for i in places}
    parts = []
    for path, rows in zip((train, test), tables):
        _same_width(path, rows, len(ADULT) + 1)
        for i in places:
            _known(path, rows, i, [*words[i], "?"])
        _known(path, rows, len(ADULT), labels := ["<=50K", ">50K", "<=50K.", ">50K."])
        coded = [
            [row[i] if i not in words or row[i] == "?" else words[i].index(row[i]) for i in range(14)] for row in rows
        ]
        parts.append(
            (_numbers(path, coded, missing="?"), np.array([labels.index(row[-1]) % 2 for row in rows], np.float32))
        )
    return ADULT, parts


def agaricus(train, test, featmap, config):
    """(names, (train, test) pairs of x [N, 126] of 0 and 1 and y [N]) of files of "label index:1 index:1 ..."."""
    rows = _read(featmap, "\t")
    _same_width(featmap, rows, 3)
    names = tuple(row[1] for row in rows)
    columns, parts = {f"{i + 1}:1": i for i in range(len(rows))}, []
    for path in (train, test):
        rows = _read(path, " ")
        x, y = np.zeros((len(rows), len(columns)), np.float32), np.zeros(len(rows), np.float32)
        for i, (label, *ones) in enumerate(rows):
            if label not in ("0", "1") or not columns.keys() >= set(ones):
                raise UserError(f"{path} is not of the form '1 3:1 10:1' in row {i}, counted from 0; {AGAIN}")
            x[i, [columns[one] for one in ones]], y[i] = 1, int(label)
        parts.append((x, y))
    return names, parts


AGAIN = "delete it and it is downloaded again."
READERS = {"california_housing": california, "adult": adult, "agaricus": agaricus}


def _read(path, separator):
    """The rows of a text file, each a list of words; blank lines are left out."""
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not plain text ({error}); {AGAIN}") from error
    rows = [[word.strip() for word in line.strip().split(separator)] for line in lines if line.strip()]
    if not rows:
        raise UserError(f"{path} is empty; {AGAIN}")
    return rows


def _same_width(path, rows, width):
    for i, row in enumerate(rows):
        if len(row) != width:
            raise UserError(
                f"{path} has {len(row)} columns in row {i}, counted from 0, and should have {width}; {AGAIN}"
            )


def _known(path, rows, column, words):
    for i, row in enumerate(rows):
        if row[column] not in words:
            raise UserError(f"{path} has '{row[column]}' in row {i}, column {column}, not one of its words; {AGAIN}")


def _numbers(path, rows, missing):
    """x float32 [N, F] of rows of words, NaN for the word `missing`."""
    x = np.full((len(rows), len(rows[0]) if rows else 0), np.nan, np.float32)
    for i, row in enumerate(rows):
        try:
            x[i] = [np.nan if word == missing else float(word) for word in row]
        except ValueError as error:
            raise UserError(f"{path} has more than numbers in row {i} ({error}); {AGAIN}") from error
        if np.isinf(x[i]).any():
            raise UserError(f"{path} has infinity in row {i}; {AGAIN}")
    return x
