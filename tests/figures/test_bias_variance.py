"""Bias and variance by a law of variance components, and trees of a forest one by one."""

import numpy as np
import pytest

from research.figures import bias_variance
from research.trees import prediction
from research.trees.estimators import RandomForestRegressor

RNG = np.random.default_rng(0)


def test_bias_and_variance_of_trees_with_known_ones():
    """Trees say truth + 1/2 + a of their training set + b of their own, of variances 4 and 9."""
    truth = RNG.normal(size=40)
    said = truth + 0.5 + 2 * RNG.normal(size=(800, 1, 40)) + 3 * RNG.normal(size=(800, 6, 40))
    found = bias_variance.split(said, truth)
    np.testing.assert_allclose(found["variance"], 4 + 9 / np.arange(1, 7), rtol=0.03)
    np.testing.assert_allclose(found["bias2"], 0.25, atol=0.05)
    assert found["correlation"] == pytest.approx(4 / 13, abs=0.01)


def test_bias_is_not_made_greater_by_few_training_sets():
    """With 3 sets the mean of what they say has a variance of a third, which is no bias."""
    found = bias_variance.split(RNG.normal(size=(3, 1, 20000)).repeat(2, axis=1), np.zeros(20000))
    assert abs(found["bias2"][0]) < 0.03 and found["variance"][0] == pytest.approx(1, abs=0.03)
    assert found["correlation"] == pytest.approx(1)


def test_each_tree_of_a_forest():
    x = RNG.random((300, 10)).astype(np.float32)
    model = RandomForestRegressor(20, max_features=3, oob_score=True, random_state=0).fit(
        x[:50], x[:50, 0] + x[:50, 1] ** 2
    )
    each = bias_variance.each_tree(model.forest_, x, 100)
    assert each.shape == (20, 300) and np.ptp(each, axis=0).max() > 0
    np.testing.assert_allclose(each.mean(axis=0), model.predict(x), rtol=1e-5)
    alone = prediction.predict_raw(prediction.first(model.forest_, 1), x)[:, 0]  # its part of the mean
    np.testing.assert_allclose(each[0], 20 * alone, rtol=1e-5)
