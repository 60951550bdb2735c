"""The boundary's figure: each place has the colour of what a classifier says there."""

import types

import numpy as np
import pytest

from research.figures import boundary

X, Y = np.array([[0.0, 0], [4, 0], [0, 2], [4, 2]]), np.array(["l", "r", "l", "r"])


def test_points_and_colours():
    def of_side(x):
        right = (x[:, 0] > 3).astype(float)
        return np.stack([1 - right, right], 1)

    def of_height(x):
        return np.stack([np.full(len(x), 0.5), np.full(len(x), 0.5)], 1) + 0.1 * np.sign(x[:, 1:] - 1) * [-1, 1]

    models = {
        "side": types.SimpleNamespace(predict_proba=of_side),
        "height": types.SimpleNamespace(predict_proba=of_height),
    }
    points = boundary.points(models, X, Y, size=10)
    assert points["label"] == [0, 1, 0, 1] and points["extent"] == pytest.approx([-0.2, 4.2, -0.1, 2.1])
    side, height = (np.array(points["probability"][name]) for name in models)
    assert side.shape == (10, 10, 2)
    assert (side[:, 0] == [1, 0]).all() and (side[:, -1] == [0, 1]).all()  # columns are the first coordinate
    assert (height[0, :, 1] < 0.5).all() and (height[-1, :, 1] > 0.5).all()  # rows go upwards
    pytest.importorskip("matplotlib")
    figure = boundary.draw(points)
    assert [axis.get_title() for axis in figure.axes] == ["side", "height"]
    image = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(1 - image[0, 0], 0.6 * (1 - boundary.COLORS[0]), atol=1e-6)
    np.testing.assert_allclose(1 - image[0, -1], 0.6 * (1 - boundary.COLORS[1]), atol=1e-6)
