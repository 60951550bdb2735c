"""Count, mean and deviation of columns, exact and rounded once: over devices, processes and blocks with the same bits.

Entry points: `moments`, `merge`, `normaliser`. The digits of values and of their squares are added by exponent, in
whole numbers (Kulisch's long accumulator, by parts): no order of summation, and no cancellation, is left to be seen.
"""

from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType

from research.errors import UserError
from research.mapreduce import by_key, reduce

LEAST = 149  # the least float32 above 0 is 2^-149


class Moments(NamedTuple):
    """Of columns [F]: how many values there are, their mean, and the sum of their squared distances from it."""

    count: np.ndarray
    mean: np.ndarray
    m2: np.ndarray


def moments(x, mesh):
    """Moments of the values of x [N, F] that are not NaN, rounded once. Raises UserError for an infinite one."""
    return _finish(reduce(_digits, mesh, x))


def _digits(x):
    """int64 [256, F, 4]: the values of each exponent: digits, of squares those above and below 24 bits, how many."""
    bits = lax.bitcast_convert_type(x, jnp.int32)
    exponent, digits = bits >> 23 & 255, (bits & 0x7FFFFF).astype(jnp.int64)
    digits = jnp.where(exponent > 0, digits | 0x800000, digits)
    square, sign, seen = digits**2, jnp.where(bits < 0, -1, 1), ~jnp.isnan(x)
    numbers = jnp.stack([sign * digits, square >> 24, square & 0xFFFFFF, jnp.ones_like(digits)], -1)
    return by_key(jnp.maximum(exponent, 1), jnp.where(seen[..., None], numbers, 0), 256)


def _finish(table):
    if table[255, :, 3].any():
        raise UserError(f"column {table[255, :, 3].argmax()} of the table has an infinite value; mend or drop it.")
    found = []
    for column in table[1:].transpose(1, 2, 0).tolist():  # in whole numbers of any size
        total = sum(n << e for e, n in enumerate(column[0]))
        squares = sum((high << 24) + low << 2 * e for e, (high, low) in enumerate(zip(*column[1:3])))
        n = sum(column[3])
        mean, m2 = Fraction(total, max(n, 1) << LEAST), Fraction(n * squares - total**2, max(n, 1) << 2 * LEAST)
        found.append((n, float(mean) if n else np.nan, float(m2)))
    return Moments(*map(np.array, zip(*found)))


def merge(a, b):
    """Moments of the values of both, within rounding (Chan, Golub & LeVeque 1983, equation 2.1)."""
    count, apart = a.count + b.count, np.where((a.count > 0) & (b.count > 0), b.mean - a.mean, 0)
    share = b.count / np.maximum(count, 1)
    return Moments(
        count, np.where(a.count > 0, a.mean, b.mean) + apart * share, a.m2 + b.m2 + apart**2 * a.count * share
    )


def normaliser(blocks, mesh=None):
    """(mean [F], deviation [F]) float64 of blocks of rows [n, F], one at a time; a deviation is 1 where none differ.

    Of shards: blocks = (train.gather(np.arange(i, min(i + n, train.size)))["x"] for i in range(0, train.size, n)). The
    bits do not depend on how rows are cut into blocks. mesh: one device by default. Raises UserError as `moments`,
    and for a column without values.
    """
    table = 0
    if mesh is None:
        mesh = jax.make_mesh((1,), ("rows",), axis_types=(AxisType.Auto,), devices=jax.local_devices()[:1])
    for block in blocks:
        table = table + reduce(_digits, mesh, block)
    if not np.ndim(table) or not table[..., 3].sum(axis=0).all():
        raise UserError("a column of the table has no values, so it has no mean; leave it out, or check the blocks.")
    count, mean, m2 = _finish(table)
    return mean, np.where(m2 > 0, np.sqrt(m2 / count), 1.0)
