"""The digits and one classifier of them, trained once for all tests of this folder."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from research.metrics import classifier


@pytest.fixture(scope="session")
def digits():
    """(train_x [1437, 8, 8, 1], train_y, test_x [360, 8, 8, 1], test_y), pixels 0 .. 16."""
    bunch = load_digits()
    x, y = bunch.images[..., None].astype(np.uint8), bunch.target
    order = np.random.default_rng(0).permutation(len(x))
    return x[order[360:]], y[order[360:]], x[order[:360]], y[order[:360]]


@pytest.fixture(scope="session")
def judge(digits):
    """A classifier of the digits, at half the usual number of steps."""
    return classifier.train(digits[0], digits[1], 10, 17, steps=500, name="digits")
