"""LogitBoost: it is gradient boosting with the log-loss and Newton leaves, and goes on from any state."""

import types

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_breast_cancer

from configs import base
from research import trees
from research.trees import binning, forest, logitboost, weak

KEY = jax.random.key(0)
X, Y = load_breast_cancer(return_X_y=True)
ROWS = np.concatenate([np.flatnonzero(label == Y)[:150] for label in (0, 1)])  # so that F starts from 0
X, Y = X[ROWS].astype(np.float32), Y[ROWS]
BORDERS = binning.find(X, "exact")
CODES, LABELS = jnp.asarray(binning.apply(BORDERS, X)), jnp.asarray(Y, jnp.int32)
LEARNER = weak.regressor(BORDERS.counts, BORDERS.bins, 1)


def boost(num, state=None, rate=0.3):
    with jax.enable_x64(True):
        run = jax.jit(lambda state: logitboost.boost(LEARNER, CODES, LABELS, num, KEY, rate=rate, state=state))
        return run(state)


def test_it_is_boosting_with_newton_leaves():
    """2 F are the scores, as long as no |z| is cut at 4."""
    state, stages = boost(4, rate=0.1)
    own = dict(objective="logistic", num_trees=4, depth=1, learning_rate=0.1, borders="exact", reg_lambda=0.0)
    config = types.SimpleNamespace(**base.gbdt().to_dict() | own | {"min_child_weight": 0.0})
    score = trees.predict_raw(trees.fit(X, Y, config), X)[:, 0]
    np.testing.assert_allclose(2 * state.w.sum(0), score, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(stages.error[-1], np.mean((score > 0) != Y), rtol=1e-6)
    np.testing.assert_allclose(stages.bound[-1], np.mean(np.exp(-(2 * Y - 1) * score / 2)), rtol=1e-4)


def test_the_forest_of_its_stages_adds_up_to_the_scores():
    state, stages = boost(6, rate=1.0)
    of = weak.to_forest(stages, BORDERS, labels=False)
    assert isinstance(of, forest.Forest)
    np.testing.assert_allclose(trees.predict_raw(of, X)[:, 0], state.w.sum(0), rtol=1e-4, atol=1e-5)


def test_any_division_into_calls_gives_the_same_bits():
    (whole, stages), (state, first) = boost(6), boost(2)
    state, last = boost(4, state)
    jax.tree.map(np.testing.assert_array_equal, whole, state)
    jax.tree.map(np.testing.assert_array_equal, stages, jax.tree.map(lambda *a: jnp.concatenate(a), first, last))


def test_no_row_pulls_without_bound():
    """One row on the wrong side of a wide gap: |z| is cut at 4, so F moves no further than half of that a stage."""
    ends = np.where(np.arange(300) < 150, 0, 1)
    y = np.where(np.arange(300) == 0, 1 - ends, ends)
    keep = types.SimpleNamespace(fit=lambda key, x, z, w: (z, w), predict=lambda params, x: params[0])
    with jax.enable_x64(True):
        _, stages = jax.jit(lambda: logitboost.boost(keep, jnp.asarray(ends), jnp.asarray(y), 8, KEY))()
        z, w = jax.device_get(stages.params)
    assert np.abs(z).max() <= 4 and w.min() > 0
    np.testing.assert_allclose(w.sum(1), 1, rtol=1e-5)
