"""Slopes and curvatures are those of the loss, starts and leaf values the least of it, and bad labels are named."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.trees import objectives

N, K = 60, 3
RNG = np.random.default_rng(0)
W = RNG.integers(0, 4, N).astype(np.float32)
NUMBERS = RNG.normal(2, 3, N).astype(np.float32)
LABELS = (np.arange(N) % 3 == 0).astype(np.float32)
CLASSES = (np.arange(N) % 7 % K).astype(np.int32)
COUNTS = RNG.poisson(2.5, N).astype(np.float32)
SOFT = functools.partial(jax.nn.softmax, axis=-1)


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def softmax(s):
    p = np.exp(s - s.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def squared_log(s, y):
    error = np.log1p(y) - np.log1p(s)
    return error / (1 + s), np.maximum((1 + error) / (1 + s) ** 2, 1e-6)


CASES = {  # name: objective, labels, minus the slope and the curvature in numpy, the prediction
    "squared": (objectives.squared(), NUMBERS, lambda s, y: (y - s, 1 + 0 * s), lambda s: s),
    "absolute": (objectives.absolute(), NUMBERS, lambda s, y: (np.sign(y - s), 1 + 0 * s), lambda s: s),
    "quantile": (
        objectives.quantile(0.8),
        NUMBERS,
        lambda s, y: (np.where(y > s, 0.8, -0.2), 1 + 0 * s),
        lambda s: s,
    ),
    "huber": (
        objectives.huber(1.5),
        NUMBERS,
        lambda s, y: (np.clip(y - s, -1.5, 1.5), (np.abs(y - s) <= 1.5) * 1.0),
        lambda s: s,
    ),
    "pseudo_huber": (
        objectives.pseudo_huber(1.5),
        NUMBERS,
        lambda s, y: ((y - s) / np.hypot(1, (y - s) / 1.5), np.hypot(1, (y - s) / 1.5) ** -3),
        lambda s: s,
    ),
    "squared_log": (
        objectives.squared_log(),
        COUNTS,
        squared_log,
        lambda s: s,
    ),
    "cross_entropy": (
        objectives.cross_entropy(),
        RNG.random(N).astype(np.float32),
        lambda s, y: (y - sigmoid(s), sigmoid(s) * sigmoid(-s)),
        sigmoid,
    ),
    "logistic_raw": (
        objectives.logistic_raw(),
        LABELS,
        lambda s, y: (y - sigmoid(s), sigmoid(s) * sigmoid(-s)),
        lambda s: s,
    ),
    "logistic": (
        objectives.logistic(),
        LABELS,
        lambda s, y: (y - sigmoid(s), sigmoid(s) * sigmoid(-s)),
        sigmoid,
    ),
    "exponential": (
        objectives.exponential(),
        LABELS,
        lambda s, y: ((2 * y - 1) * np.exp((1 - 2 * y) * s), np.exp((1 - 2 * y) * s)),
        lambda s: sigmoid(2 * s),
    ),
    "softmax": (
        objectives.softmax(K),
        CLASSES,
        lambda s, y: (np.eye(K)[y] - softmax(s), softmax(s) * (1 - softmax(s))),
        softmax,
    ),
    "poisson": (objectives.poisson(), COUNTS, lambda s, y: (y - np.exp(s), np.exp(s)), np.exp),
    "gamma": (
        objectives.gamma(),
        COUNTS + 0.5,
        lambda s, y: (y * np.exp(-s) - 1, y * np.exp(-s)),
        np.exp,
    ),
    "tweedie": (
        objectives.tweedie(1.3),
        COUNTS,
        lambda s, y: (
            y * np.exp(-0.3 * s) - np.exp(0.7 * s),
            0.3 * y * np.exp(-0.3 * s) + 0.7 * np.exp(0.7 * s),
        ),
        np.exp,
    ),
    "multi_squared": (
        objectives.multi_squared(2),
        np.stack([NUMBERS, NUMBERS[::-1] - 5], axis=1),
        lambda s, y: (y - s, 1 + 0 * s),
        lambda s: s,
    ),
}
SLOPED = [
    name for name in CASES if name not in ("absolute", "quantile", "huber", "squared_log")
]  # of a curvature everywhere
every = pytest.mark.parametrize("name", CASES)


def scores(objective, size=N):
    found = np.random.default_rng(1).normal(1, 2, (size, objective.outputs)).astype(np.float32)
    return np.abs(found) if objective.name == "squared_log" else found  # below -1 it is XGBoost's, see losses.json


def columns(y):
    """y [N, 1] where there is one output, to compare with scores."""
    return y[:, None] if y.ndim == 1 and y.dtype != np.int32 else y


def test_every_objective_is_a_case():
    assert set(CASES) == set(objectives.OBJECTIVES)
    assert objectives.get("huber", delta=1.5) is objectives.get(
        "huber", delta=1.5
    )  # one object, so that jit compiles once
    for name, (objective, *_) in CASES.items():
        assert objective.name == name


@every
def test_slope_and_curvature_are_the_closed_forms(name):
    objective, y, closed, _ = CASES[name]
    score = scores(objective)
    for w in (None, W):
        found = jax.jit(objective.gradients)(score, y, w)
        for ours, theirs in zip(found, closed(score.astype(float), columns(y))):
            assert ours.shape == (N, objective.outputs) and ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs * (1 if w is None else w[:, None]), rtol=2e-5, atol=1e-6)


@every
def test_slope_and_curvature_are_finite_differences_of_the_loss(name):
    objective, y, *_ = CASES[name]
    score = scores(objective)
    score = np.where(np.abs(score - columns(y)) < 0.1, score + 0.3, score) if name != "softmax" else score  # no kinks
    g, h = objective.gradients(score, y)
    with jax.enable_x64():
        loss = jax.jit(jax.vmap(objective.loss))
        for k in range(objective.outputs):
            e = 1e-4 * np.eye(objective.outputs)[k]
            low, middle, high = (np.asarray(loss(score.astype(float) + d, y)) for d in (-e, 0, e))
            np.testing.assert_allclose(g[:, k], (low - high) / 2e-4, rtol=1e-4, atol=1e-5)
            if name in SLOPED:
                np.testing.assert_allclose(h[:, k], (low - 2 * middle + high) / 1e-8, rtol=1e-3, atol=1e-4)


def test_digits_are_kept_where_the_model_is_sure():
    score = np.array([[-60.0], [-20], [20], [60]], np.float32)
    for y in (0.0, 1.0):
        g, h = objectives.logistic().gradients(score, np.full(4, y, np.float32))
        exact = sigmoid((1 - 2 * y) * score.astype(float)) * (2 * y - 1)
        np.testing.assert_allclose(g, exact, rtol=1e-5)
        np.testing.assert_allclose(
            h, np.maximum(sigmoid(score.astype(float)) * sigmoid(-score.astype(float)), 1e-16), 1e-5
        )


def test_softmax_has_the_curvature_of_xgboost_too():
    once, twice = (
        objectives.softmax(K, factor).gradients(scores(CASES["softmax"][0]), CLASSES) for factor in (1.0, 2.0)
    )
    np.testing.assert_array_equal(once[0], twice[0])
    np.testing.assert_allclose(2 * once[1], twice[1], rtol=1e-6)


@every
def test_a_user_writes_one_line(name):
    """The same loss without its extras has the same slope; the same curvature, but where we replace none by 1."""
    objective, y, *_ = CASES[name]
    if objective.outputs == 1:
        mine = objectives.from_loss(lambda score, y: objective.loss(score[None], y))
    else:
        mine = objectives.from_loss(objective.loss, objective.outputs)
    for a, b, used in zip(
        mine.gradients(scores(objective), y, W), objective.gradients(scores(objective), y, W), (1, 0)
    ):
        if used or name in SLOPED:
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    assert mine.start(y).tolist() == [0] * objective.outputs
    concave = objectives.from_loss(lambda score, y: -(score**2))
    assert concave.gradients(scores(concave), y)[1].max() == 0  # never below


@every
@pytest.mark.parametrize("weighted", [False, True])
def test_the_start_is_the_best_constant(name, weighted):
    objective, y, *_ = CASES[name]
    w = W if weighted else np.ones(N, np.float32)
    start = jax.jit(objective.start)(y, W if weighted else None)
    assert start.shape == (objective.outputs,) and start.dtype == np.float32

    def total(score):
        return float((w * jax.vmap(objective.loss, (None, 0))(jnp.asarray(score), y)).sum() / w.sum())

    for k in range(objective.outputs):
        moves = np.concatenate([-np.geomspace(0.01, 5, 30), np.geomspace(0.01, 5, 30)])
        assert total(start) <= min(total(start.at[k].add(move)) for move in moves) + 1e-6


@every
def test_links(name):
    objective, _, _, link = CASES[name]
    score = scores(objective)
    found = jax.jit(objective.link)(score)
    np.testing.assert_allclose(found, link(score if objective.outputs > 1 else score[:, 0]), rtol=1e-5)
    np.testing.assert_array_equal(objective.link(score[0]), objective.link(score)[0])


# Leaves

LEAF = np.array([0, 1, 1, 3, 3, 3] * 10, np.int32)  # the third of four has no rows


def leaf_values(objective, score, y, w=W, **options):
    run = jax.jit(functools.partial(objectives.leaf_values, objective, num_leaves=4, **options))
    return np.asarray(run(score, y, w, LEAF))


@every
@pytest.mark.parametrize("method", ["gradient", "newton"])
def test_one_step_is_the_ratio_of_sums(name, method):
    objective, y, closed, _ = CASES[name]
    score = scores(objective)
    g, h = closed(score.astype(float), columns(y))
    scale = h if method == "newton" else np.ones_like(g)
    found = leaf_values(objective, score, y, l2=3.0, method=method)
    for l in range(4):
        rows, w = l == LEAF, W[:, None]
        np.testing.assert_allclose(
            found[l], (w * g)[rows].sum(0) / ((w * scale)[rows].sum(0) + 3), rtol=1e-4, atol=1e-6
        )
    if name == "squared":
        np.testing.assert_allclose(found[2], 0)


def test_squared_leaves_are_means_by_every_method():
    objective, score = objectives.squared(), scores(objectives.squared())
    for w in (None, W):
        means = [
            np.average((NUMBERS - score[:, 0])[l == LEAF], weights=None if w is None else w[l == LEAF])
            for l in (0, 1, 3)
        ]
        for method in ("gradient", "newton", "newton_full", "exact"):
            found = leaf_values(objective, score, NUMBERS, w, method=method)[:, 0]
            np.testing.assert_allclose(found, np.insert(means, 2, 0), rtol=2e-5)


@pytest.mark.parametrize("name", ["logistic", "softmax", "poisson", "exponential"])
@pytest.mark.parametrize("method", ["newton", "newton_full"])
def test_several_steps_end_at_the_best_value(name, method):
    objective, y, *_ = CASES[name]
    score = 0.3 * scores(objective)
    found = leaf_values(objective, score, y, method=method, iterations=80)
    g, _ = objective.gradients(score + found[LEAF], y, W)
    np.testing.assert_allclose(jax.ops.segment_sum(g, LEAF, 4), 0, atol=2e-4)


def test_steps_are_taken_on_the_scores_they_changed():
    objective, y, closed, _ = CASES["logistic"]
    score, values = scores(objective).astype(float), np.zeros((4, 1))
    for _ in range(3):
        g, h = closed(score + values[LEAF], y[:, None])
        sums = [[(W[:, None] * a)[l == LEAF].sum() for l in range(4)] for a in (g, h)]
        values[:, 0] += np.array(sums[0]) / (np.array(sums[1]) + 2)
    found = leaf_values(objective, scores(objective), y, l2=2.0, method="newton", iterations=3)
    np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-6)


def test_a_full_newton_step_solves_with_the_whole_hessian():
    objective, y, *_ = CASES["softmax"]
    score = scores(objective)
    found = leaf_values(objective, score, y, l2=0.7, method="newton_full")
    p = softmax(score.astype(float))
    for l in (0, 1, 3):
        rows, w = l == LEAF, W[l == LEAF]
        hessian = np.einsum(
            "n,nij->ij", w, np.einsum("ni,ij->nij", p[rows], np.eye(K)) - p[rows, :, None] * p[rows, None]
        )
        g = (w[:, None] * (np.eye(K)[y] - p)[rows]).sum(0)
        np.testing.assert_allclose(found[l], np.linalg.solve(hessian + 0.7 * np.eye(K), g), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[2], 0)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.7, 0.95])
@pytest.mark.parametrize("weighted", [False, True])
def test_quantile_leaves_are_the_least_residual_with_enough_weight(alpha, weighted):
    objective = objectives.quantile(alpha)
    y = np.round(NUMBERS)  # with ties
    found = leaf_values(objective, np.zeros((N, 1), np.float32), y, W if weighted else None, method="exact")[:, 0]
    for l in (0, 1, 3):
        rows = l == LEAF
        w = W[rows] if weighted else np.ones(rows.sum())
        enough = [v for v in y[rows] if w[y[rows] <= v].sum() >= alpha * w.sum() - 1e-9]
        assert found[l] == min(enough)
    assert found[2] == 0


@pytest.mark.parametrize("alpha", [0.01, 0.3, 0.5, 0.99])
def test_leaves_between_two_residuals_are_interpolated(alpha):
    """As numpy's quantiles of that kind, where rows weigh 1."""
    objective = objectives.quantile(alpha, between=True)
    found = leaf_values(objective, np.zeros((N, 1), np.float32), NUMBERS, None, method="exact")[:, 0]
    wanted = [np.quantile(NUMBERS[l == LEAF], alpha, method="weibull") for l in (0, 1, 3)]
    np.testing.assert_allclose(found, np.insert(wanted, 2, 0), rtol=1e-5)
    once = leaf_values(objectives.quantile(alpha), np.zeros((N, 1), np.float32), NUMBERS, method="exact")
    weighted = leaf_values(objective, np.zeros((N, 1), np.float32), NUMBERS, method="exact")
    np.testing.assert_array_equal(weighted, once)


