"""Trees on binned columns: those of cart.py where each value has a bin, those on codes where not; laws, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.trees import binned, cart, predict_raw

GINI, SQUARED = cart.Options(), cart.Options("squared_error")
ROWS, TOTAL, TREES = 1200, 2047, 3


@functools.cache
def table():
    """x of up to 100 values with two columns of little say, and the same with missing values, one of which tells."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, [100, 60, 9, 100, 2, 1], (ROWS, 6)).astype(np.float32) / 8 - 3
    y = (x[:, 0] + x[:, 3] + rng.normal(size=ROWS) > 3).astype(int)
    holes = x.copy()
    holes[rng.random(x.shape) < [0.3, 0, 0.1, 0.4, 0, 0.02]] = np.nan
    holes[(rng.random(ROWS) < 0.7) & (y == 1), 1] = np.nan
    return x, holes, y, rng.multinomial(ROWS, np.full(ROWS, 1 / ROWS), TREES)


def grown(how, x, y, options, weight=None, total=None, keys=None, capacity=None, **columns):
    """cart.Trees as numpy."""
    weight = None if weight is None else jnp.asarray(weight, jnp.float32)
    with jax.enable_x64(True):
        run = how.compiled(options, total, capacity)
        found = run(how.columns(x, **columns), cart.targets(y, options.criterion), weight, keys)
    assert not any(a.dtype.itemsize == 8 for a in found)
    return jax.tree.map(np.asarray, found)


def nested(trees, i):
    """A tree from the node i on as questions, gains, covers, impurities and values."""
    own = (trees.cover[i], trees.impurity[i], *trees.value[i], trees.gain[i])
    if not trees.left[i]:
        return [own]
    question = trees.feature[i], trees.border[i], trees.missing_right[i]
    return [own, question, *nested(trees, trees.left[i]), *nested(trees, trees.left[i] + 1)]


def same(a, b, count=1):
    """The same trees, but for the order in which a level's nodes are listed; numbers as float32 has them."""
    assert a.size == b.size and a.depth == b.depth
    for t in range(count):
        for one, other in zip(nested(a, t), nested(b, t), strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-6)


def outcome(kind, classes=2):
    y, rng = table()[2], np.random.default_rng(1)
    noise = np.where(rng.random(ROWS) < 0.1, rng.integers(0, classes, ROWS), 0)
    return {"classes": (y + noise) % classes, "numbers": y + rng.normal(size=ROWS), "counts": y + rng.poisson(1, ROWS)}[
        kind
    ]


CASES = {  # options, outcome, whether values are missing, weights: "copies", "numbers" or none
    "two classes, draws": (GINI._replace(max_features=2), ("classes",), True, "copies"),
    "ten classes": (cart.Options("entropy", max_depth=9), ("classes", 10), False, None),
    "numbers": (SQUARED._replace(min_samples_leaf=3, min_impurity_decrease=1e-3), ("numbers",), True, "copies"),
    "counts": (
        cart.Options("poisson", min_weight_fraction_leaf=0.004, min_samples_split=9),
        ("counts",),
        True,
        "numbers",
    ),
}


def case(name):
    options, aim, missing, weights = CASES[name]
    x, holes, _, copies = table()
    weight = {"copies": copies, "numbers": copies * 0.7, None: None}[weights]
    keys = jax.random.split(jax.random.key(0), TREES)
    total = None if weights == "numbers" else TOTAL
    return holes if missing else x, outcome(*aim), options, weight, total, keys if weight is not None else None


@pytest.mark.parametrize("name", CASES)
def test_the_trees_of_cart(name):
    """Node by node, borders and missing values too, of three trees on bootstraps, which draw by the same keys."""
    args = case(name)
    count = 1 if args[3] is None else TREES
    own, peer = grown(binned, *args), grown(cart, *args)
    assert peer.size > 30 * count
    same(own, peer, count)


