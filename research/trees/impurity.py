"""What a split of CART gains, as functions of the sums over a node's rows, and these sums as whole numbers in float64.

Whole numbers add without rounding, in whatever order. Entry points: CRITERIA and `pack`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from research.trees import histogram

BITS = 52  # of a float64 that a sum may fill


class Criterion(NamedTuple):
    """purity(weight, sums, a list of K), of any shape: the children's less their parent's is the weighted gain.

    moment: y [N, K] -> [N], the purity of a row alone in its node, or for classes this number: a node's impurity is
    (weighted sum of moments - purity) / weight. positive: each sum of a child must be above 0. medians: there is
    no purity, since errors from medians are not functions of sums: see medians.py.
    """

    purity: Callable | None
    moment: Callable | float
    positive: bool = False
    medians: bool = False

    @property
    def classes(self):
        """Whether y are classes."""
        return not callable(self.moment)


def _squares(w, sums):
    return sum(s * s for s in sums) / w


def _mean_squares(w, sums):
    return _squares(w, sums) / len(sums)


def _logs(w, sums):
    return (sum(_times_log(s, s) for s in sums) - _times_log(w, w)) / math.log(2)


def _poisson(w, sums):
    return sum(_times_log(s, s / w) for s in sums) / len(sums)


def _times_log(a, b):
    return a * jnp.log(jnp.where(b > 0, b, 1))


_entropy = Criterion(_logs, 0.0)
# Friedman's score of a split, w_l w_r / (w_l + w_r) (mean_l - mean_r)^2, is what the squared error falls by.
_squared = Criterion(_mean_squares, lambda y: (y * y).mean(axis=1))
CRITERIA = {
    "gini": Criterion(_squares, 1.0),
    "entropy": _entropy,
    "log_loss": _entropy,
    "squared_error": _squared,
    "friedman_mse": _squared,
    "absolute_error": Criterion(None, lambda y: jnp.zeros(len(y)), medians=True),
    "poisson": Criterion(_poisson, lambda y: _times_log(y, y).mean(axis=1), positive=True),
}


def pack(criterion, y, weight, total):
    """(words, a tuple of [N] f64; split, from a list of sums of words to (weight, a list of K sums); moments).

    y [N, K] f32; weight [N] or None; total: the sum of all weights if they are whole numbers, else None: then classes
    are counted, several in one word. moments: (a word, what 1 of it stands for), or None for classes.
    """
    outputs = y.shape[1]
    w = jnp.ones(len(y)) if weight is None else weight.astype(jnp.float64)
    wy = y * w[:, None]
    if criterion.classes and total:
        step, each = 2.0 ** total.bit_length(), BITS // total.bit_length()
        groups = [range(k, min(k + each, outputs)) for k in range(0, outputs, each)]

        def split(sums):
            found = []
            for word, group in zip(sums, groups):
                for _ in group:
                    rest = jnp.floor(word / step)
                    found.append(word - rest * step)
                    word = rest
            return sum(found), found

        return tuple(sum(wy[:, k] * step ** (k - group[0]) for k in group) for group in groups), split, None
    if criterion.classes:
        words, units = _whole(wy)
        return words, lambda sums: (sum(found := [s * u for s, u in zip(sums, units)]), found), None
    words, units = _whole(jnp.concatenate([wy, w[:, None]], axis=1))
    (moment,), (unit,) = _whole((criterion.moment(y.astype(jnp.float64)) * w)[:, None])

    def split(sums):
        *found, w = (s * u for s, u in zip(sums, units))
        return w, found

    return words, split, (moment, unit)


def _whole(x):
    """The columns of x [N, C] as whole numbers, and what 1 of each stands for: a power of two."""
    whole, units = histogram.fixed(x, len(x), BITS)
    return tuple(whole.T.astype(jnp.float64)), units
