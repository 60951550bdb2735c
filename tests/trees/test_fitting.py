"""Fitting by a config: what users call, with tables whose answer is known."""

import types

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs import base
from research import trees
from research.errors import UserError
from research.trees import estimators, fitting, objectives

RNG = np.random.default_rng(0)
X = RNG.random((400, 5)).astype(np.float32)
Y = (10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3] + 5 * X[:, 4]).astype(np.float32)
NOISY = Y + RNG.normal(size=400).astype(np.float32)


def config(**fields):
    return ml_collections.FrozenConfigDict(
        base.update(base.gbdt_oblivious(), **{"num_trees": 40, "depth": 4, "border_count": 31} | fields)
    )


def levels(**fields):
    fields = {"num_trees": 40, "depth": 4, "border_count": 31} | fields
    return ml_collections.FrozenConfigDict(base.update(base.gbdt(), **fields))


def test_a_table_is_learned_and_the_same_key_gives_the_same_trees():
    of, again = (trees.fit(X, Y, config(subsample=0.8), key=jax.random.key(3)) for _ in range(2))
    other = trees.fit(X, Y, config(subsample=0.8), key=jax.random.key(4))
    assert np.mean((trees.predict(of, X) - Y) ** 2) < 0.05 * Y.var()
    np.testing.assert_array_equal(of.leaves, again.leaves)
    assert not np.array_equal(of.leaves, other.leaves)


@pytest.mark.parametrize("block", [1, 7, 40])
def test_blocks_do_not_change_the_trees(block):
    whole, parts = trees.fit(X, Y, config(block=13)), trees.fit(X, Y, config(block=block))
    jax.tree.map(np.testing.assert_array_equal, whole, parts)


def test_one_tree_of_one_split_by_hand():
    # Four rows, -1 -1 3 3: the mean is 1, the split lies between, and leaves are -+2 times 2 / (2 + l2) times the rate.
    x, y = np.arange(4.0)[:, None], np.array([-1.0, -1, 3, 3])
    of = trees.fit(x, y, config(num_trees=1, depth=1, l2_leaf_reg=2.0, learning_rate=0.5, score_function="l2"))
    (tree,) = trees.describe(of)["trees"]
    assert tree["splits"][0]["border"] == 1.5
    np.testing.assert_allclose(trees.predict(of, x), [0.5, 0.5, 1.5, 1.5], rtol=1e-6)


HAND = [  # options, predictions: four rows, -1 -1 3 3, of which each side has the gradient 4 and the weight 2
    ({"reg_lambda": 2.0}, [0.5, 0.5, 1.5, 1.5]),
    ({"reg_lambda": 0.0, "reg_alpha": 1.0}, [0.25, 0.25, 1.75, 1.75]),
    ({"reg_lambda": 2.0, "gamma": 7.9}, [0.5, 0.5, 1.5, 1.5]),  # 16 / 4 on either side
    ({"reg_lambda": 2.0, "gamma": 8.1}, [1, 1, 1, 1]),
    ({"min_child_weight": 2.1}, [1, 1, 1, 1]),
    ({"min_data_in_leaf": 3}, [1, 1, 1, 1]),
    ({"newton": False, "leaf_method": "gradient", "reg_lambda": 0.0}, [0, 0, 2, 2]),
]


@pytest.mark.parametrize("fields,truth", HAND, ids=str)
def test_one_tree_grown_by_level_by_hand(fields, truth):
    x, y = np.arange(4.0)[:, None], np.array([-1.0, -1, 3, 3])
    of = trees.fit(x, y, levels(**{"num_trees": 1, "depth": 1, "learning_rate": 0.5} | fields))
    np.testing.assert_allclose(trees.predict(of, x), truth, rtol=1e-6)
    (tree,) = trees.describe(of)["trees"]
    if truth[0] != 1:
        assert tree["question"] == "x >= border" and tree["border"] == 2 and tree["left"]["cover"] == 2


def test_each_output_may_have_its_own_trees():
    label = np.searchsorted(np.quantile(Y, [0.5, 0.8]), Y)
    for alone in (False, True):
        fields = {"objective": "softmax:classes=3,factor=2", "num_trees": 10, "one_output_per_tree": alone}
        fields["learning_rate"] = 0.3
        of = trees.fit(X, label, levels(**fields))
        assert of.value.shape == (10, 3 if alone else 1, 31, 1 if alone else 3)
        assert np.mean(trees.predict(of, X).argmax(axis=1) == label) > 0.93