def test_absolute_leaves_are_lower_medians():
    y = np.array([5, 1, 2, 9, 7, 1, 2, 3], np.float32)
    leaf = np.array([0, 0, 0, 0, 1, 1, 1, 2], np.int32)
    score = np.ones((8, 1), np.float32)
    objective = objectives.absolute()
    found = objectives.leaf_values(objective, score, y, None, leaf, 3, method="exact")
    assert found[:, 0].tolist() == [1, 1, 2]
    w = np.array([1, 1, 1, 9, 1, 9, 1, 0], np.float32)
    assert objectives.leaf_values(objective, score, y, w, leaf, 3, method="exact")[:, 0].tolist() == [8, 0, 0]


def test_a_quantile_of_whole_rows_is_not_rounded_to_the_next():
    y, leaf = np.arange(1, 101, dtype=np.float32), np.zeros(100, np.int32)
    for k in (15, 27, 30, 54, 60, 61):  # k / 100 of float32 times 100 is above k, but for the last
        found = objectives.quantile(k / 100).exact(y, None, leaf, 1)
        assert found.tolist() == [k]


def test_a_long_leaf_before_a_short_one_costs_no_digits():
    y = np.concatenate([np.arange(100000), [1, 2, 3]]).astype(np.float32)
    w = np.concatenate([np.full(100000, 1000.7), [0.01, 0.03, 0.01]]).astype(np.float32)
    leaf = np.concatenate([np.zeros(100000), np.ones(3)]).astype(np.int32)
    found = objectives.leaf_values(objectives.absolute(), 0 * y[:, None], y, w, leaf, 2, method="exact")
    assert found[1, 0] == 2 and abs(found[0, 0] - 49999.5) < 20  # of sums in float32


