"""Borders of features and the codes of rows between them. Entry points: `find`, `given` and `apply`."""

from typing import NamedTuple

import numpy as np

from research.errors import UserError, nearest
from research.trees import blocks, sketch
from research.trees.kinds import KINDS

MISSING = ("min", "max", "learn", "forbid")


class Borders(NamedTuple):
    """Where each feature may be split: a threshold k sends a row to the right where its code is above k.

    side "left": right means x > border (CatBoost, scikit-learn); "right": x >= border (XGBoost). missing: "min" and
    "max" put NaN below and above all numbers, behind a border of -inf or +inf in the columns that had any; "learn"
    gives NaN the last code, bins - 1, and each column a last border of +inf, above all numbers, so that no number has
    that code and a split may part what is missing from the rest; "forbid" makes NaN an error.
    """

    values: tuple  # of float32 arrays, one a feature, ascending; a column of one value has none
    side: str
    missing: str
    has_missing: tuple  # of bool, one a feature
    names: tuple | None = None  # of the features

    @property
    def counts(self):
        """int32 [F], how many borders a feature has."""
        return np.array([len(values) for values in self.values], np.int32)

    @property
    def table(self):
        """float32 [F, B], those of a feature filled up with +inf."""
        found = np.full((len(self.values), max(self.bins - 1, 1)), np.inf, np.float32)
        for row, values in zip(found, self.values):
            row[: len(values)] = values
        return found

    @property
    def bins(self):
        """How many codes there are."""
        return int(self.counts.max()) + 1


def side_of(kind):
    """The side of borders of that kind: XGBoost sends what lies on one to the right."""
    return "right" if kind == "xgboost" else "left"


def find(x, kind="quantile", count=254, weight=None, missing="min", names=None):
    """The Borders of the rows of x, of any form that `blocks.read` takes; at most `count` finite ones a feature.

    kind: "quantile", bins of equal weight; "uniform", of equal width; "greedy_log_sum", CatBoost's borders; "xgboost",
    its cuts for max_bin = count + 1 without the two beyond the data; "exact", all midpoints, however many.
    They lie midway between values but in "uniform" and "xgboost". Files and iterators are summarised on the way
    (see sketch.py), and what comes out is exact where a column has at most sketch.SIZE values in each block and in all.
    Raises UserError for what cannot be a table, a weight or an option.
    """
    for name, value, known in (("kind", kind, KINDS), ("missing", missing, MISSING)):
        if value not in known:
            raise UserError(f"{name} is '{value}'; {nearest(value, known)}")
    if not 1 <= count <= 65534:
        raise UserError(f"the count of borders is {count}; it must be 1 to 65534.")
    levels, has_missing, some, stream = None, False, False, blocks.is_stream(x)
    size = max(sketch.SIZE, 16 * count)
    names = blocks.names_of(x, names, weight)

    def chosen(summary, has):
        values, weights = summary
        fewer = has and missing in ("min", "max")  # the border of NaN counts, as CatBoost's does
        return KINDS[kind](values, weights, count - fewer) if len(values) > 1 else values[:0]

    for block in blocks.read(x, names, weight):
        absent = missing_of(block, missing, names)
        levels = levels or [[] for _ in block.x.T]
        used = np.full(len(block.x), True) if block.weight is None else block.weight > 0
        has_missing = has_missing | (absent & used[:, None]).any(axis=0)
        some = some or bool(used.any())
        for f, column in enumerate(block.x.T):
            rows = used & ~absent[:, f]
            part = sketch.summarise(column[rows], None if block.weight is None else block.weight[rows])
            # A table's column has one summary, as long as the column: its borders are taken before the next one.
            levels[f] = sketch.add(levels[f], part, size) if stream else chosen(part, has_missing[f])
    if not some:
        raise UserError("all weights are 0; give at least one row a positive weight.")
    values = [chosen(sketch.total(level), has) for level, has in zip(levels, has_missing)] if stream else levels
    return _borders(values, side_of(kind), missing, has_missing, names)


def given(values, side="left", missing="min", names=None):
    """Borders of arrays of numbers, one a feature. Raises UserError unless each ascends.

    A first or last border that is infinite, or the least or greatest float32 (CatBoost's), is that of missing values.
    """
    values = [np.asarray(v, np.float32).reshape(-1) for v in values]
    for f, v in enumerate(values):
        if np.isnan(v).any() or not (v[1:] > v[:-1]).all():
            raise UserError(f"the borders of {blocks.say(names, f)} do not ascend; sort them and leave out copies.")
    inner = [v[np.abs(v) < np.finfo(np.float32).max] for v in values]
    has_missing = [len(i) < len(v) for i, v in zip(inner, values)]
    return _borders(inner, side, missing, has_missing, names)


def apply(borders, x):
    """codes [F, N] of the rows of x, of any form that `blocks.read` takes: how many borders lie below a value.

    uint8, or uint16 where there are more than 256 codes. Raises UserError for what cannot be a table, and for columns
    of another number, name or order than those of the borders.
    """
    dtype, parts = np.uint8 if borders.bins <= 256 else np.uint16, []
    for block in blocks.read(x, borders.names, columns=len(borders.values)):
        codes = np.empty(block.x.T.shape, dtype)
        absent = missing_of(block, borders.missing, borders.names)
        for f, (values, column) in enumerate(zip(borders.values, block.x.T)):
            last = borders.bins - 1 if borders.missing == "learn" else len(values)
            codes[f] = np.searchsorted(values, column, borders.side)
            codes[f, absent[:, f]] = 0 if borders.missing == "min" else last
        parts.append(codes)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _borders(values, side, missing, has_missing, names):
    for f, (v, has) in enumerate(zip(values, has_missing)):
        low, high = has and missing == "min", missing == "learn" or (has and missing == "max")
        values[f] = np.concatenate([[-np.inf] * bool(low), v, [np.inf] * bool(high)]).astype(np.float32)
        if len(values[f]) > 65535:
            raise UserError(
                f"{blocks.say(names, f)} has {len(v) + 1} values; choose a kind of borders other than 'exact'."
            )
    return Borders(tuple(values), side, missing, tuple(map(bool, has_missing)), names)


def missing_of(block, missing, names):
    """Mask of the missing values of a blocks.Block. Raises UserError for one where missing is "forbid"."""
    absent = np.isnan(block.x)
    if missing == "forbid" and absent.any():
        row, column = np.argwhere(absent)[0]
        raise UserError(
            f"row {block.start + row}, {blocks.say(names, column)} of the table is missing; fill it, or choose missing "
            "values 'min', 'max' or 'learn'."
        )
    return absent
