"""Categories as numbers that trees can split: one-hot columns, and ordered target statistics as CatBoost's.

A statistic is that of the rows with the same category, or the same pair of them (Prokhorenkova et al. 2018, section
3.2). CatBoost's "Borders": (rows with a target above a border + prior) / (rows + 1) for three priors; its "Counter":
rows / (most rows of a category + 1). In training a row's own statistic counts the rows before it in an order, but for
the Counter; rows to predict have that of all training rows. Weights do not count. Entry points: `find`, `ordered` and
`encode`.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError
from research.trees import binning, kinds

PRIORS = np.array([0, 0.5, 1], np.float32)
STEPS = 15  # a statistic is told apart in so many steps
# A statistic is stored times STEPS. It has reached step k where it is above k - 1e-6, however 1/3 * 15 is rounded.
BORDERS = np.arange(STEPS, dtype=np.float32) + np.float32(0.999999)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Encoder:
    """What is known of the categories of training rows. A missing category is one of its own, kept as -inf.

    levels: of each categorical column the numbers that stand for its categories, ascending; keys, counts: of each
    statistic the categories or pairs that occur, ascending int32 (`_keys`), and how many rows of each [C, B + 1] are
    above each of B target borders, and at all. one_hot, combined: as `kinds_of` tells.
    """

    columns: jax.Array  # [F] int32, those of x: first of numbers, then the categorical ones
    levels: list
    keys: list
    counts: list
    one_hot: tuple = dataclasses.field(metadata={"static": True})
    combined: tuple = dataclasses.field(metadata={"static": True})

    @property
    def numeric(self):
        """The columns of x that pass as they are; they come first."""
        return self.columns[: len(self.columns) - len(self.levels)]

    @property
    def categorical(self):
        """The other columns of x."""
        return self.columns[len(self.columns) - len(self.levels) :]

    @property
    def sources(self):
        """Of each encoded column the columns of x that it is made of."""
        alone = [(f,) for f in self.numeric.tolist()]
        alone += [(int(self.categorical[c]),) for c in self.one_hot for _ in self.levels[c]]
        width = [len(PRIORS) * (counts.shape[1] - 1) + 1 for counts in self.counts]
        several = [tuple(self.categorical[list(places)].tolist()) for places in self.combined]
        return alone + [of for of, times in zip(several, width) for _ in range(times)]


def kinds_of(sizes, one_hot_max_size, max_ctr_complexity):
    """(places among the categorical columns of those that become a column for each category, tuples of places that
    have statistics) of columns with so many categories."""
    one_hot = tuple(c for c, size in enumerate(sizes) if size <= one_hot_max_size)
    single = [c for c in range(len(sizes)) if c not in one_hot]
    pairs = itertools.combinations(single, 2) if max_ctr_complexity > 1 else ()
    # A pair is known by one int32.
    several = [(a, b) for a, b in pairs if (sizes[a] + 1) * (sizes[b] + 1) < 2**31]
    return one_hot, (*((c,) for c in single), *several)


def find(x, y, categorical, one_hot_max_size=2, max_ctr_complexity=1, classes=None):
    """The Encoder of training rows x [N, F], whose columns `categorical` hold a number for each category, and y [N].

    Columns of at most one_hot_max_size categories become a column for each; the others, and with max_ctr_complexity 2
    all pairs of them, get statistics, of y above each class but the last, or above one border amid the numbers y.
    Raises UserError for columns that are none, and for numbers that are not whole.
    """
    x = np.asarray(x, np.float32)
    for f in categorical:
        if not 0 <= f < x.shape[1]:
            raise UserError(f"categorical column {f} is none of the {x.shape[1]} columns of the table.")
    levels = [np.unique(_whole(x[:, f], f)) for f in categorical]
    limits = kinds_of([len(of) for of in levels], one_hot_max_size, max_ctr_complexity)
    numeric = [f for f in range(x.shape[1]) if f not in categorical]
    encoder = Encoder(np.array([*numeric, *categorical], np.int32), levels, [], [], *limits)
    above = _above(y, classes)
    for key in _keys(encoder, x):
        found, place = np.unique(np.asarray(key), return_inverse=True)
        encoder.keys.append(found)
        encoder.counts.append(np.stack([np.bincount(place, a) for a in above.T], 1).astype(np.float32))
    return encoder


def encode(encoder, x):
    """[N, F'] f32 of rows x [N, F] to predict: numbers, one-hot columns, statistics; jits. Unseen categories have no
    rows: their one-hot columns are 0 and their statistics the prior."""
    found = []
    for key, keys, counts in zip(_keys(encoder, x), encoder.keys, encoder.counts):
        at = jnp.minimum(jnp.searchsorted(keys, key), len(keys) - 1)
        of = jnp.where((keys[at] == key)[:, None], jnp.asarray(counts)[at], 0)
        found += _values(of[:, :-1], of[:, -1:], of[:, -1:], counts[:, -1].max())
    return jnp.concatenate([*_plain(encoder, x), *found], axis=1)


def ordered(encoder, x, y, order, classes=None):
    """[N, F'] f32 of the training rows x [N, F], y [N]: a row's statistics see the rows before it in `order` [N]."""
    above, found = _above(y, classes), []
    for key, keys, counts in zip(_keys(encoder, x), encoder.keys, encoder.counts):
        place = np.searchsorted(keys, np.asarray(key))
        rows = order[np.argsort(place[order], kind="stable")]  # together those of a category, in their order
        total, group = np.cumsum(above[rows], axis=0), place[rows]
        first = np.searchsorted(group, np.arange(len(keys)))
        before = total - above[rows] - (total - above[rows])[first][group]
        of = np.empty(above.shape, np.float32)
        of[rows] = before
        found += _values(of[:, :-1], of[:, -1:], counts[place, -1:], counts[:, -1].max())
    return np.concatenate([np.asarray(part) for part in (*_plain(encoder, x), *found)], axis=1)


def borders_of(encoder, x, borders="greedy_log_sum", border_count=254, weight=None, missing="min"):
    """Borders of the encoded columns, as `binning.given` takes them; `borders` is a kind of `binning.find`, or a list
    of arrays, one a column of x, of which those of numbers count."""
    numeric = encoder.numeric
    if isinstance(borders, str):
        own = binning.find(x[:, numeric], borders, border_count, weight, missing).values if numeric.size else ()
    elif len(borders) == x.shape[1]:
        own = [borders[f] for f in numeric]
    else:
        raise UserError(f"there are borders of {len(borders)} columns; the table has {x.shape[1]}.")
    hot = sum(len(encoder.levels[c]) for c in encoder.one_hot)
    rest = len(encoder.sources) - numeric.size - hot
    return [*own, *[np.float32([0.5])] * hot, *[BORDERS] * rest]


def classes_of(objective):
    """How many classes an objective tells apart, or None where its targets are numbers."""
    if objective.name in ("logistic", "exponential"):
        return 2
    return objective.outputs if "softmax" in objective.name else None


def _whole(column, f):
    """A column of categories with -inf where it is missing. Raises UserError for 1.5, which is none."""
    column = np.where(np.isnan(column), -np.inf, column)
    bad = np.isfinite(column) & (column != np.rint(column)) | (column == np.inf)
    if bad.any():
        row = bad.argmax()
        raise UserError(
            f"row {row}, column {f} of the table is {column[row]:g}, no category; give words or whole numbers."
        )
    return column


def _keys(encoder, x):
    """Of each statistic the numbers [N] of the rows' categories; of a pair (a, b) it is a (size of b + 1) + b."""
    place = {}
    for c in sorted(set(itertools.chain(*encoder.combined))):
        levels = jnp.asarray(encoder.levels[c])
        column = jnp.asarray(x[:, encoder.categorical[c]], jnp.float32)
        column = jnp.where(jnp.isnan(column), -jnp.inf, column)
        at = jnp.minimum(jnp.searchsorted(levels, column), len(levels) - 1)
        place[c] = jnp.where(levels[at] == column, at, len(levels)).astype(jnp.int32)
    for first, *rest in encoder.combined:
        key = place[first]
        for c in rest:
            key = key * (len(encoder.levels[c]) + 1) + place[c]
        yield key


def _plain(encoder, x):
    """Parts [N, n]: the numbers, and a column of 0 and 1 for each category of the small columns."""
    x = jnp.asarray(x, jnp.float32)
    yield x[:, encoder.numeric]
    for c in encoder.one_hot:
        column = x[:, encoder.categorical[c]]
        column = jnp.where(jnp.isnan(column), -jnp.inf, column)
        yield (column[:, None] == encoder.levels[c]).astype(jnp.float32)


def _values(above, rows, all_rows, most):
    """Parts [N, n] of a statistic: above [N, B] of rows [N, 1] lie above the target borders."""
    priors = PRIORS if isinstance(above, np.ndarray) else jnp.asarray(PRIORS)
    share = (above[:, :, None] + priors) / (rows[:, :, None] + 1) * STEPS
    return [share.reshape(len(above), -1), all_rows / (most + 1) * STEPS]


def _above(y, classes):
    """[N, B + 1] float64: whether y [N, ...] is above each border, and 1."""
    y = np.asarray(y).reshape(len(y), -1)
    if classes:
        found = y > np.arange(classes - 1) + 0.5
    else:  # the most even halves, as CatBoost's MinEntropy
        values = [np.unique(np.float32(column), return_counts=True) for column in y.T]
        borders = [kinds.greedy_log_sum(v, n, 1) if len(v) > 1 else v[:1] for v, n in values]
        found = np.stack([column > border for column, border in zip(y.T, borders)], 1)
    return np.concatenate([found, np.ones((len(y), 1))], axis=1)
