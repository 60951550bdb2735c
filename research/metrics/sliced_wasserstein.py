"""The sliced 2-Wasserstein distance of two samples (Rabin et al. 2012; Bonneel et al. 2015)."""

import numpy as np

from research.errors import UserError


def sliced_wasserstein(a, b, num_projections=512, seed=0):
    """A float: the sliced 2-Wasserstein distance of equally many a, b [N, ...], flattened, in the unit of the data.

    SW_2^2 = E_w W_2^2(a.w, b.w) over directions w on the unit sphere; in one dimension the optimal coupling joins the
    sorted values. The directions depend on the seed and the dimension alone, so that two calls compare like with like.
    Raises UserError where a and b differ in number or shape.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or len(a) == 0:
        raise UserError(
            f"sliced_wasserstein compares equally many samples of one shape, not {a.shape} and {b.shape}; "
            "cut the larger set."
        )
    directions = projections(a[0].size, num_projections, seed)
    # A direction is a row: sorting along what lies together takes half the time.
    a, b = (np.sort(directions.T @ x.reshape(len(x), -1).T, axis=1) for x in (a, b))
    return float(np.sqrt(np.mean(np.square(a - b))))


def projections(dim, num_projections, seed):
    """Directions [dim, num_projections], uniform on the unit sphere."""
    w = np.random.default_rng(seed).standard_normal((dim, num_projections))
    return w / np.linalg.norm(w, axis=0)
