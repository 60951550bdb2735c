"""The memorization figures on Gaussians: fresh draws, copies, near copies, and brute force."""

import numpy as np
import pytest

from research.errors import UserError
from research.metrics.memorization import _nearest, memorization

rng = np.random.default_rng(0)
TRAIN, TEST, FRESH = rng.normal(size=(400, 5)), rng.normal(size=(200, 5)), rng.normal(size=(300, 5))


def test_fresh_draws_are_as_far_as_real_held_out_data():
    found = memorization(FRESH, TRAIN, TEST)
    assert found["ratio"] == pytest.approx(1, abs=0.08)
    assert found["copies"] < 0.05


def test_copies_of_the_training_set_are_found():
    found = memorization(TRAIN, TRAIN, TEST)
    assert found["ratio"] < 0.9
    assert found["copies"] == 1.0


def test_near_copies_are_found_and_half_of_them_is_half():
    near = TRAIN[:150] + 1e-3 * FRESH[:150]
    assert memorization(near, TRAIN, TEST)["copies"] == 1.0
    assert memorization(np.concatenate([near, FRESH[:150]]), TRAIN, TEST)["copies"] == pytest.approx(0.5, abs=0.03)


def test_copies_of_held_out_data_are_the_opposite():
    found = memorization(TEST, TRAIN, TEST)
    assert found["ratio"] > 1.1
    assert found["copies"] < 0.03  # by construction: the nearest 1 % of real test examples


def test_the_order_and_the_unit_of_the_data_do_not_matter():
    by_class = TRAIN[np.argsort(TRAIN[:, 0])]
    assert memorization(FRESH, by_class, TEST)["ratio"] == pytest.approx(1, abs=0.08)
    first, scaled = memorization(FRESH, TRAIN, TEST), memorization(*(100 + 30 * x for x in (FRESH, TRAIN, TEST)))
    assert scaled["ratio"] == pytest.approx(first["ratio"], rel=1e-3)
    assert scaled["copies"] == first["copies"]


def test_nearest_is_brute_force_and_exact_on_copies():
    q, refs = FRESH[:20].astype(np.float32), TRAIN[:30].astype(np.float32)
    expected = np.linalg.norm(q[:, None] - refs[None], axis=-1).min(axis=1)
    np.testing.assert_allclose(_nearest(q, refs), expected, rtol=1e-5)
    np.testing.assert_array_equal(_nearest(refs[:7] + 1000, refs + 1000), np.zeros(7))


def test_images_and_a_training_set_smaller_than_half_the_test_set():
    found = memorization(FRESH.reshape(-1, 5, 1, 1), TRAIN[:60].reshape(-1, 5, 1, 1), TEST.reshape(-1, 5, 1, 1))
    assert found["ratio"] == pytest.approx(1, abs=0.2)


def test_wrong_input_is_refused():
    with pytest.raises(UserError, match="two or more test examples"):
        memorization(FRESH, TRAIN, TEST[:1])
    with pytest.raises(UserError, match="one shape"):
        memorization(FRESH[:, :4], TRAIN, TEST)
