"""Statistics of categories: by hand, laws, and trees equal to CatBoost's, which make_categorical.py wrote down."""

import itertools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.trees import binning, boosting, categorical, ensemble, objectives, oblivious, prediction
from tests.peers import make_categorical as peer

KEPT = json.loads((pathlib.Path(peer.__file__).with_name("categorical.json")).read_text())["cases"]
RNG = np.random.default_rng(0)
A, B = np.float32([0, 1, 0, 0, 1, 2, 0]), np.float32([5, 5, 5, 6, np.nan, 6, 5])
X, Y = np.stack([A, B, np.arange(7, dtype=np.float32)], 1), np.float32([1, 0, 0, 1, 1, 0, 1])


def noise(rows=4000, categories=800):
    return RNG.integers(0, categories, (rows, 1)).astype(np.float32), RNG.integers(0, 2, rows).astype(np.float32)


def test_statistics_by_hand():
    encoder = categorical.find(X, Y, [0], 2, 1, 2)
    # Category 0 is in rows 0, 2, 3, 6 with targets 1, 0, 1, 1: before each of them 0, 1, 2, 3 rows, 0, 1, 1, 2 above.
    ordered = categorical.ordered(encoder, X, Y, np.arange(7), 2)
    assert ordered.shape == (7, 2 + 4)  # columns 1 and 2, three priors, counter
    np.testing.assert_array_equal(ordered[:, :2], X[:, 1:])
    above = np.array([0, 1, 1, 2])
    for prior, column in zip((0, 0.5, 1), ordered[:, 2:5].T):
        np.testing.assert_allclose(column[[0, 2, 3, 6]] / 15, (above + prior) / [1, 2, 3, 4], rtol=1e-6)
        np.testing.assert_allclose(column[[1, 4, 5]] / 15, np.array([prior, (0 + prior) / 2, prior]), rtol=1e-6)
    np.testing.assert_allclose(ordered[:, 5] / 15, np.array([4, 2, 4, 4, 2, 1, 4]) / 5, rtol=1e-6)
    whole = np.asarray(categorical.encode(encoder, X))
    for prior, column in zip((0, 0.5, 1), whole[:, 2:5].T):
        expected = {0: (3 + prior) / 5, 1: (1 + prior) / 3, 2: prior / 2}
        np.testing.assert_allclose(column / 15, [expected[a] for a in A], rtol=1e-6)
    np.testing.assert_allclose(whole[:, 5], ordered[:, 5], rtol=1e-6)


def test_pairs_by_hand():
    encoder = categorical.find(X, Y, [0, 1], 0, 2, 2)
    assert encoder.combined == ((0,), (1,), (0, 1))
    assert encoder.sources == [(2,)] + [(0,)] * 4 + [(1,)] * 4 + [(0, 1)] * 4
    pair = np.asarray(categorical.encode(encoder, X))[:, -3] / 15  # prior 1/2
    # (0, 5) in rows 0, 2, 6 with 2 above; the missing one of row 4 is a category.
    np.testing.assert_allclose(pair, [2.5 / 4, 0.5 / 2, 2.5 / 4, 1.5 / 2, 1.5 / 2, 0.5 / 2, 2.5 / 4], rtol=1e-6)


def test_one_hot_columns_and_missing_ones():
    encoder = categorical.find(X, Y, [1], 3, 1, 2)
    assert encoder.one_hot == (0,) and encoder.combined == ()
    found = np.asarray(categorical.encode(encoder, X))[:, 2:]
    np.testing.assert_array_equal(found, np.stack([np.isnan(B), B == 5, B == 6], 1))


def test_unseen_categories_have_the_prior():
    encoder = categorical.find(X, Y, [0, 1], 0, 2, 2)
    new = np.float32([[7, 8, 0], [0, 8, 0], [np.nan, 5, 0]])
    found = np.asarray(categorical.encode(encoder, new)) / 15
    np.testing.assert_allclose(found[:, -4:], [[0, 0.5, 1, 0]] * 3)  # no such pair
    np.testing.assert_allclose(found[0, 1:9], [0, 0.5, 1, 0] * 2)
    np.testing.assert_allclose(found[1, 1:5], np.asarray(categorical.encode(encoder, X))[0, 1:5] / 15)


