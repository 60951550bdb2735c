"""The Gaussian with the mean and the full covariance of the training data: the density that a model has to beat."""

import numpy as np

from research.errors import UserError

SINGULAR = 1e-10  # least eigenvalue of the columns' correlations below which continuous data lie in a subspace
RIDGE = 1e-6  # added then to each column's variance, as a part of it


def bits_per_dim(train, test, levels=None):
    """A float: -log2 p(test) / D, averaged, of a Gaussian fitted to train [N, ...]; test [M, ...], D entries each.

    Per unit of the data as stored, in float64; the covariance is the maximum-likelihood one (over N). Integers
    0..levels-1 are dequantised, x + u with u ~ U[0, 1)^D, and the mean over u is exact in both places: the fit has the
    mean m + 1/2 and the covariance C + I/12, m and C those of train, and with P its inverse
        E_u -ln p(x + u) = ((x - m)^T P (x - m) + tr(P) / 12 + ln det(2 pi (C + I/12))) / 2.
    Continuous data (levels None) whose columns are linearly dependent (an eigenvalue of their correlations below 1e-10)
    get 1e-6 of each column's variance added to it (of the mean variance, for a constant column): the value then
    depends on this ridge. Raises UserError where shapes differ, train has fewer than two examples or no spread, test
    has none, an entry is not finite, or, with levels, is no integer in their range.
    """
    train, test = _rows(train, test, levels)
    train, test = train - train[0], test - train[0]  # so that a constant column has a variance of 0, without rounding
    dim, mean = train.shape[1], train.mean(axis=0)
    cov = (train - mean).T @ (train - mean) / len(train)
    cov = _regular(cov) if levels is None else cov + np.eye(dim) / 12
    L = np.linalg.cholesky(cov)
    W = np.linalg.inv(L)  # P = W^T W
    quadratic = np.sum(((test - mean) @ W.T) ** 2) / len(test)
    if levels is not None:
        quadratic += np.sum(W**2) / 12
    nats = (quadratic + dim * np.log(2 * np.pi)) / 2 + np.sum(np.log(np.diag(L)))
    return float(nats / (dim * np.log(2)))


def _rows(train, test, levels):
    train, test = (np.asarray(x, np.float64) for x in (train, test))
    if train.shape[1:] != test.shape[1:] or train.ndim < 2 or len(train) < 2 or test.size == 0:
        raise UserError(
            f"a Gaussian is fitted to two or more examples and tested on others of one shape, not on {train.shape} "
            f"and {test.shape}; give arrays [N, ...] and [M, ...]."
        )
    for name, x in (("train", train), ("test", test)):
        if not np.isfinite(x).all():
            raise UserError(f"{name} holds NaN or infinity, which have no density; clean it first.")
        if levels is not None and not ((x >= 0) & (x < levels) & (x == np.floor(x))).all():
            raise UserError(
                f"{name} holds {x.min():g} to {x.max():g}, not integers 0..{levels - 1} alone; give the data as "
                "stored, or levels=None for continuous ones."
            )
    return train.reshape(len(train), -1), test.reshape(len(test), -1)


def _regular(cov):
    """The covariance [D, D], with a ridge where it is singular."""
    variance = np.diag(cov)
    if not variance.any():
        raise UserError("the training data are one point, which has no density; give examples that differ.")
    scale = np.sqrt(np.where(variance == 0, variance.mean(), variance))
    correlations = cov / np.outer(scale, scale)
    if np.linalg.eigvalsh(correlations)[0] >= SINGULAR:
        return cov
    return cov + RIDGE * np.diag(scale**2)
