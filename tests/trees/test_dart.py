"""DART: what it drops, how it weighs, and its laws; test_xgboost_estimators.py has XGBoost's predictions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.trees import boosting, dart, levelwise, objectives

RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 8, (3, 100)).astype(np.uint8)
COUNTS, ROUNDS = np.full(3, 7), 6
Y = (np.sin(CODES[0]) + RNG.normal(size=100)).astype(np.float32)
HOW = boosting.Options(levelwise.Options(2), 0.3, "newton", hessian_score=True)


def boost(how, rounds=ROUNDS, parts=1, objective=None, y=Y, options=HOW):
    """(State, Trees, weights after each round)."""
    objective = objective or objectives.squared()
    with jax.enable_x64(True):
        state = dart.init(boosting.init(jnp.asarray(y), None, objective, jax.random.key(1)), rounds, options)
    found = []
    for _ in range(parts):
        state, *more = dart.boost(CODES, COUNTS, y, None, objective, options, how, rounds // parts, state)
        found.append(more)
    return state, *jax.tree.map(lambda *x: np.concatenate(x), *found)


def test_with_nothing_dropped_it_is_boosting_bit_for_bit():
    plain, grown = boosting.boost(CODES, COUNTS, Y, None, objectives.squared(), HOW, jax.random.key(1), ROUNDS)
    for how in (dart.Options(), dart.Options(rate_drop=1.0, skip_drop=1.0)):
        state, own, weights = boost(how)
        np.testing.assert_array_equal(state.score, plain.score)
        jax.tree.map(np.testing.assert_array_equal, own._replace(loss=None), grown._replace(loss=None))
        np.testing.assert_allclose(own.loss, grown.loss, rtol=1e-6)
        assert (weights[-1] == 1).all()


@pytest.mark.parametrize("kind", ["tree", "forest"])
def test_two_trees_by_hand(kind):
    """The second drops the first, so both fit the same: they are equal, and their weights are known."""
    _, grown, weights = boost(dart.Options(1.0, normalize_type=kind), 2)
    np.testing.assert_array_equal(grown.leaves[0], grown.leaves[1])
    np.testing.assert_allclose(weights[0, :, 0], [1, 0])
    np.testing.assert_allclose(weights[1, :, 0], [1 / 1.3, 1 / 1.3], rtol=1e-6)
    _, _, weights = boost(dart.Options(1.0, normalize_type=kind), 3)
    third = [2 / 2.3 / 1.3] * 2 + [1 / 2.3] if kind == "tree" else [1 / 1.3**2] * 2 + [1 / 1.3]
    np.testing.assert_allclose(weights[2, :, 0], third, rtol=1e-6)


@pytest.mark.parametrize("how", [{"sample_type": "weighted"}, {"one_drop": True, "rate_drop": 0.0}, {"skip_drop": 0.3}])
@pytest.mark.parametrize("several", [False, True], ids=["one", "classes"])
def test_the_score_is_the_sum_of_weighed_trees(how, several):
    objective, y, options = objectives.squared(), Y, HOW
    if several:
        objective, y = objectives.softmax(3), jnp.asarray(np.digitize(Y, [-0.3, 0.5]), jnp.int32)
        options = HOW._replace(per_output=True)
    state, _, weights = boost(dart.Options(**{"rate_drop": 0.5} | how), objective=objective, y=y, options=options)
    start = boosting.init(y, None, objective, jax.random.key(0)).score
    np.testing.assert_allclose(state.score, start + (state.weights[:, None] * state.added).sum(0), atol=1e-5)
    assert (weights[-1] < 1).any() and (weights[-1] > 0).all()


def test_blocks_change_nothing():
    jax.tree.map(np.testing.assert_array_equal, *(boost(dart.Options(0.4, True), parts=parts) for parts in (1, 3)))


def test_how_many_are_dropped():
    weights = jnp.asarray(np.r_[np.full(500, 0.25), np.ones(500), np.zeros(100)], jnp.float32)[:, None]
    state = dart.State(None, None, jnp.int32(1000), weights, None)

    def shares(**how):
        masks = [np.asarray(dart.drawn(jax.random.key(i), state, dart.Options(**how)))[:, 0] for i in range(20)]
        return (
            np.mean([m[:500] for m in masks]),
            np.mean([m[500:1000] for m in masks]),
            np.any([m[1000:] for m in masks]),
        )

    np.testing.assert_allclose(shares(rate_drop=0.2), [0.2, 0.2, False], atol=0.02)
    np.testing.assert_allclose(shares(rate_drop=0.2, sample_type="weighted"), [0.08, 0.32, False], atol=0.02)
    assert shares(rate_drop=0.0) == (0, 0, False)
    one = [int(dart.drawn(jax.random.key(i), state, dart.Options(one_drop=True)).sum()) for i in range(20)]
    assert one == [1] * 20
    first = state._replace(tree=jnp.int32(0))
    assert not dart.drawn(jax.random.key(0), first, dart.Options(1.0, True)).any()
