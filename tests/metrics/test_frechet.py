"""The Frechet distance against closed forms, on samples whose moments are exact."""

import numpy as np
import pytest
import scipy.linalg

from research.errors import UserError
from research.metrics.frechet import frechet, gaussian_fit


def exact_sample(mean, covariance, n=60, seed=0):
    """[n, F] whose sample mean and unbiased sample covariance are those asked for."""
    z = np.random.default_rng(seed).normal(size=(n, len(mean)))
    z = np.linalg.qr(z - z.mean(axis=0))[0] * np.sqrt(n - 1)
    values, vectors = np.linalg.eigh(covariance)
    return mean + z * np.sqrt(np.maximum(values, 0)) @ vectors.T


def test_one_feature():
    a, b = exact_sample(np.array([1.0]), np.array([[4.0]])), exact_sample(np.array([3.0]), np.array([[0.25]]), seed=1)
    assert frechet(a, b) == pytest.approx((3 - 1) ** 2 + (2 - 0.5) ** 2, rel=1e-12)


def test_diagonal_gaussians():
    mu_a, mu_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, -1.0])
    sd_a, sd_b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.5, 3.0])
    a, b = exact_sample(mu_a, np.diag(sd_a**2)), exact_sample(mu_b, np.diag(sd_b**2), n=80, seed=1)
    assert frechet(a, b) == pytest.approx(np.sum((mu_a - mu_b) ** 2) + np.sum((sd_a - sd_b) ** 2), rel=1e-12)


def test_full_covariances_agree_with_the_matrix_square_root():
    rng = np.random.default_rng(2)
    A, B = (m @ m.T + 0.1 * np.eye(5) for m in rng.normal(size=(2, 5, 5)))
    expected = np.trace(A + B - 2 * scipy.linalg.sqrtm(A @ B).real)
    found = frechet(exact_sample(np.zeros(5), A), exact_sample(np.zeros(5), B, seed=1))
    assert found == pytest.approx(expected, rel=1e-9)


def test_low_rank_covariances():
    u, v = np.array([3.0, 0.0, 4.0]), np.array([0.0, 2.0, 0.0])
    a, b = exact_sample(np.zeros(3), np.outer(u, u)), exact_sample(np.zeros(3), np.outer(v, v), seed=1)
    assert frechet(a, b) == pytest.approx(u @ u + v @ v, rel=1e-9)  # orthogonal supports share nothing
    assert frechet(a, 2 * a) == pytest.approx(u @ u, rel=1e-9)  # (2 - 1)^2 |u|^2


def test_fewer_rows_than_features():
    x = np.random.default_rng(4).normal(size=(5, 40))
    trace = np.trace(np.cov(x.T))
    assert frechet(x, x + 1.0) == pytest.approx(40.0, rel=1e-9)
    assert frechet(x, 3 * x - 2 * x.mean(axis=0)) == pytest.approx(4 * trace, rel=1e-9)


def test_zero_on_itself_symmetric_and_never_negative():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 30, 8))
    b[:, 3] = 0  # a dead feature
    assert 0 <= frechet(a, rng.permutation(a)) < 1e-12
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-12)
    assert frechet(a.astype(np.float32), b) > 0


def test_the_factor_is_that_of_numpys_covariance():
    x = np.random.default_rng(6).normal(size=(12, 4))
    mu, R = gaussian_fit(x)
    np.testing.assert_allclose(R.T @ R, np.cov(x.T), atol=1e-13)
    np.testing.assert_allclose(mu, x.mean(axis=0))


@pytest.mark.parametrize("shape", [(5, 3), (5, 2, 1), (1, 2)])
def test_tables_that_do_not_fit_are_refused(shape):
    with pytest.raises(UserError, match="two tables"):
        frechet(np.zeros((5, 2)), np.zeros(shape))
