"""The Frechet distance of Gaussians fitted to two feature sets (Dowson & Landau 1982; Heusel et al. 2017, eq. 6)."""

import numpy as np

from research.errors import UserError


def frechet(a, b):
    """A float: |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of features a [N, F], b [M, F], in float64.

    With C = R^T R, from the QR decomposition of the centred data, tr (C_a C_b)^(1/2) is the sum of the singular values
    of R_a R_b^T: no covariance is formed or inverted, so singular ones (N <= F, dead features) lose no digits.
    Raises UserError where the feature counts differ, or a set has fewer than two rows.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise UserError(
            f"frechet compares two tables [N >= 2, F] of the same F features, not {a.shape} and {b.shape}; "
            "flatten each example to one row."
        )
    (mu_a, R_a), (mu_b, R_b) = gaussian_fit(a), gaussian_fit(b)
    cross = np.linalg.svd(R_a @ R_b.T, compute_uv=False).sum()
    distance = np.sum((mu_a - mu_b) ** 2) + np.sum(R_a**2) + np.sum(R_b**2) - 2 * cross
    return max(float(distance), 0.0)


def gaussian_fit(x):
    """Mean [F] and factor R [min(N, F), F] of x [N, F]: R^T R is the unbiased covariance."""
    mu = x.mean(axis=0)
    return mu, np.linalg.qr((x - mu) / np.sqrt(len(x) - 1), mode="r")
