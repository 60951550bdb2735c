"""Friedman's updates of leaves (2001, algorithms 2 to 6) in his own formulas, of the second round of configs/mart_*."""

import types

import jax
import numpy as np
import pytest

from configs import base, mart_california
from research import trees

N, K, RATE, DELTA = 400, 3, 0.5, 0.7
RNG = np.random.default_rng(0)
X = RNG.integers(0, 20, (N, 3)).astype(np.float32)
Y = (np.sin(X[:, 0]) + X[:, 1] / 5 + RNG.standard_t(2, N) / 2).astype(np.float32)
BINARY, CLASSES = (Y > 2).astype(np.float32), np.digitize(Y, [1, 3])


def fitted(objective, y, **fields):
    """(Forest of two rounds, of one; scores [N, K] after the first)."""
    own = mart_california.OWN | {"objective": objective, "depth": 2, "learning_rate": RATE, "num_trees": 2, "block": 2}
    of = jax.tree.map(np.asarray, trees.fit(X, y, types.SimpleNamespace(**base.gbdt().to_dict() | own | fields)))
    scores = np.array([walk(of, 0, row)[0] for row in X]) + np.asarray(of.start)
    return of, scores


def walk(of, stage, row):
    """(values [K], places [J] of the leaves) of a row's walk through the trees of a stage."""
    value, place = [], []
    for j in range(of.left.shape[1]):
        at = 0
        while of.left[stage, j, at]:
            right = row[of.feature[stage, j, at]] > of.border[stage, j, at]
            at = int(of.left[stage, j, at]) + int(right)
        value.append(np.asarray(of.value[stage, j, at]))
        place.append(at)
    return np.concatenate(value), place


def leaves(of, j=0):
    """{place of a leaf of the second round: (its rows, its value without the rate)} of output j's tree."""
    walks = [walk(of, 1, row) for row in X]
    place = np.array([places[j] for _, places in walks])
    return {p: (place == p, np.asarray(of.value[1, j, p, 0]) / RATE) for p in set(place)}


def test_least_squares_takes_means():
    of, score = fitted("squared", Y)
    np.testing.assert_allclose(of.start[0], Y.mean(), rtol=1e-6)
    found = leaves(of)
    assert len(found) == 4
    for rows, value in found.values():
        np.testing.assert_allclose(value, (Y - score[:, 0])[rows].mean(), rtol=1e-4, atol=1e-6)


def test_least_absolute_deviations_takes_medians():
    of, score = fitted("absolute", Y)
    assert of.start[0] == np.quantile(Y, 0.5, method="lower")
    for rows, value in leaves(of).values():
        wanted = np.quantile((Y - score[:, 0])[rows], 0.5, method="inverted_cdf")
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-6)


def test_huber_takes_what_is_least_where_friedman_takes_a_step_from_the_median():
    of, score = fitted(f"huber:delta={DELTA}", Y)

    def loss(value, rows):
        error = np.abs(Y - score[:, 0] - value)[rows]
        return np.where(error <= DELTA, error**2 / 2, DELTA * (error - DELTA / 2)).sum()

    for rows, value in leaves(of).values():
        residual = (Y - score[:, 0])[rows]
        away = residual - np.median(residual)
        friedman = np.median(residual) + (np.sign(away) * np.minimum(DELTA, np.abs(away))).mean()
        assert loss(value, rows) <= loss(friedman, rows) + 1e-5
        np.testing.assert_allclose(np.clip(residual - value, -DELTA, DELTA).sum(), 0, atol=1e-3)


def test_two_classes_take_his_newton_step():
    """His labels are -1 and 1, and his function half the log-odds: the slopes are twice ours, the leaves half."""
    of, score = fitted("logistic", BINARY, leaf_method="newton")
    sign, half = 2 * BINARY - 1, score[:, 0] / 2
    np.testing.assert_allclose(of.start[0] / 2, np.log((1 + sign.mean()) / (1 - sign.mean())) / 2, rtol=1e-5)
    response = 2 * sign / (1 + np.exp(2 * sign * half))
    np.testing.assert_allclose(response, 2 * (BINARY - 1 / (1 + np.exp(-score[:, 0]))), rtol=1e-5, atol=1e-6)
    for rows, value in leaves(of).values():
        size = np.abs(response[rows])
        np.testing.assert_allclose(value / 2, response[rows].sum() / (size * (2 - size)).sum(), rtol=1e-4, atol=1e-6)


def test_several_classes_have_his_factor():
    objective = f"softmax:classes={K},factor={K / (K - 1)}"
    of, score = fitted(objective, CLASSES, leaf_method="newton", one_output_per_tree=True)
    p = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    assert of.left.shape[:2] == (2, K)
    for k in range(K):
        response = (k == CLASSES) - p[:, k]
        for rows, value in leaves(of, k).values():
            size = np.abs(response[rows])
            wanted = (K - 1) / K * response[rows].sum() / (size * (1 - size)).sum()
            np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("objective, y", [("squared", Y), ("absolute", Y), (f"huber:delta={DELTA}", Y)])
def test_trees_are_of_squared_errors_of_the_slopes(objective, y):
    """The root's split is the one that leaves the least squares of the slopes of the second round."""
    of, score = fitted(objective, y)
    error = y - score[:, 0]
    slope = {"s": error, "a": np.sign(error), "h": np.clip(error, -DELTA, DELTA)}[objective[0]]

    def rest(column, border):
        right = X[:, column] > border
        return sum(((slope[part] - slope[part].mean()) ** 2).sum() for part in (right, ~right))

    best = min(rest(column, border) for column in range(3) for border in np.arange(19) + 0.5)
    np.testing.assert_allclose(rest(int(of.feature[1, 0, 0]), float(of.border[1, 0, 0])), best, rtol=1e-6)
