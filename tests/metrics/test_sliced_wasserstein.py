"""Sliced Wasserstein against closed forms."""

import numpy as np
import pytest

from research.errors import UserError
from research.metrics.sliced_wasserstein import projections, sliced_wasserstein


def test_shift_of_one_point_is_exact_for_the_directions_used():
    m = np.array([3.0, -1.0, 0.5, 2.0])
    w = projections(4, 512, 7)
    found = sliced_wasserstein(np.zeros((5, 4)), np.tile(m, (5, 1)), seed=7)
    assert found == pytest.approx(np.sqrt(np.mean((m @ w) ** 2)), rel=1e-12)
    assert found == pytest.approx(np.linalg.norm(m) / 2, rel=0.1)  # E (m.w)^2 = |m|^2 / d


def test_a_shift_moves_a_whole_cloud_like_one_point():
    x, m = np.random.default_rng(0).normal(size=(50, 3)), np.array([1.0, 2.0, 2.0])
    assert sliced_wasserstein(x, x + m) == pytest.approx(sliced_wasserstein(np.zeros((1, 3)), m[None]), rel=1e-12)


def test_scaling_one_sample_gives_the_difference_of_standard_deviations():
    x = np.random.default_rng(0).normal(size=(400, 6))
    second_moment = np.sqrt(np.mean((x @ projections(6, 512, 0)) ** 2))
    assert sliced_wasserstein(2.0 * x, 3.5 * x) == pytest.approx(1.5 * second_moment, rel=1e-12)


def test_gaussians_of_two_widths():
    rng = np.random.default_rng(1)
    a, b = 2.0 * rng.normal(size=(20000, 3)), 0.5 * rng.normal(size=(20000, 3))
    assert sliced_wasserstein(a, b) == pytest.approx(1.5, rel=0.02)


def test_one_dimension_is_the_sorted_coupling():
    a, b = np.random.default_rng(2).normal(size=(2, 30, 1))
    expected = np.sqrt(np.mean((np.sort(a[:, 0]) - np.sort(b[:, 0])) ** 2))
    assert sliced_wasserstein(a, b, num_projections=3) == pytest.approx(expected, rel=1e-12)


def test_symmetric_and_blind_to_order():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 40, 4, 4, 1))
    assert sliced_wasserstein(a, b) == pytest.approx(sliced_wasserstein(b, a), rel=1e-12)
    assert sliced_wasserstein(a, rng.permutation(a)) == pytest.approx(0, abs=1e-12)
    assert sliced_wasserstein(a, b) > 0.1


def test_directions_are_unit_and_seeded():
    w = projections(5, 64, 0)
    np.testing.assert_allclose(np.linalg.norm(w, axis=0), 1, rtol=1e-12)
    np.testing.assert_array_equal(w, projections(5, 64, 0))
    assert not np.array_equal(w, projections(5, 64, 1))


def test_integers_do_not_wrap_around():
    a, b = np.array([[3], [250]], np.uint8), np.array([[5], [248]], np.uint8)
    assert sliced_wasserstein(a, b) == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize("shape", [(4, 2), (5, 3), (5,)])
def test_sets_that_differ_are_refused(shape):
    with pytest.raises(UserError, match="equally many"):
        sliced_wasserstein(np.zeros((5, 2)), np.zeros(shape))
