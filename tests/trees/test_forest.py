"""Forests predict what a walk by hand finds, in a heap or not, and say in numbers what was grown on codes."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.trees import binning, explain, forest, prediction
from tests.trees.made import random, random_forest, random_levels, walked

CASES = [
    {"side": "left"},
    {"side": "right"},
    {"outputs": 3},
    {"outputs": 3, "per_output": True},
    {"trees": 37},  # more than are summed at once, and no multiple
    {"nodes": 1},
    {"nodes": 61, "trees": 3, "outputs": 2},  # deeper than DENSE
    {"missing": "forbid", "names": ("a", "b", "c")},
]


def shallow(made):
    """Whether a heap may hold it."""
    return made.depth <= forest.DENSE


@pytest.mark.parametrize("case", CASES, ids=str)
def test_predictions_are_those_of_trees_walked_by_hand(case):
    made, x = random_forest(**case)
    said = json.loads(json.dumps(explain.describe(made)))
    if made.names:
        x_said = {name: x[:, i] for i, name in enumerate(made.names)}
        truth = walked(said, [{name: column[i] for name, column in x_said.items()} for i in range(len(x))])
    else:
        truth = walked(said, x)
    found = prediction.predict_raw(made, x)
    assert found.dtype == np.float32 and found.shape == (len(x), case.get("outputs", 1))
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5)
    moved = forest.heaped(made)
    assert moved.heap == shallow(made)
    np.testing.assert_allclose(prediction.predict_raw(moved, x), truth, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        prediction.predict_encoded(made, prediction.encode(made, x)), truth, rtol=1e-5, atol=1e-5
    )


def test_a_heap_has_the_same_nodes_in_their_places():
    made, _ = random_forest(nodes=9, outputs=2, per_output=True)
    assert made.depth <= forest.DENSE
    moved = forest.heaped(made)
    assert explain.describe(moved) == explain.describe(made) and forest.heaped(moved) is moved
    inner = np.asarray(moved.left) > 0
    places = np.arange(2 ** (made.depth + 1) - 1)
    np.testing.assert_array_equal(moved.left, np.where(inner, 2 * places + 1, 0))
    for name in forest.OF_TREES:
        assert getattr(moved, name).dtype == getattr(made, name).dtype, name
    bare = forest.heaped(dataclasses.replace(made, gain=None, cover=None))
    assert bare.gain is None and bare.cover is None


def by_codes(trees, borders, x):
    """Sums [N, K] of trees that were grown level by level, a row and a question at a time, on codes."""
    codes, found = binning.apply(borders, x), []
    rounds, count, _ = trees.feature.shape
    for row in codes.T:
        total = []
        for t, j in np.ndindex(rounds, count):
            i = 0
            while i < trees.feature.shape[2] and (f := int(trees.feature[t, j, i])) >= 0:
                right = row[f] > trees.threshold[t, j, i]
                if borders.missing == "learn" and row[f] == borders.bins - 1:
                    right = trees.missing_right[t, j, i]
                i = 2 * i + 1 + int(right)
            total.append(np.asarray(trees.leaves[t, j, i], np.float64))
        found.append(np.reshape(total, (rounds, -1)).sum(0))
    return np.array(found)


LEVELS = [{"side": side, "missing": missing} for side in ("left", "right") for missing in ("min", "max", "learn")]
LEVELS += [{"missing": "forbid"}, {"outputs": 2}, {"outputs": 2, "per_output": True}, {"depth": 8, "trees": 2}]


@pytest.mark.parametrize("case", LEVELS, ids=str)
def test_what_was_grown_on_codes_is_said_in_numbers(case):
    trees, borders, x = random_levels(**case)
    start = np.arange(1, 1 + case.get("outputs", 1))
    made = forest.collect(trees, borders, start, "squared")
    truth = by_codes(trees, borders, x) + start
    found = prediction.predict_raw(made, x)
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(walked(explain.describe(made), x), truth, rtol=1e-5, atol=1e-5)
    plain = dataclasses.replace(made, heap=False)
    np.testing.assert_allclose(prediction.predict_raw(plain, x), truth, rtol=1e-5, atol=1e-5)


def test_the_cover_of_a_node_is_that_of_its_leaves():
    trees, borders, _ = random_levels(outputs=2, per_output=True)
    made = forest.collect(trees, borders, [0, 0], "squared")
    inner = np.asarray(made.left) > 0
    for t, j, i in np.argwhere(inner):
        children = made.cover[t, j, 2 * i + 1] + made.cover[t, j, 2 * i + 2]
        assert made.cover[t, j, i] == children > 0
    np.testing.assert_array_equal(made.cover[:, :, 0], trees.cover.sum(2))
    assert not made.gain[~inner].any() and not made.missing_right[~inner].any()
    np.testing.assert_array_equal(made.gain[:, :, :7], trees.gain)


def test_what_is_collected_in_x64_holds_nothing_of_64_bits():
    trees, borders, x = random_levels()
    with jax.enable_x64(True):
        made = jax.jit(lambda trees: forest.collect(trees, borders, jnp.zeros(1), "squared"))(trees)
        found = jax.jit(prediction.predict_raw)(made, jnp.asarray(x))
    assert all(leaf.dtype.itemsize <= 4 for leaf in jax.tree.leaves((made, found)))
    assert made.missing_right.dtype == bool and made.feature.dtype == made.left.dtype == np.int32


@pytest.mark.parametrize("case", [{}, {"side": "right", "missing": "max"}, {"missing": "learn", "outputs": 3}], ids=str)
@pytest.mark.parametrize("depth", [0, 3, 8])
def test_an_oblivious_ensemble_is_a_forest(case, depth):
    made, x = random(depth=depth, **case)
    other = forest.of_oblivious(made)
    np.testing.assert_array_equal(prediction.predict_raw(other, x), prediction.predict_raw(made, x))
    for kind in ("gain", "cover"):
        np.testing.assert_allclose(explain.importances(other, kind), explain.importances(made, kind), rtol=1e-5)
    bare = forest.of_oblivious(dataclasses.replace(made, gain=None, cover=None))
    assert bare.gain is None and bare.cover is None


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("heap", [True, False])
def test_the_least_and_the_greatest_numbers_are_in_order(side, heap):
    least, most = np.float32(1e-45), np.finfo(np.float32).max
    values = np.array([-np.inf, -most, -least, 0, least, most, np.inf], np.float32)
    x = np.array([-most, -2e-45, -least, -0.0, 0, least, 2e-45, 1, most, np.nan, np.nan], np.float32)
    stump = np.zeros((len(values), 1, 3))
    of_nodes = {"feature": stump.astype(np.int32), "border": stump + [0, 0, 0], "missing_right": stump > 0}
    of_nodes["border"][:, 0, 0] = values
    of_nodes["left"] = (stump + [1, 0, 0]).astype(np.int32)
    of_nodes["value"] = (stump + [0, 0, 1])[..., None] * 2.0 ** np.arange(len(values))[:, None, None, None]
    rest = dict(
        gain=None, cover=None, start=jnp.zeros(1), side=side, depth=1, columns=1, objective="squared", heap=heap
    )
    for missing in (False, True):
        of_nodes["missing_right"][:, 0, 0] = missing
        kinds = {"border": np.float32, "value": np.float32}
        arrays = {name: jnp.asarray(a, kinds.get(name, a.dtype)) for name, a in of_nodes.items()}
        found = prediction._of_x(forest.Forest(**arrays, **rest), x[:, None])[:, 0].astype(int)
        right = x[:, None] > values if side == "left" else x[:, None] >= values
        right[np.isnan(x)] = missing
        np.testing.assert_array_equal(found, (right * 2 ** np.arange(len(values))).sum(1))


@pytest.mark.parametrize("case", [{"nodes": 61, "trees": 3}, {"outputs": 2, "per_output": True}], ids=str)
def test_a_forest_and_its_rows_pass_jit_and_vmap(case):
    made, x = random_forest(**case)
    for of in (made, forest.heaped(made)):
        truth = prediction.predict_raw(of, x)
        np.testing.assert_allclose(jax.jit(prediction.predict_raw)(of, x), truth, rtol=1e-6)
        two = jax.tree.map(lambda a: jnp.stack([a, a]), of)
        found = jax.vmap(prediction.predict_raw, (0, None))(two, jnp.asarray(x))
        np.testing.assert_allclose(found, [truth, truth], rtol=1e-6)
    with pytest.raises(UserError, match=r"x has shape \[60, 2\]; it should be \[rows, 3\]"):
        jax.jit(prediction.predict_raw)(made, x[:, :2])


def test_stages_are_the_predictions_of_the_first_rounds():
    made, x = random_forest(trees=7, outputs=2, per_output=True)
    for count, stage in zip([3, 6, 7], prediction.staged(made, x, 3), strict=True):
        np.testing.assert_allclose(stage, prediction.predict_raw(made, x, count), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(prediction.predict_raw(made, x, 0), np.tile([1.0, 2.0], (len(x), 1)))
    with pytest.raises(UserError, match="8 trees are asked for; the ensemble has 7"):
        prediction.predict_raw(made, x, 8)


def test_mistakes_are_named():
    made, x = random_forest(missing="forbid", names=("a", "b", "c"))
    with pytest.raises(UserError, match="the table has 2 columns; it should have 3"):
        prediction.predict_raw(made, x[:, :2])
    x[13, 1] = np.nan
    with pytest.raises(UserError, match="row 13, column 'b' of the table is missing"):
        prediction.predict_raw(made, x)
    with pytest.raises(UserError, match="row 13, column 'b' of the table is missing"):
        next(prediction.staged(made, x))


def test_importances_by_hand():
    made, _ = random_forest(trees=2, nodes=5)
    left = jnp.array([[[1, 0, 3, 0, 0]], [[1, 0, 0, 0, 0]]])
    fields = dict(feature=jnp.array([[[0, 0, 2, 0, 0]], [[2, 0, 0, 0, 0]]]), left=left)
    fields["gain"] = jnp.array([[[3.0, 0, 1, 0, 0]], [[4.0, 0, 0, 0, 0]]])
    fields["cover"] = jnp.array([[[10.0, 4, 6, 5, 1]], [[10.0, 9, 1, 0, 0]]])
    made = dataclasses.replace(made, **fields)
    np.testing.assert_allclose(explain.importances(made), [3 / 8, 0, 5 / 8])
    np.testing.assert_allclose(explain.importances(made, "splits"), [1 / 3, 0, 2 / 3])
    np.testing.assert_allclose(explain.importances(made, "cover"), [10 / 26, 0, 16 / 26])
    with pytest.raises(UserError, match="the trees do not say their cover; choose 'splits'"):
        explain.importances(dataclasses.replace(made, cover=None), "cover")


def test_permutation_asks_the_columns_that_are_asked():
    made, x = random_forest(trees=1, nodes=3)
    made = dataclasses.replace(made, feature=made.feature.at[:].set(1))
    y = prediction.predict_raw(made, x)
    found = explain.permutation(made, x, lambda raw: (raw == y).mean(), repeats=20)
    assert found[1] > 0.1 and found[0] == found[2] == 0