@pytest.mark.parametrize("name", ["huber", "pseudo_huber"])
def test_huber_leaves_have_no_slope(name):
    objective = CASES[name][0]
    score = scores(objective)
    found = leaf_values(objective, score, NUMBERS, method="exact")
    slope = W * CASES[name][2]((score + found[LEAF])[:, 0].astype(float), NUMBERS)[0]
    np.testing.assert_allclose([slope[l == LEAF].sum() for l in range(4)], 0, atol=1e-4)
    assert found[2] == 0


def test_sums_may_be_anothers():
    doubled = objectives.leaf_values(
        objectives.squared(),
        np.zeros((N, 1), np.float32),
        NUMBERS,
        W,
        LEAF,
        4,
        l2=2.0,
        total=lambda v, leaf, n: 2 * jax.ops.segment_sum(v, leaf, n),
    )
    np.testing.assert_allclose(
        doubled, leaf_values(objectives.squared(), np.zeros((N, 1), np.float32), NUMBERS, l2=1.0), 1e-6
    )


@pytest.mark.parametrize("name", ["squared", "absolute", "huber", "pseudo_huber"])
def test_exact_values_are_of_anothers_sums_too(name):
    """Sums over a part of the rows give the value of that part, as sums over devices give that of all."""
    objective, part = CASES[name][0], np.arange(N) < N // 2
    score = np.zeros((N, 1), np.float32)
    found = objectives.leaf_values(
        objective, score, NUMBERS, W, LEAF, 4, method="exact", total=lambda v, *to: jax.ops.segment_sum(v * part, *to)
    )
    np.testing.assert_allclose(found, leaf_values(objective, score, NUMBERS, W * part, method="exact"), rtol=1e-6)