def test_missing_values_go_where_they_are_learned_to_go():
    x = X.copy()
    x[Y > 15, 0] = np.nan
    of = trees.fit(x, Y, levels(num_trees=1, depth=1, learning_rate=1.0, reg_lambda=0.0))
    (tree,) = trees.describe(of)["trees"]
    means = Y[np.isnan(x[:, 0])].mean(), Y[~np.isnan(x[:, 0])].mean()
    np.testing.assert_allclose(trees.predict(of, x), np.where(np.isnan(x[:, 0]), *means), rtol=1e-5)
    assert tree["missing"] == "right" and tree["border"] == np.inf
    with pytest.raises(UserError, match="row 0, column 0 of the table is missing"):
        trees.predict(trees.fit(X, Y, levels(num_trees=1, missing="forbid")), np.full((1, 5), np.nan))


@pytest.mark.parametrize("config", [config, levels], ids=["oblivious", "levels"])
def test_early_stopping_keeps_the_trees_up_to_the_least_loss(config):
    fields = {"num_trees": 200, "learning_rate": 0.5, "early_stopping": 20, "block": 16}
    held = RNG.random((200, 5)).astype(np.float32)
    target = (
        10 * np.sin(np.pi * held[:, 0] * held[:, 1]) + 20 * (held[:, 2] - 0.5) ** 2 + 10 * held[:, 3] + 5 * held[:, 4]
    )
    target = (target + RNG.normal(size=200)).astype(np.float32)
    stopped = trees.fit(X, NOISY, config(**fields), eval_set=(held, target))
    whole = trees.fit(X, NOISY, config(**fields | {"early_stopping": 0}))
    losses = [np.mean((np.asarray(raw)[:, 0] - target) ** 2) for raw in trees.staged(whole, held)]
    size = len(stopped.feature)
    least = losses[: size + 20]
    assert size == int(np.argmin(least)) + 1 < 180
    np.testing.assert_array_equal(trees.predict_raw(stopped, X), trees.predict_raw(whole, X, size))


def test_blocks_do_not_change_where_fitting_stops():
    held = X[:50], NOISY[:50] + 3 * RNG.normal(size=50).astype(np.float32)  # a loss that falls and rises and falls
    fields = {"num_trees": 40, "learning_rate": 0.3, "depth": 2, "early_stopping": 2, "subsample": 0.3}
    sizes = {
        len(trees.fit(X[50:], NOISY[50:], levels(**fields, block=block), eval_set=held).feature) for block in (1, 7, 40)
    }
    whole = trees.fit(X[50:], NOISY[50:], levels(**fields | {"early_stopping": 0}))
    losses = [np.mean((np.asarray(raw)[:, 0] - held[1]) ** 2) for raw in trees.staged(whole, held[0])]
    assert len(sizes) == 1 and sizes.pop() < int(np.argmin(losses)) + 1  # in one block the least lies further on


def test_a_weight_is_so_many_copies():
    weight = RNG.integers(1, 4, 60)
    copies = np.repeat(np.arange(60), weight)
    fields = config(num_trees=5, borders="exact", l2_leaf_reg=0.0)  # which CatBoost scales by the mean weight
    weighted = trees.fit(X[:60], Y[:60], fields, sample_weight=weight)
    repeated = trees.fit(X[copies], Y[copies], fields)
    np.testing.assert_array_equal(weighted.feature, repeated.feature)
    np.testing.assert_allclose(trees.predict(weighted, X), trees.predict(repeated, X), rtol=1e-4)


def test_classes_have_probabilities():
    label = np.searchsorted(np.quantile(Y, [0.5, 0.8]), Y)
    three = trees.fit(X, label, config(objective="softmax:classes=3", learning_rate=0.3))
    p = trees.predict(three, X)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(p.argmax(axis=1) == label) > 0.9
    two = trees.fit(X, label > 0, config(objective="logistic", leaf_method="newton"))
    assert np.mean((trees.predict(two, X) > 0.5) == (label > 0)) > 0.95


def test_predictions_pass_jit():
    of = trees.fit(X, Y > 9, levels(objective="logistic", num_trees=2))
    np.testing.assert_allclose(jax.jit(trees.predict)(of, X), trees.predict(of, X), rtol=1e-6)
    assert isinstance(trees.predict(of, X), np.ndarray)


