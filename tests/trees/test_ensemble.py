"""Predictions are those of trees walked by hand, on any path to them; what is said of an ensemble is what it is."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.trees import binning, ensemble, explain, prediction
from tests.trees.made import random, walked

CASES = [
    *({"side": side, "missing": missing} for side in ("left", "right") for missing in ("min", "max", "learn")),
    {"missing": "forbid"},
    {"outputs": 3, "depth": 1},
    {"trees": 37},  # more than are summed at once, and no multiple
    {"depth": 9, "missing": "learn"},  # a leaf's number takes more than a byte
    {"borders": 400, "side": "right", "missing": "max"},  # so does a code
    {"depth": 0},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_predictions_are_those_of_trees_walked_by_hand(case):
    made, x = random(**case)
    truth = walked(json.loads(json.dumps(explain.describe(made))), x)
    found = prediction.predict_raw(made, x)
    assert found.dtype == np.float32 and found.shape == (len(x), case.get("outputs", 1))
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5)
    codes = binning.apply(ensemble.borders_of(made), x)
    np.testing.assert_array_equal(ensemble.encode(made, x), codes)
    assert ensemble.encode(made, x).dtype == codes.dtype
    np.testing.assert_allclose(prediction.predict_encoded(made, codes), truth, rtol=1e-5, atol=1e-5)


def test_rows_in_chunks_and_batches_are_the_same_rows(monkeypatch):
    made, x = random(rows=150, trees=6)  # shapes that no other test compiles
    truth = walked(explain.describe(made), x)
    monkeypatch.setattr(prediction, "ROWS", 8)
    monkeypatch.setattr(prediction, "BATCH", 64)
    for rows in (1, 7, 8, 9, 16, 63, 64, 65, 128, 150):
        np.testing.assert_allclose(prediction.predict_raw(made, x[:rows]), truth[:rows], rtol=1e-5, atol=1e-5)
    codes = binning.apply(ensemble.borders_of(made), x[:45])
    np.testing.assert_allclose(prediction.predict_encoded(made, codes), truth[:45], rtol=1e-5, atol=1e-5)


def test_an_ensemble_and_its_rows_pass_jit_and_vmap():
    made, x = random(outputs=2, missing="learn")
    truth = prediction.predict_raw(made, x)
    np.testing.assert_allclose(jax.jit(prediction.predict_raw)(made, x), truth, rtol=1e-6)
    two = jax.tree.map(lambda a: jnp.stack([a, a]), made)
    np.testing.assert_allclose(jax.vmap(prediction.predict_raw, (0, None))(two, jnp.asarray(x))[1], truth, rtol=1e-6)
    with pytest.raises(UserError, match=r"x has shape \[50, 2\]; it should be \[rows, 3\]"):
        jax.jit(prediction.predict_raw)(made, x[:, :2])


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_least_numbers_are_in_order(side):
    least, normal = np.float32(1e-45), np.finfo(np.float32).tiny
    values = np.array([-normal, -least, 0, least, normal], np.float32)
    borders = binning.given([values], side)
    made = ensemble.collect(random()[0], borders, [0], "squared")
    x = np.array([*values, -0.0, 2e-45, -2e-45, 1, -1, np.inf, -np.inf], np.float32)[:, None]
    below = (x > values if side == "left" else x >= values).sum(1)
    np.testing.assert_array_equal(ensemble.encode(made, x)[0], below)


def test_bounds_of_a_column_of_one_value_are_not_needed():
    made, x = random(missing="min")
    borders = binning.given([[], [], []])
    none = ensemble.collect(made, borders, made.start, "squared")  # all questions are answered with 0
    found = prediction.predict_raw(none, x[:1])
    np.testing.assert_allclose(found[0], made.start + made.leaves[:, 0].sum(0), rtol=1e-6)


@pytest.mark.parametrize("every", [1, 3])
def test_stages_are_the_predictions_of_the_first_trees(every):
    made, x = random(trees=7, outputs=2)
    stages = list(prediction.staged(made, x, every))
    counts = [1, 2, 3, 4, 5, 6, 7] if every == 1 else [3, 6, 7]
    for count, stage in zip(counts, stages, strict=True):
        np.testing.assert_allclose(stage, prediction.predict_raw(made, x, count), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(prediction.predict_raw(made, x, 0), np.tile([1.0, 2.0], (len(x), 1)))
    with pytest.raises(UserError, match="8 trees are asked for; the ensemble has 7"):
        prediction.predict_raw(made, x, 8)


def test_sums_of_many_trees_keep_their_digits():
    made, x = random(trees=4096, depth=1, rows=4)
    many = jnp.full_like(made.leaves, 0.1)  # one after the other the sum is 1.5e-5 off
    found = prediction.predict_raw(dataclasses.replace(made, leaves=many), x)
    np.testing.assert_allclose(found, 1 + 4096 * float(np.float32(0.1)), rtol=5e-6)


def test_mistakes_are_named():
    made, x = random(missing="forbid", names=("a", "b", "c"))
    with pytest.raises(UserError, match="the table has 2 columns; it should have 3"):
        prediction.predict_raw(made, x[:, :2])
    bad = x.copy()
    bad[13, 1] = np.nan
    with pytest.raises(UserError, match="row 13, column 'b' of the table is missing"):
        prediction.predict_raw(made, bad)
    pandas = pytest.importorskip("pandas")
    other = pandas.DataFrame(x, columns=["b", "a", "c"])
    for ask in (prediction.predict_raw, lambda made, x: explain.permutation(made, x, np.mean)):
        with pytest.raises(UserError, match="column 0 of the table is 'b' and should be 'a'"):
            ask(made, other)


def test_importances_by_hand():
    made, _ = random(trees=2, depth=2)
    made = dataclasses.replace(
        made,
        feature=jnp.array([[0, 2], [2, 2]]),
        gain=jnp.array([[1.0, 2.0], [-3.0, 1.0]]),  # by a level that made it worse
        cover=jnp.array([[1.0, 2, 3, 4], [5, 5, 5, 5]]),
    )
    np.testing.assert_allclose(explain.importances(made), [1 / 4, 0, 3 / 4])
    np.testing.assert_allclose(explain.importances(made, "splits"), [1 / 4, 0, 3 / 4])
    np.testing.assert_allclose(explain.importances(made, "cover"), [10 / 60, 0, 50 / 60])
    nothing = dataclasses.replace(made, gain=jnp.zeros((2, 2)))
    np.testing.assert_array_equal(explain.importances(nothing), [0, 0, 0])
    with pytest.raises(UserError, match="the trees do not say their gain; choose 'splits'"):
        explain.importances(dataclasses.replace(made, gain=None))
    with pytest.raises(UserError, match="the kind of importance is 'split'; did you mean 'splits'"):
        explain.importances(made, "split")


def test_permutation_finds_the_column_that_matters():
    made, x = random(rows=400, depth=1, trees=1)
    made = dataclasses.replace(
        made, feature=jnp.array([[1]]), threshold=jnp.array([[3]]), leaves=jnp.array([[[0.0], [1.0]]])
    )
    y, kept = prediction.predict_raw(made, x), x.copy()
    found = explain.permutation(made, x, lambda raw: (raw == y).mean(), seed=1, repeats=20)
    share = (y == 2).mean()  # a shuffled row is as likely to be on one side as any row is
    np.testing.assert_allclose(found, [0, 2 * share * (1 - share), 0], atol=0.02)
    np.testing.assert_array_equal(x, kept)


def test_every_tree_is_said_with_its_borders_gains_and_cover():
    made, _ = random(outputs=2, depth=2, trees=3, names=("a", "b", "c"), missing="learn")
    said = explain.describe(made)
    assert said["objective"] == "squared" and said["start"] == [1.0, 2.0] and len(said["trees"]) == 3
    for t, d in itertools.product(range(3), range(2)):
        split, feature = said["trees"][t]["splits"][d], int(made.feature[t, d])
        assert split["feature"] == "abc"[feature] and split["gain"] == float(made.gain[t, d])
        assert split["border"] == float(made.borders[feature, made.threshold[t, d]])
        assert split["missing"] == ("right" if made.missing_right[t, d] else "left")
    assert said["trees"][2]["cover"] == made.cover[2].tolist() and said["trees"][2]["leaves"] == made.leaves[2].tolist()
