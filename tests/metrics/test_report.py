"""The digest on digits and on points in the plane: rows at equal counts, a floor near 1, a failed model shows it."""

import json

import numpy as np
import pytest

from research.errors import UserError
from research.metrics.report import ROWS, digest, table

rng = np.random.default_rng(0)


def moons(n):
    angle = rng.permutation(np.linspace(0, np.pi, n))  # evenly, so that two small sets do not differ by bad luck
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.05 * rng.normal(size=(n, 2))


TRAIN, TEST = moons(600), moons(200)


@pytest.fixture(scope="module")
def of_digits(digits, judge):
    """Digests of a bootstrap of the training digits, and of noise, with the labels as the condition."""
    train, train_y, test, test_y = digits
    pick = rng.integers(len(train), size=800)
    options = {"scale": 16, "levels": 17, "num_classes": 10, "classifier": judge}
    good = digest(train[pick], train, test, train_y, test_y, condition=train_y[pick], **options)
    noise = rng.integers(17, size=(360, 8, 8, 1))
    return good, digest(noise, train, test, train_y, test_y, condition=np.full(360, 3), **options)


def test_a_bootstrap_of_the_training_data_reaches_the_floor(of_digits):
    good, _ = of_digits
    assert good["sliced_wasserstein/ratio"] == pytest.approx(1, abs=0.15)
    assert good["frechet/ours"] == pytest.approx(good["frechet/floor"], rel=0.5)
    assert good["classifier/agreement"] > 0.97
    assert good["classifier/confident"] > 0.9 and good["classifier/confident_test"] > 0.9
    assert 0.05 < good["classifier/smallest_class"] < 0.1
    assert good["classifier/smallest_class_train"] > 0.09
    assert good["memorization/copies"] == 1.0 and good["memorization/ratio"] < 1


def test_rows_are_ordered_from_the_floor_to_noise(of_digits):
    for metric in ("sliced_wasserstein", "frechet"):
        floor, gaussian, uniform = (of_digits[0][f"{metric}/{row}"] for row in ROWS[1:])
        assert floor < gaussian < uniform


def test_noise_looks_like_noise(of_digits):
    _, bad = of_digits
    assert bad["sliced_wasserstein/ours"] == pytest.approx(bad["sliced_wasserstein/uniform"], rel=0.1)
    assert bad["sliced_wasserstein/ratio"] > 5
    assert bad["classifier/agreement"] < 0.8
    assert bad["classifier/test_accuracy"] >= 0.97
    assert bad["memorization/copies"] == 0.0


def test_the_record_is_json_and_states_counts_space_and_reference(of_digits):
    good, bad = of_digits
    assert json.loads(json.dumps(good)) == good
    assert (good["num_samples"], good["blocks"]) == (360, 2)
    assert (bad["num_samples"], bad["blocks"]) == (360, 1)
    assert "digits" in good["feature_space"] and "360 of 360" in good["reference"]


def test_points_in_the_plane_need_no_classes():
    found = digest(moons(1000), TRAIN, TEST)
    assert found["feature_space"] == "raw coordinates" and found["blocks"] == 4
    assert not any(k.startswith("classifier") for k in found)
    assert found["sliced_wasserstein/ratio"] < 1.5
    assert found["sliced_wasserstein/gaussian"] > 2 * found["sliced_wasserstein/floor"]
    assert found["frechet/gaussian"] < 0.3 * found["frechet/uniform"]  # it has the two moments that Frechet sees
    assert found["memorization/ratio"] == pytest.approx(1, abs=0.25) and found["memorization/copies"] < 0.05
    assert digest(TRAIN, TRAIN, TEST) == digest(TRAIN, TRAIN, TEST)


def test_a_shift_of_the_samples_is_measured_in_the_unit_of_the_data():
    found = digest(TEST + np.array([3.0, 4.0]), TRAIN, TEST)
    assert found["frechet/ours"] == pytest.approx(25, rel=1e-6)
    assert found["sliced_wasserstein/ours"] == pytest.approx(5 / np.sqrt(2), rel=0.05)


def test_integer_data_are_scaled_and_continuous_data_are_not():
    train, test = (rng.integers(5, size=(n, 3)) for n in (90, 30))
    by_levels = digest(test, train, test, scale=4, levels=5)
    assert by_levels["sliced_wasserstein/uniform"] < 0.3
    floats = digest(test / 4.0, train / 4.0, test / 4.0, scale=4)
    assert by_levels["sliced_wasserstein/floor"] == pytest.approx(floats["sliced_wasserstein/floor"], rel=1e-9)
    assert by_levels["sliced_wasserstein/ours"] == pytest.approx(0, abs=1e-12)


def test_fewer_samples_than_test_examples_shrink_every_row():
    found = digest(moons(50), TRAIN, TEST)
    assert (found["num_samples"], found["blocks"]) == (50, 1)
    assert found["sliced_wasserstein/floor"] > digest(moons(200), TRAIN, TEST)["sliced_wasserstein/floor"]


def test_the_table_shows_the_rows(of_digits):
    good, _ = of_digits
    lines = table(good).split("\n")
    assert [line.split()[0] for line in lines[1:5]] == list(ROWS)
    assert len({len(line) for line in lines[:5]}) == 1
    assert lines[2].split()[2] == "1.00"
    assert lines[1].split()[-1] == f"{good['classifier/confident']:.3f}"
    assert table(digest(TEST, TRAIN, TEST)).split("\n")[1].split()[-1] == "-"


def test_bad_samples_are_refused_in_one_sentence():
    broken = TEST.copy()
    broken[3, 0] = np.nan
    with pytest.raises(UserError, match="1 of 200 samples"):
        digest(broken, TRAIN, TEST)
    with pytest.raises(UserError, match="one shape"):
        digest(TEST[:, :1], TRAIN, TEST)
    with pytest.raises(UserError, match="two or more"):
        digest(TEST[:1], TRAIN, TEST)
