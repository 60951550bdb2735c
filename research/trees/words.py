"""Words of a table as whole numbers, for the columns that hold categories. Entry points: `find` and `numbers`."""

import numbers as kinds

import numpy as np

from research.errors import UserError, nearest
from research.trees import blocks

ERRORS = (TypeError, ValueError, OverflowError)  # of what is no category


def find(x, columns=None):
    """A dict of the categories of each categorical column: of its place a dict of words to the numbers from 0 on.

    x: a frame or an array [N, F]. columns: names or places, or a mask [F]; None: those of a frame's category, and those
    with words.
    Raises UserError for columns that are not there, and for what is no category: lists, and numbers that are not whole.
    """
    if not (hasattr(x, "iloc") or isinstance(x, np.ndarray)) or len(x.shape) != 2:  # others complain of the shape
        if columns is None:
            return {}
        raise UserError("cat_features are columns of a frame or of an array [rows, columns]; give x as such.")
    names, size = blocks.names_of(x) if hasattr(x, "iloc") else None, x.shape[1]
    if columns is None:
        places = [f for f in range(size) if _has_words(x, f)]
    else:
        columns = [columns] if isinstance(columns, str) or not hasattr(columns, "__iter__") else list(columns)
        if columns and all(isinstance(one, bool | np.bool_) for one in columns):
            if len(columns) != size:
                raise UserError(f"the mask of categorical columns has {len(columns)} of them; the table has {size}.")
            columns = np.flatnonzero(columns)
        places = [_place(one, names, size) for one in columns]
    return {f: {w: i for i, w in enumerate(dict.fromkeys(_words(x, f, names)))} for f in places}


def numbers(x, known):
    """x with the numbers of `known` categories in their columns, the next number for words that are none of them."""
    if not known or len(getattr(x, "shape", ())) != 2 or x.shape[1] <= max(known):
        return x
    names, found = blocks.names_of(x) if hasattr(x, "iloc") else None, {}
    for f, of in known.items():
        found[f] = np.array([of.get(word, len(of)) for word in _words(x, f, names)], np.float32)
    x = x.copy() if names else np.array(x, object)
    for f, column in found.items():
        if names:
            x.isetitem(f, column)
        else:
            x[:, f] = column
    return x


def is_missing(value):
    """Whether a value is None, NaN or what pandas has for one that is not there."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _place(column, names, size):
    if isinstance(column, str):
        if column not in (names or ()):
            raise UserError(f"the categorical column '{column}' is not in the table; {nearest(column, names or ['0'])}")
        return names.index(column)
    if not isinstance(column, kinds.Integral) or not -size <= column < size:
        raise UserError(f"the categorical column {column!r} is none of the {size} columns of the table.")
    return int(column) % size


def _has_words(x, f):
    column = x.iloc[:, f] if hasattr(x, "iloc") else x[:, f]
    if column.dtype.kind in "biufc":
        return False
    return str(column.dtype) == "category" or any(isinstance(value, str) for value in column)


def _words(x, f, names):
    """The words of column f; None where one is missing. 1, 1.0 and "1" are one word, as in CatBoost."""
    column = (x.iloc[:, f] if hasattr(x, "iloc") else x[:, f]).tolist()
    try:
        known = {value: _word(value) for value in set(column)}
    except ERRORS:
        row = next(row for row, value in enumerate(column) if not _is_word(value))
        raise UserError(
            f"row {row}, {blocks.say(names, f)} of the table holds {column[row]!r}, no category; give words or whole "
            "numbers."
        ) from None
    return [known[value] for value in column]


def _is_word(value):
    try:
        hash(_word(value))
        return True
    except ERRORS:
        return False


def _word(value):
    if isinstance(value, str):
        return value
    if is_missing(value):
        return None
    if int(value) != value:
        raise ValueError
    return str(int(value))
