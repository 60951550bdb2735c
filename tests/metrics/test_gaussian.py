"""The Gaussian baseline against entropies, a calculation by hand and a Monte-Carlo mean over the dequantising noise."""

import numpy as np
import pytest

from research.errors import UserError
from research.metrics.gaussian import bits_per_dim

A = np.array([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [-1.0, 0.3, 3.0]])


def normal(n, seed=0):
    """Points [n, 3] of N((5, -2, 100), A A^T)."""
    return np.random.default_rng(seed).normal(size=(n, 3)) @ A.T + np.array([5.0, -2.0, 100.0])


def entropy(cov):
    """Of N(m, cov), in bits per dimension."""
    return np.linalg.slogdet(2 * np.pi * np.e * cov)[1] / (2 * len(cov) * np.log(2))


def test_on_its_own_data_a_fit_has_the_entropy_of_their_covariance():
    x = normal(50)
    cov = np.cov(x.T, ddof=0)
    assert bits_per_dim(x, x) == pytest.approx(entropy(cov), rel=1e-10)  # no ridge: 1e-6 of it would show
    integers = np.round(x)
    found = bits_per_dim(integers - integers.min(), integers - integers.min(), levels=200)
    assert found == pytest.approx(entropy(np.cov(integers.T, ddof=0) + np.eye(3) / 12), rel=1e-10)


def test_a_known_gaussian_reaches_its_entropy():
    assert bits_per_dim(normal(20000), normal(20000, seed=1)) == pytest.approx(entropy(A @ A.T), abs=0.01)


