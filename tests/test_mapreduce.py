"""Sums over a mesh have the bits of one device, and are what numpy finds in float64."""

from fractions import Fraction

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from research import mapreduce, moments
from research.errors import UserError

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(1003, 3)) * [1, 1e-20, 1e15] + [0, 1e-20, 0]).astype(np.float32)  # no multiple of any devices
X[::7, 0], X[::5, 2] = np.nan, -0.0
X[:4, 0] = np.array([-np.inf, np.inf, 1e-45, -3.4e38])
FINITE = np.where(np.isinf(X), np.float32(0.5), X)
SHARES = (0.0, 0.1, 1 / 3, 0.5, 0.9999, 1.0)
EDGES = [-2.0, -0.1, 0.0, 1e-20, 0.3, 2.5]
HOWS = {
    "histogram": lambda mesh: mapreduce.histogram(X, EDGES, mesh),
    "quantiles": lambda mesh: mapreduce.quantiles(X, SHARES, mesh),
    "moments": lambda mesh: np.stack(moments.moments(FINITE, mesh)),
}


def mesh(size):
    return jax.make_mesh((size,), ("rows",), axis_types=(AxisType.Auto,), devices=jax.devices()[:size])


@pytest.fixture(scope="module")
def one():
    return {how: HOWS[how](mesh(1)) for how in HOWS}


@pytest.mark.parametrize("size", (2, 4, 8))
@pytest.mark.parametrize("how", HOWS)
def test_devices_change_no_bit(how, size, one):
    np.testing.assert_array_equal(HOWS[how](mesh(size)), one[how])


def test_counts_are_those_of_numpy(one):
    wanted = [np.histogram(column[~np.isnan(column)].astype(np.float64), EDGES)[0] for column in X.T]
    np.testing.assert_array_equal(one["histogram"].T, wanted)
    exact = mapreduce.histogram(np.array([[1.0], [2.0], [3.0], [3.5], [np.nan]]), [1, 2, 3], mesh(2))
    assert exact.ravel().tolist() == [1, 2]  # the last bin has its end


def test_order_statistics_are_those_of_numpy(one):
    for found, column in zip(one["quantiles"].T, X.T):
        np.testing.assert_array_equal(found, np.quantile(column[~np.isnan(column)], SHARES, method="inverted_cdf"))
    small = mapreduce.quantiles(np.array([[3, np.nan], [1, np.nan], [2, np.nan]]), (0.5, 0.6, 0.7), mesh(1))
    np.testing.assert_array_equal(small, [[2, np.nan], [2, np.nan], [3, np.nan]])


def test_moments_are_rounded_once(one):
    for count, mean, m2, column in zip(*one["moments"], FINITE.T):
        values = [Fraction(float(v)) for v in column if v == v]
        wanted = sum(values) / len(values)
        assert count == len(values) and mean == float(wanted)
        assert m2 == float(sum((v - wanted) ** 2 for v in values))
        np.testing.assert_allclose(mean, np.nanmean(column.astype(np.float64)), rtol=1e-12)
        np.testing.assert_allclose(m2 / count, np.nanvar(column.astype(np.float64)), rtol=1e-12)


def test_moments_know_no_cancellation():
    x = np.array([[2**24], [2**24 - 1]] * 50, np.float32)
    assert [float(part[0]) for part in moments.moments(x, mesh(4))] == [100, 2**24 - 0.5, 25]


def test_merged_moments_are_those_of_all(one):
    parts = [moments.moments(part, mesh(1)) for part in (FINITE[:0], FINITE[:1], FINITE[1:300], FINITE[300:])]
    whole = parts[0]
    for part in parts[1:]:
        whole = moments.merge(whole, part)
    np.testing.assert_allclose(np.stack(whole), one["moments"], rtol=1e-12)
    assert whole.count.tolist() == one["moments"][0].tolist()


def test_a_normaliser_does_not_depend_on_blocks():
    x = np.concatenate([FINITE, np.full((len(X), 1), 7, np.float32)], axis=1)
    mean, deviation = moments.normaliser(np.array_split(x, 3))
    again = moments.normaliser(iter([x[:3], x[3:]]), mesh(8))
    np.testing.assert_array_equal((mean, deviation), again)
    np.testing.assert_allclose(deviation[:3], np.nanstd(FINITE.astype(np.float64), axis=0), rtol=1e-12)
    assert (mean[3], deviation[3]) == (7, 1)


def test_what_has_no_moments_is_named():
    with pytest.raises(UserError, match="column 0 of the table has an infinite value"):
        moments.moments(X, mesh(2))
    for blocks in ((), [np.full((5, 1), np.nan)]):
        with pytest.raises(UserError, match="a column of the table has no values"):
            moments.normaliser(blocks)