@pytest.mark.parametrize("name", ["two classes, draws", "numbers"])
def test_a_tree_is_the_same_whatever_grows_beside_it(name):
    """To the bit."""
    x, y, options, weight, total, keys = case(name)
    together = grown(binned, x, y, options, weight, total, keys)
    for t in range(TREES):
        alone = grown(binned, x, y, options, weight[t : t + 1], total, keys[t : t + 1])
        assert nested(together, t) == nested(alone, 0) and len(nested(alone, 0)) > 30


def test_bins_of_several_values():
    """They grow what codes as values do; 300 of these take two bytes; rows are parted so by borders between bins."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1500, 3)).astype(np.float32)
    y = (np.sin(3 * x[:, 0]) + x[:, 1] > 0).astype(int)
    codes = np.asarray(binned.columns(x, border_count=300).codes)
    assert codes.dtype == np.uint16 and len(np.unique(codes[:, 0])) == 301
    own, peer = grown(binned, x, y, GINI, border_count=300), grown(cart, codes.astype(np.float32), y, GINI)
    inner = own.left > 0
    assert own.size == peer.size and sorted(own.cover[: own.size]) == sorted(peer.cover[: peer.size])
    np.testing.assert_allclose(sorted(own.gain[inner]), sorted(peer.gain[peer.left > 0]), rtol=1e-5, atol=1e-6)
    found, wanted = (cart.to_forest(trees, 1, 3) for trees in (own, peer))
    np.testing.assert_allclose(predict_raw(found, x), predict_raw(wanted, codes.astype(np.float32)), rtol=1e-6)


def test_columns():
    """Codes by hand; the missing code is above all others, and denormal numbers are 0."""
    ready = binned.columns([[1, 5], [np.nan, 5], [4, 5], [2, 5]])
    assert ready.codes.tolist() == [[0, 0], [3, 0], [2, 0], [1, 0]] and ready.missing.tolist() == [True, False]
    assert ready.ends.tolist() == [[[1, 2, 4, np.inf], [5, np.inf, np.inf, np.inf]]] * 2
    ready = binned.columns([[1], [3], [4], [8], [1e-40], [0]], border_count=1)
    assert ready.missing is None and ready.codes[:, 0].tolist() == [0, 1, 1, 1, 0, 0]
    assert ready.ends.tolist() == [[[0, 3]], [[1, 8]]]


def test_no_more_nodes_than_there_is_room_for():
    args = case("two classes, draws")
    small, whole = grown(binned, *args, capacity=9), grown(binned, *args)
    assert small.size == 9 < whole.size and np.count_nonzero(small.left) == 3 and small.left.max() == 7
    assert nested(small, 2)[1] == nested(whole, 2)[1]


def test_nothing_to_ask():
    """One label, or rows that do not differ, of which all columns are drawn in vain: a leaf."""
    for x, y in (([[1, 2], [3, 4]], [1, 1]), ([[1, 2], [1, 2]], [0, 1])):
        keys = jax.random.split(jax.random.key(0), 1)
        found = grown(binned, x, y, GINI._replace(max_features=1), np.ones((1, 2)), 3, keys)
        assert found.size == 1 and found.depth == 0 and found.left[0] == 0
        np.testing.assert_allclose(found.value[0], np.eye(2)[y].mean(axis=0))


HUGE = binned.Columns(np.broadcast_to(np.uint8(0), (2**20, 1100)), np.zeros((2, 1100, 255)), None)
BAD = {
    "are too many at once": lambda: binned.grow(HUGE, None, options=GINI),
    "on binned columns it must be 'best'": lambda: grown(binned, [[1], [2]], [0, 1], GINI._replace(splitter="random")),
    "whose medians bins do not have": lambda: grown(binned, [[1], [2]], [0, 1], cart.Options("absolute_error")),
    "the count of borders is 0": lambda: binned.columns([[1], [2]], border_count=0),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_input_is_one_sentence(sentence):
    with pytest.raises(UserError, match=sentence) as error:
        BAD[sentence]()
    assert "\n" not in str(error.value)