def test_options_of_an_objective():
    for name in ("softmax:classes=4", "softmax:classes=4.0, factor=2"):
        assert fitting.get_objective(name).outputs == 4
    assert fitting.get_objective("huber:delta=1e-2") is fitting.get_objective("huber:delta=0.01")
    low, high = (trees.fit(X, NOISY, config(objective=f"quantile:alpha={a}", leaf_method="exact")) for a in (0.1, 0.9))
    assert np.mean(trees.predict(low, X) <= trees.predict(high, X)) > 0.97


ELSEWHERE = {"name", "objective", "num_trees", "block", "early_stopping", "borders", "border_count"}  # read by others
OTHER = {"missing": "max", "leaf_method": "exact", "score_function": "l2"}


@pytest.mark.parametrize("config", [config, levels], ids=["oblivious", "levels"])
def test_every_field_reaches_the_options(config):
    found = set()
    for name, value in config(missing="learn").items():
        if name not in ELSEWHERE:
            other = not value if isinstance(value, bool) else OTHER.get(name, 0.25 if isinstance(value, float) else 3)
            found.add(fitting.options_of(config(**{"missing": "learn", name: other})))
    assert len(found) == len(config()) - len(ELSEWHERE) and fitting.options_of(config(missing="learn")) not in found


MISTAKES = {
    "one target for each row": lambda: trees.fit(X, Y[:-1], config()),
    "needs an eval_set to watch": lambda: trees.fit(X, Y, config(early_stopping=5)),
    "'alpha' is no NAME=NUMBER": lambda: trees.fit(X, Y, config(objective="quantile:alpha")),
    "'logistic' has no such options: alpha=0.5": lambda: trees.fit(X, Y > 5, config(objective="logistic:alpha=0.5")),
    "score_function is 'cosin'; did you mean 'cosine'": lambda: trees.fit(X, Y, config(score_function="cosin")),
    "name of the trees is 'gbd'; did you mean 'gbdt'": lambda: trees.fit(X, Y, levels(name="gbd")),
    "subsample is 1.5; it must be above 0 and at most 1": lambda: trees.fit(X, Y, levels(subsample=1.5)),
    "colsample_bynode is 0.0; it must be above 0": lambda: trees.fit(X, Y, levels(colsample_bynode=0.0)),
    "gamma is -1.0; it must be at least 0": lambda: trees.fit(X, Y, levels(gamma=-1.0)),
    "l2_leaf_reg is nan; it must be at least 0": lambda: trees.fit(X, Y, config(l2_leaf_reg=float("nan"))),
    "depth is 17; it must be at most 16": lambda: trees.fit(X, Y, levels(depth=17)),
    "depth is 0; it must be at least 1": lambda: trees.fit(X, Y, config(depth=0)),
    "both draw rows, choose one": lambda: trees.fit(X, Y, config(subsample=0.5, bagging_temperature=1.0)),
    "x is an iterator": lambda: trees.fit(iter([X]), Y, config()),
    "must be a pair": lambda: trees.fit(X, Y, config(early_stopping=3), eval_set=[(X, Y, Y)]),
    r"y has shape \[400, 3\]": lambda: trees.fit(
        X, X[:, :2], config(objective="multi_squared:outputs=2", early_stopping=3), eval_set=(X, X[:, :3])
    ),
    "the objective is 'sqared'; did you mean 'squared'": lambda: trees.fit(X, Y, config(objective="sqared")),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_a_sentence(message):
    with pytest.raises(UserError, match=message):
        MISTAKES[message]()


@pytest.mark.parametrize("name", ["gbdt_oblivious", "gbdt"])
def test_a_loss_of_ones_own(name):
    """Half the squared error written as a line: the trees and predictions of the one that is built in."""
    own = objectives.from_loss(lambda score, y: (y - score) ** 2 / 2, start=lambda y, w=None: jnp.mean(y)[None])
    fields = {"num_trees": 5, "depth": 3}
    given = types.SimpleNamespace(**getattr(base, name)().to_dict() | fields | {"objective": own})
    of = trees.fit(X, Y, given)
    want = trees.fit(X, Y, ml_collections.FrozenConfigDict(base.update(getattr(base, name)(), **fields)))
    assert of.objective == "custom"
    np.testing.assert_allclose(trees.predict(of, X), trees.predict(want, X), rtol=1e-5)
    make = {"gbdt": estimators.GradientBoostingRegressor, "gbdt_oblivious": estimators.ObliviousBoostingRegressor}[name]
    model = make(loss=own, n_estimators=5).fit(X, Y)
    np.testing.assert_allclose(model.predict(X), make(n_estimators=5).fit(X, Y).predict(X), rtol=1e-5)
