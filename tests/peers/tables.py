"""The tables that the peers of the trees were trained on, made anew: by both make_trees.py and the tests."""

import pathlib

import numpy as np
from sklearn import datasets

HOUSING = pathlib.Path(__file__).parents[3] / "shared" / "data" / "california_housing" / "housing.csv"


def friedman(rows=20000, outputs=1):
    """Friedman's first function of ten even numbers, and the same of other columns for more outputs."""
    rng = np.random.default_rng(7)
    x = rng.random((rows, 10), np.float32)
    a, b, c, d, e = (np.stack([x[:, (i + k) % 10] for k in range(outputs)], 1) for i in range(5))
    y = 10 * np.sin(np.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e + rng.standard_normal(a.shape)
    return x, y if outputs > 1 else y[:, 0]


def sparse(x, y):
    """A tenth of the numbers in every other column are missing."""
    x, absent = np.array(x, np.float32), np.random.default_rng(3).random(np.shape(x)) < 0.1
    absent[:, 1::2] = False
    x[absent] = np.nan
    return x, y


def california():
    """The numbers of California housing, y in 100,000 dollars; None where its file is not."""
    if not HOUSING.is_file():
        return None
    rows = np.genfromtxt(HOUSING, delimiter=",", skip_header=1, usecols=range(9))
    return rows[:, :8], rows[:, 8] / 1e5


def standardized(x):
    """Columns of mean 0 and deviation 1, as linear boosting needs them."""
    return ((x - np.nanmean(x, 0)) / np.nanstd(x, 0)).astype(np.float32)


def digits():
    """A quarter of the digits."""
    x, y = datasets.load_digits(return_X_y=True)
    return x[::4], y[::4]


TABLES = {
    "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
    "diabetes_sparse": lambda: sparse(*datasets.load_diabetes(return_X_y=True)),
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "digits": digits,
    "friedman": friedman,
    "friedman_outputs": lambda: friedman(2000, 3),
    "california": california,
}


def load(name):
    """(x float32 [N, F], y float32 [N] or [N, K], weights float32 [N]); None where a file is not there."""
    if (found := TABLES[name]()) is None:
        return None
    x, y = (np.asarray(part, np.float32) for part in found)
    return x, y, (np.random.default_rng(5).integers(1, 9, len(x)) / 4).astype(np.float32)
