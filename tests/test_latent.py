"""The latent of a linear map, where lines and directions are known."""

import jax
import numpy as np

from research import bijectors as bj
from research import latent

FLOW = bj.invertible_conv("plu")
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
PARAMS = FLOW.init(jax.random.key(0), X)


def test_a_linear_latent_has_straight_lines_between_data():
    path = latent.interpolate(FLOW, PARAMS, X[:3], X[3:], num=5)
    weights = np.linspace(0, 1, 5)[:, None, None]
    np.testing.assert_allclose(path, (1 - weights) * X[:3] + weights * X[3:], atol=1e-5)


def test_a_curved_latent_meets_both_ends_and_bends_between():
    flow = bj.logit(0.05, -1.0, 1.0)
    x = np.array([[[0]], [[255]]], np.uint8)
    path = latent.interpolate(flow, {"params": {}}, x[:1], x[1:], num=5, levels=256)
    assert path.dtype == np.uint8 and path[:, 0, 0, 0].tolist()[::4] == [0, 255]
    assert path[2, 0, 0, 0] in (127, 128) and path[1, 0, 0, 0] < 64 - 20  # the logit's middle is steep


def test_an_attribute_is_the_difference_of_two_means():
    step = latent.direction(FLOW, PARAMS, X[:4], X[4:])
    moved = latent.shift(FLOW, PARAMS, X, step, 0.5)
    np.testing.assert_allclose(moved, X + 0.5 * (X[:4].mean(axis=0) - X[4:].mean(axis=0)), atol=1e-5)