@pytest.mark.parametrize("classes", [2, 4, None])
def test_a_row_does_not_see_its_own_target(classes):
    x = RNG.integers(0, 4, (60, 2)).astype(np.float32)
    y = RNG.integers(0, classes or 2, 60).astype(np.float32)
    encoder, order = categorical.find(x, y, [0, 1], 0, 2, classes), RNG.permutation(60)
    before = categorical.ordered(encoder, x, y, order, classes)
    for at in (0, 13, 59):
        changed = y.copy()
        changed[order[at]] = 0 if y[order[at]] else 1
        after = categorical.ordered(encoder, x, changed, order, classes)
        np.testing.assert_array_equal(after[order[: at + 1]], before[order[: at + 1]])
        assert at == 59 or not np.array_equal(after, before)


def test_statistics_of_all_rows_do_not_depend_on_their_order():
    x, y = noise(500, 20)
    order = RNG.permutation(500)
    one, other = (categorical.find(x[rows], y[rows], [0], 2, 1, 2) for rows in (np.arange(500), order))
    np.testing.assert_array_equal(categorical.encode(one, x), categorical.encode(other, x))
    # and the row that a virtual last one stands for sees all others
    last = categorical.ordered(one, x, y, np.r_[1:500, 0], 2)[0, 2] / 15
    mine = (x[:, 0] == x[0, 0]) & (np.arange(500) > 0)
    np.testing.assert_allclose(last, (y[mine].sum() + 1) / (mine.sum() + 1), rtol=1e-6)


def test_on_noise_ordered_statistics_tell_nothing_of_the_target():
    x, y = noise()
    encoder = categorical.find(x, y, [0], 2, 1, 2)
    greedy = np.corrcoef(np.asarray(categorical.encode(encoder, x))[:, 1], y)[0, 1]
    orders = [categorical.ordered(encoder, x, y, RNG.permutation(len(y)), 2)[:, 1] for _ in range(4)]
    assert greedy > 0.3
    assert np.mean([np.corrcoef(column, y)[0, 1] for column in orders]) < 0.03


@pytest.mark.parametrize("name", KEPT)
def test_trees_are_those_of_catboost(name):
    kept, options = KEPT[name], peer.SAME | peer.CASES[name]
    x, y, new = peer.made(name)
    classes = {"classes": 3, "numbers": None}.get(name, 2)
    encoder = categorical.find(x, y, peer.COLUMNS, options["one_hot_max_size"], 1, classes)
    given = [kept["borders"][0], [], kept["borders"][1], [], []]
    borders = binning.given(categorical.borders_of(encoder, x, given))
    codes = binning.apply(borders, categorical.ordered(encoder, x, y, np.arange(len(y)), classes))
    objective = (
        objectives.get("softmax", classes=3)
        if classes == 3
        else objectives.get("squared" if classes is None else "logistic")
    )
    tree = oblivious.Options(options["depth"], options["l2_leaf_reg"])
    boost = boosting.Options(tree, options["learning_rate"], options["leaf_estimation_method"].lower())
    start = jnp.broadcast_to(jnp.float32(kept["start"]), (len(y), objective.outputs))
    state = boosting.State(start, jax.random.key_data(jax.random.key(0)), jnp.int32(0))
    labels = jnp.asarray(y, jnp.int32 if classes == 3 else jnp.float32)
    count = len(kept["trees"])
    _, grown = boosting.boost(codes, borders.counts, labels, None, objective, boost, None, count, state)
    for t, theirs in enumerate(kept["trees"]):
        np.testing.assert_allclose(grown.leaves[t].ravel(), theirs["leaves"], atol=3e-6, rtol=0, err_msg=f"tree {t}")
    of = ensemble.collect(grown, borders, start[0], objective.name)
    for rows, raw in ((x, kept["predictions"]), (new, kept["unseen"])):
        found = prediction.predict_raw(of, np.asarray(categorical.encode(encoder, rows)))
        np.testing.assert_allclose(found.ravel(), raw, atol=1e-5, rtol=0)
    kinds = set(itertools.chain(*(tree["types"] for tree in kept["trees"])))
    assert {"OnlineCtr", "FloatFeature"} <= kinds and ("OneHotFeature" in kinds) == (name == "two_one_hot")


MISTAKES = {
    "column 0 of the table is 1.5, no category": lambda: categorical.find(X + np.float32([1.5, 0, 0]), Y, [0]),
    "column 3 is none of the 3 columns": lambda: categorical.find(X, Y, [3]),
    "borders of 1 columns; the table has 3": lambda: categorical.borders_of(categorical.find(X, Y, [0]), X, [[1.0]]),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes(message):
    with pytest.raises(UserError, match=message):
        MISTAKES[message]()