@pytest.mark.parametrize("method", ["newton", "exact"])
def test_many_models_are_one_program(method):
    objective, y, *_ = CASES["huber"]
    many = np.stack([scores(objective), 2 * scores(objective)])
    run = functools.partial(objectives.leaf_values, objective, y=y, w=W, leaf=LEAF, num_leaves=4, l2=1.0, method=method)
    for alone, together in zip(many, jax.vmap(run)(many)):
        np.testing.assert_allclose(run(alone), together, rtol=1e-5, atol=1e-6)


@every
def test_nothing_is_wider_than_float32_where_that_is_allowed(name):
    objective, y, *_ = CASES[name]
    score = scores(objective)
    with jax.enable_x64():
        y, w, leaf = jnp.asarray(y), jnp.asarray(W), jnp.asarray(LEAF)
        out = [
            *objective.gradients(jnp.asarray(score), y, w),
            objective.start(y, w),
            objective.link(jnp.asarray(score)),
        ]
        methods = ["gradient", "newton", "newton_full"] + ["exact"] * (objective.exact is not None)
        out += [objectives.leaf_values(objective, jnp.asarray(score), y, w, leaf, 4, 1.0, method) for method in methods]
    assert {str(array.dtype) for array in out} == {"float32"}


# Mistakes

MISTAKES = {  # objective, labels, what the sentence says
    "NaN": ("squared", [1, np.nan], "y is nan in row 1; squared needs finite numbers"),
    "infinite": ("absolute", [np.inf, 1], "y is inf in row 0; absolute needs finite numbers"),
    "NaN in a column": ("multi_squared", [[1, 2], [3, np.nan]], "y is nan in row 1, column 1; multi_squared"),
    "columns": ("multi_squared", [[1], [3]], r"y has shape \[2, 1\]; multi_squared needs a label a row, \[rows, 2\]"),
    "shape": ("squared", [[1], [3]], r"y has shape \[2, 1\]; squared needs a label a row, \[rows\]"),
    "no rows": ("squared", [], r"y has shape \[0\]"),
    "a number": ("squared", 3.0, r"y has shape \[\]"),
    "text": ("logistic", ["no", "yes"], "y holds .*'no'.*; logistic needs numbers: encode the labels first"),
    "not 0 or 1": ("logistic", [0, 1, 2], r"y is 2 in row 2; logistic needs 0 or 1"),
    "minus one": ("exponential", [-1, 1], "y is -1 in row 0; exponential needs 0 or 1"),
    "one class": ("logistic", [1, 1], "no row of y is of class 0; logistic needs rows of each of 2 classes"),
    "an empty class": ("softmax", [0, 2, 2], "no row of y is of class 1; softmax needs rows of each of 3 classes"),
    "a class too many": ("softmax", [0, 1, 3], "y is 3 in row 2; softmax needs 0 to 2"),
    "half a class": ("softmax", [0, 1, 0.5], r"y is 0\.5 in row 2; softmax"),
    "negative counts": ("poisson", [1, -1], "y is -1 in row 1; poisson needs numbers from 0"),
    "no gamma": ("gamma", [1, 0], "y is 0 in row 1; gamma needs numbers above 0"),
    "no logarithm": ("squared_log", [1, -1], "y is -1 in row 1; squared_log needs numbers above -1"),
    "no share": ("cross_entropy", [0.5, 1.5], r"y is 1\.5 in row 1; cross_entropy needs 0 to 1"),
    "no counts": ("poisson", [0, 0], "all of y are 0"),
}
OPTIONS = {"softmax": {"classes": 3}, "multi_squared": {"outputs": 2}}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_labels_are_named(mistake):
    name, y, sentence = MISTAKES[mistake]
    with pytest.raises(UserError, match=sentence):
        objectives.get(name, **OPTIONS.get(name, {})).check(np.array(y))


@every
def test_good_labels_pass(name):
    objective, y, *_ = CASES[name]
    objective.check(y)


def test_mistakes_in_options_are_named():
    with pytest.raises(UserError, match="the objective is 'square'; did you mean 'squared'"):
        objectives.get("square")
    with pytest.raises(UserError, match=r"the quantile is 1\.0; it must lie between 0 and 1"):
        objectives.quantile(1.0)
    with pytest.raises(UserError, match="the delta of huber is 0"):
        objectives.huber(0)
    with pytest.raises(UserError, match="the slope of pseudo_huber is 0"):
        objectives.pseudo_huber(0)
    with pytest.raises(UserError, match="the power of tweedie is 2"):
        objectives.tweedie(2)
    with pytest.raises(UserError, match="method for leaf values is 'newtons'; did you mean 'newton'"):
        leaf_values(objectives.squared(), scores(objectives.squared()), NUMBERS, method="newtons")
    with pytest.raises(UserError, match="logistic has no exact leaf values; choose newton"):
        leaf_values(objectives.logistic(), scores(objectives.logistic()), LABELS, method="exact")
