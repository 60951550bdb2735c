"""The 1797 handwritten digits of 8 x 8 pixels that come with scikit-learn: real images without a download."""

import numpy as np

from research.data.source import Dataset, from_arrays

TEST = 360  # the first of a fixed permutation; the other 1437 are for training


def load(config):
    """The Dataset of x uint8 [8, 8, 1] with 17 levels, in ten classes; the split does not depend on the config."""
    from sklearn.datasets import load_digits  # takes a second to import, so not for those who load something else

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, labels = found.images[order, ..., None].astype(np.uint8), found.target[order].astype(np.int32)
    train, test = from_arrays(x[TEST:], labels[TEST:]), from_arrays(x[:TEST], labels[:TEST])
    return Dataset(train, test, (8, 8, 1), num_classes=10, levels=17)