def test_other_data_cost_their_distance_too():
    """The mean of (x - m)^T P (x - m) over a test set of mean n and covariance D is tr(P D) + (n - m)^T P (n - m)."""
    x, y = normal(50), 3 * normal(7, seed=1) + 1
    P, shift = np.linalg.inv(np.cov(x.T, ddof=0)), y.mean(axis=0) - x.mean(axis=0)
    quadratic = np.trace(P @ np.cov(y.T, ddof=0)) + shift @ P @ shift
    expected = entropy(np.cov(x.T, ddof=0)) + (quadratic - 3) / (2 * 3 * np.log(2))
    assert bits_per_dim(x, y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_integers_in_one_dimension_by_hand(dtype):
    """Training on 0 and 2: mean 1, variance 1, and 13/12 with the noise. E (u - 1/2)^2 = 1/12."""
    train = np.array([[0], [2]], dtype)
    for test, square in (([0], 1), ([1], 0), ([2, 1], 1 / 2), ([4], 9)):
        nats = ((square + 1 / 12) / (13 / 12) + np.log(2 * np.pi * 13 / 12)) / 2
        found = bits_per_dim(train, np.array(test, dtype)[:, None], levels=5)
        assert found == pytest.approx(nats / np.log(2), rel=1e-12)


def test_the_mean_over_the_noise_is_that_of_many_draws():
    rng = np.random.default_rng(0)
    common = rng.integers(0, 3, size=(40, 1, 1))  # correlated pixels
    train, test = common + rng.integers(0, 3, size=(40, 2, 2)), rng.integers(0, 5, size=(6, 2, 2))
    cov = np.cov(train.reshape(40, 4).T, ddof=0) + np.eye(4) / 12
    z = (test + rng.random((20000, 6, 2, 2))).reshape(-1, 4) - train.reshape(40, 4).mean(axis=0) - 1 / 2
    nats = (np.sum(z @ np.linalg.inv(cov) * z, axis=1) + np.linalg.slogdet(2 * np.pi * cov)[1]) / 2
    assert bits_per_dim(train, test, levels=5) == pytest.approx(nats.mean() / (4 * np.log(2)), abs=0.005)


def test_scale_and_shift():
    x, y = normal(50), normal(20, seed=1)
    plain = bits_per_dim(x, y)
    assert bits_per_dim(8 * x - 7, 8 * y - 7) == pytest.approx(plain + 3, rel=1e-10)
    B = np.random.default_rng(2).normal(size=(3, 3))
    volume = np.log2(abs(np.linalg.det(B))) / 3
    assert bits_per_dim(x @ B, y @ B) == pytest.approx(plain + volume, rel=1e-8)


def test_an_image_is_the_row_of_its_pixels():
    x = np.random.default_rng(0).normal(size=(60, 2, 3, 1))
    assert bits_per_dim(x, x[:9]) == bits_per_dim(x.reshape(60, 6), x[:9].reshape(9, 6))


def test_two_equal_columns_get_the_ridge():
    """The correlations [[1, 1], [1, 1]] have the eigenvalues 2 and 0, and the data are along the first."""
    x = np.repeat(np.array([[1.0], [3.0], [8.0]]), 2, axis=1)
    variance = x[:, 0].var()
    nats = (2 / (2 + 1e-6) + np.log((2 + 1e-6) * 1e-6) + 2 * np.log(2 * np.pi * variance)) / 2
    assert bits_per_dim(x, x) == pytest.approx(nats / (2 * np.log(2)), rel=1e-9)


def test_a_column_of_another_unit_has_a_ridge_in_it():
    x, y = (np.concatenate([x, x[:, :1] - x[:, 1:2]], axis=1) for x in (normal(50), normal(20, seed=1)))
    units = np.array([1.0, 1000.0, 1e-3, 1.0])
    assert bits_per_dim(x * units, y * units) == pytest.approx(bits_per_dim(x, y), rel=1e-6)


def test_a_constant_column_is_a_narrow_one():
    """Its variance is 1e-6 of the mean one, that of the other column halved; a mean of 1e14 / 7 rounds."""
    x = np.array([[1.0, 1e14 / 7], [2.0, 1e14 / 7], [6.0, 1e14 / 7]])
    variance = x[:, 0].var()
    nats = (1 / (1 + 1e-6) + np.log(2 * np.pi * variance * (1 + 1e-6)) + np.log(2 * np.pi * variance / 2 * 1e-6)) / 2
    assert bits_per_dim(x, x) == pytest.approx(nats / (2 * np.log(2)), rel=1e-9)


def test_fewer_examples_than_columns():
    x = np.random.default_rng(0).normal(size=(5, 20))
    assert np.isfinite(bits_per_dim(x, x)) and bits_per_dim(x, x) < 0
    assert bits_per_dim(x, x + 1) > 1000


def test_integers_need_no_ridge():
    x = np.repeat(np.array([[0], [2]], np.uint8), 2, axis=1)
    cov = np.array([[13, 12], [12, 13]]) / 12
    assert bits_per_dim(x, x, levels=3) == pytest.approx(entropy(cov), rel=1e-12)


def test_digits(digits):
    """Below the log2(17) = 4.09 of a uniform density."""
    train, _, test, _ = digits
    assert bits_per_dim(train, test, 17) == pytest.approx(2.9493, abs=1e-4)
    assert bits_per_dim(train, train, 17) == pytest.approx(2.9134, abs=1e-4)


X = np.array([[0, 1], [1, 2], [3, 1]])
MISTAKES = {
    "shapes differ": ((X, X[:, :1]), "of one shape"),
    "no examples axis": ((X[0], X[0]), "of one shape"),
    "one example": ((X[:1], X), "two or more examples"),
    "nothing to test": ((X, X[:0]), r"\(0, 2\)"),
    "NaN": ((X, X * np.nan), "test holds NaN"),
    "infinity": ((X + np.inf, X), "train holds NaN or infinity"),
    "a level too high": ((X, X, 3), r"train holds 0 to 3, not integers 0\.\.2"),
    "negative": ((X, -X, 4), "test holds -3 to"),
    "scaled pixels": ((X / 3, X / 3, 4), "train holds 0 to 1, not integers"),
    "one point": ((X * 0, X), "one point"),
}


@pytest.mark.parametrize("arguments, match", MISTAKES.values(), ids=MISTAKES)
def test_mistakes(arguments, match):
    with pytest.raises(UserError, match=match):
        bits_per_dim(*arguments)
