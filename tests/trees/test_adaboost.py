"""AdaBoost: the textbook's ten points in fractions, scikit-learn's stages, the formulas of papers, and the bound."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from research.errors import UserError
from research.trees import adaboost, binning, estimators, levelwise, weak

KEY = jax.random.key(0)


def coded(x):
    borders = binning.find(np.asarray(x, np.float32), "exact")
    return borders, jnp.asarray(binning.apply(borders, x))


def run(make, *args, **options):
    """The Stages of a jitted boost, with sums of 64 bits."""
    with jax.enable_x64(True):
        return jax.jit(lambda: make(*args, **options)[1])()


def boosted(x, y, stages=10, depth=1, algorithm="samme", **options):
    """(Weak, codes, Stages) of trees on a table."""
    borders, codes = coded(x)
    classes = int(np.max(y)) + 1
    make = weak.probabilities if algorithm == "samme.r" else weak.classifier
    learner = make(borders.counts, borders.bins, classes, depth)
    labels = jnp.asarray(y, jnp.int32)
    found = run(adaboost.boost, learner, codes, labels, classes, stages, KEY, algorithm=algorithm, **options)
    return learner, codes, found


TEN = np.arange(10.0)[:, None], np.array([1, 1, 1, 0, 0, 0, 1, 1, 1, 0])


def test_ten_points_of_the_textbook():
    """Errors 3/10, 3/14, 2/11: weights log(7/3) / 2, log(11/3) / 2, log(9/2) / 2; splits 2.5, 8.5, 5.5."""
    learner, codes, found = boosted(*TEN, stages=3, algorithm="adaboost")
    errors = [Fraction(3, 10), Fraction(3, 14), Fraction(2, 11)]
    np.testing.assert_allclose(found.error, [float(e) for e in errors], rtol=1e-6)
    np.testing.assert_allclose(found.weight, [np.log(float((1 - e) / e)) / 2 for e in errors], rtol=1e-6)
    assert found.params[1][:, 0].tolist() == [2, 8, 5]
    bound = np.cumprod([2 * np.sqrt(float(e * (1 - e))) for e in errors])
    np.testing.assert_allclose(found.bound, bound, rtol=1e-6)
    decision = adaboost.decide(learner, found, codes, 2)
    assert decision.argmax(1).tolist() == TEN[1].tolist()  # three stages get all of them right
    sums = np.array([0.32125172, 0.52678141, -0.9775])
    np.testing.assert_allclose((decision[:, 1] - decision[:, 0])[:3], sums[0], atol=1e-4)
    margin = adaboost.margins(decision, jnp.asarray(TEN[1]))
    np.testing.assert_allclose(margin[:3], 0.32125172 / float(found.weight.sum()), atol=1e-4)


def test_weights_are_the_steps_of_least_exponential_loss():
    """The slope of the mean of exp(-y (f + a h)) in a, by autodiff, is 0 at each stage's weight."""
    x, y = load_breast_cancer(return_X_y=True)
    learner, codes, found = boosted(x, y, stages=5, algorithm="adaboost")
    with jax.enable_x64(True):
        sign, f = jnp.asarray(2.0 * y - 1), jnp.zeros(len(y))
        for t in range(5):
            h = 2.0 * learner.predict(jax.tree.map(lambda p, t=t: p[t], found.params), codes) - 1
            loss = lambda a, f=f, h=h: jnp.mean(jnp.exp(-sign * (f + a * h)))  # noqa: E731
            a = jnp.float64(found.weight[t])
            assert abs(jax.grad(loss)(a)) < 1e-6 * loss(a) and jax.grad(loss)(0.9 * a) < -1e-3 * loss(a)
            np.testing.assert_allclose(loss(a), found.bound[t], rtol=1e-5)
            f = f + a * h


CASES = {
    "two classes": (load_breast_cancer, 1, 1.0, 30),
    "three": (load_iris, 1, 1.0, 30),
    "deeper": (load_wine, 2, 0.5, 10),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_stages_are_those_of_scikit_learn(name, weighted):
    load, depth, rate, stages = CASES[name]
    x, y = load(return_X_y=True)
    x = x.astype(np.float32)
    w = np.random.default_rng(0).integers(1, 4, len(y)) if weighted else None
    peer = AdaBoostClassifier(DecisionTreeClassifier(max_depth=depth), n_estimators=stages, learning_rate=rate)
    peer.fit(x, y, w)
    learner, codes, found = boosted(x, y, stages, depth, rate=rate, w=None if w is None else jnp.asarray(w, float))
    count = len(peer.estimators_)
    assert count == int(found.used.sum())
    # Equal splits may be taken otherwise there; from then on stages differ.
    same = np.isclose(found.error[:count], peer.estimator_errors_[:count], atol=1e-6)
    count = count if same.all() else int(np.argmin(same))
    assert count >= 8
    np.testing.assert_allclose(found.weight[:count], peer.estimator_weights_[:count], rtol=2e-5)
    if count == len(peer.estimators_):
        decision = adaboost.decide(learner, found, codes, int(y.max()) + 1)
        assert (np.asarray(decision.argmax(1)) == peer.predict(x)).all()


def test_two_classes_have_half_the_weights_of_samme():
    x, y = load_breast_cancer(return_X_y=True)
    ours, samme = (boosted(x, y, algorithm=name)[2] for name in ("adaboost", "samme"))
    np.testing.assert_allclose(2 * ours.weight, samme.weight, rtol=1e-5)
    np.testing.assert_allclose(ours.bound, samme.bound, rtol=1e-5)


def test_real_valued_stages_follow_the_formula():
    x, y = load_iris(return_X_y=True)
    learner, codes, found = boosted(x, y, stages=4, algorithm="samme.r", rate=0.5)
    w, total = np.full(150, 1 / 150), np.zeros((150, 3))
    for t in range(4):
        p = np.asarray(learner.predict(jax.tree.map(lambda a, t=t: a[t], found.params), codes), np.float64)
        p = np.maximum(p, np.finfo(np.float32).eps)
        np.testing.assert_allclose(found.error[t], w[p.argmax(1) != y].sum(), rtol=1e-5)
        code = np.where(np.arange(3) == y[:, None], 1, -1 / 2)
        w = w * np.exp(-0.5 * 2 / 3 * (code * np.log(p)).sum(1))
        w /= w.sum()
        total += 2 * (np.log(p) - np.log(p).mean(1, keepdims=True))
    decision = adaboost.decide(learner, found, codes, 3, "samme.r")
    np.testing.assert_allclose(decision, total, rtol=1e-4, atol=1e-4)
    assert (decision.argmax(1) == y).mean() > 0.94


@pytest.mark.parametrize("resample", [False, True])
def test_the_bound_lies_above_the_training_error(resample):
    x, y = load_breast_cancer(return_X_y=True)
    learner, codes, found = boosted(x, y, 20, algorithm="adaboost", rate=0.7, resample=resample)
    says = 2.0 * np.asarray(jax.vmap(lambda params: learner.predict(params, codes))(found.params)) - 1  # [T, N]
    errors = ((np.cumsum(says * np.asarray(found.weight)[:, None], 0) > 0) != y).mean(1)
    assert (errors <= found.bound + 1e-6).all() and found.bound[-1] < 0.5 * found.bound[0]


def test_resampling_draws_by_weight():
    """A learner that keeps what it was given: on average its weights, in whole numbers of rows."""
    keep = adaboost.Weak(lambda key, x, y, w: w, lambda params, x: x)
    x = jnp.asarray([0, 1, 0, 0], jnp.int32)  # says 1 where it should not: row 1 is wrong
    y, w = jnp.zeros(4, jnp.int32), jnp.asarray([0.1, 0.2, 0.3, 0.4])
    draw = lambda key: adaboost.boost(keep, x, y, 2, 2, key, w=w, resample=True)[1].params  # noqa: E731
    found = np.asarray(jax.vmap(draw)(jax.random.split(KEY, 2000)))
    np.testing.assert_allclose(found * 4, np.round(found * 4), atol=1e-6)
    np.testing.assert_allclose(found[:, 0].mean(0), w, atol=0.02)
    after = np.array([0.1 / 1.6, 0.5, 0.3 / 1.6, 0.4 / 1.6])  # half of the weight goes to what was wrong
    np.testing.assert_allclose(found[:, 1].mean(0), after, atol=0.02)


# Says 0 of all rows at first; once their weights differ the contrary of x, which are the labels here.
CONTRARY = adaboost.Weak(
    lambda key, x, y, w: jnp.ptp(w) > 1e-6,
    lambda contrary, x: jnp.where(contrary, 1 - x, 0).astype(jnp.int32),
)


@pytest.mark.parametrize(
    "wrong, weight, bound",
    [
        (0, 1.0, 0.0),  # no error: one stage of weight 1
        (6, 1.0, 1.0),  # worse than chance, but the first
        (2, np.log(4) / 2, 0.8),  # and before one that is
    ],
)
def test_where_it_ends(wrong, weight, bound):
    y = jnp.asarray([1] * wrong + [0] * (10 - wrong), jnp.int32)
    found = run(adaboost.boost, CONTRARY, y, y, 2, 4, KEY)
    assert found.used.tolist() == [True, False, False, False]
    np.testing.assert_allclose(found.weight, [weight, 0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(found.bound, bound, rtol=1e-6)


def test_a_net_as_a_weak_learner():
    """Four hidden units, a few steps of descent on the weighted log-loss: each is bad at quarters, many are not."""
    net = nn.Sequential([nn.Dense(4), nn.tanh, nn.Dense(2)])

    def fit(key, x, y, w):
        def loss(params):
            return jnp.sum(w * optax.softmax_cross_entropy_with_integer_labels(net.apply(params, x), y))

        def step(_, params):
            return jax.tree.map(lambda p, g: p - 2 * g, params, jax.grad(loss)(params))

        return jax.lax.fori_loop(0, 100, step, net.init(key, x))

    x = jax.random.normal(KEY, (400, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(jnp.int32)
    learner = adaboost.Weak(fit, lambda params, x: net.apply(params, x).argmax(-1).astype(jnp.int32))
    found = jax.jit(lambda: adaboost.boost(learner, x, y, 2, 40, KEY)[1])()
    first = jax.tree.map(lambda a: a[:1], found)
    error = [float((adaboost.decide(learner, s, x, 2).argmax(1) != y).mean()) for s in (first, found)]
    assert found.used.sum() > 5 and error[1] < 0.7 * error[0], (found.used.sum(), error)


def test_perceptrons_as_weak_learners():
    """Columns of any scale; a line gets a line right alone, and few of a band, of which many lines get more."""
    x = jax.random.normal(KEY, (300, 2))
    parts = {"line": x.sum(1) > 0.3, "band": jnp.abs(x.sum(1)) < 0.7}
    learner, errors = weak.perceptron(2), {}
    for name, y in parts.items():
        y, table = y.astype(jnp.int32), 100 * x + jnp.asarray([0, 300.0])
        found = jax.jit(lambda x, y: adaboost.boost(learner, x, y, 2, 40, KEY)[1])(table, y)
        decision = adaboost.decide(learner, found, table, 2)
        errors[name] = float(found.error[0]), float((decision.argmax(1) != y).mean())
    assert errors["line"][0] < 0.02 and errors["band"][0] > 0.3, errors
    assert errors["band"][1] < 0.7 * errors["band"][0], errors


@pytest.mark.parametrize("classes", [2, 3])
def test_stumps_are_trees_of_depth_one(classes):
    """The quick way and trees.levelwise find the same question and the same leaves, of unequal weights."""
    x, y = load_wine(return_X_y=True)
    borders, codes = coded(x)
    y, w = jnp.asarray(np.minimum(y, classes - 1)), jnp.asarray(np.random.default_rng(0).random(len(y)))
    with jax.enable_x64(True):
        w = jnp.asarray(w, float) / w.sum()
        quick = weak.classifier(borders.counts, borders.bins, classes).fit(KEY, codes, y, w)
        one_hot = 2.0 * y[:, None] - 1 if classes == 2 else jax.nn.one_hot(y, classes)
        options = levelwise.Options(depth=1, l2=0.0, least_gain=0.0, least_weight=0.0)
        rows = {"num_bins": borders.bins, "num_rows": len(y)}
        args = (codes, jnp.asarray(borders.counts), w[:, None] * one_hot, w[:, None], options, KEY)
        tree, place = jax.jit(lambda: levelwise.grow(*args, **rows))()
    assert quick[0] == tree.feature and quick[1] == tree.threshold
    np.testing.assert_allclose(quick[2] * (2 if classes == 2 else 1), tree.gain, rtol=1e-5)
    for leaf in (1, 2):
        np.testing.assert_allclose(quick[3][leaf], np.average(one_hot[place == leaf], 0, w[place == leaf]), rtol=1e-5)


@pytest.mark.parametrize("resample", [False, True])
def test_any_division_into_calls_gives_the_same_bits(resample):
    x, y = load_breast_cancer(return_X_y=True)
    borders, codes = coded(x)
    learner, y = weak.classifier(borders.counts, borders.bins, 2), jnp.asarray(y, jnp.int32)

    def some(num, state=None):
        with jax.enable_x64(True):
            run = jax.jit(lambda state: adaboost.boost(learner, codes, y, 2, num, KEY, resample=resample, state=state))
            return run(state)

    whole, (state, first) = some(9), some(4)
    state, last = some(5, state)
    assert all(leaf.dtype.itemsize <= 4 for leaf in jax.tree.leaves(state))
    jax.tree.map(np.testing.assert_array_equal, whole[0], state)
    jax.tree.map(np.testing.assert_array_equal, whole[1], jax.tree.map(lambda *a: jnp.concatenate(a), first, last))


def test_new_weights_sum_to_one_and_the_last_learner_is_wrong_on_half_of_them():
    x, y = load_breast_cancer(return_X_y=True)
    borders, codes = coded(x)
    learner, labels = weak.classifier(borders.counts, borders.bins, 2), jnp.asarray(y, jnp.int32)
    with jax.enable_x64(True):
        state = None
        run = jax.jit(lambda state: adaboost.boost(learner, codes, labels, 2, 1, KEY, state=state))
        sign, f = 2.0 * y - 1, 0.0
        for _ in range(4):
            state, stages = run(state)
            params = jax.tree.map(lambda a: a[0], stages.params)
            says, w = np.asarray(learner.predict(params, codes)), np.asarray(adaboost.joined(state.w))
            np.testing.assert_allclose(w.sum(), 1, rtol=1e-12)
            np.testing.assert_allclose(w[says != y].sum(), 0.5, rtol=1e-10)
            f = f + float(stages.weight[0]) * (2.0 * says - 1)
            # They are minus the gradient of the mean of exp(-y f), the y aside, at sum 1.
            gradient = sign * jax.grad(lambda f: jnp.mean(jnp.exp(-sign * f)))(jnp.asarray(f))
            np.testing.assert_allclose(w, gradient / gradient.sum(), rtol=1e-5)


def test_a_late_stage_without_an_error_does_not_make_the_bound_0():
    """It may be outvoted: here the first, of weight log(9) / 2 > 1, is wrong in one row of ten."""
    y = jnp.asarray([1] + [0] * 9, jnp.int32)
    late = adaboost.Weak(lambda key, x, y, w: jnp.ptp(w) > 1e-6, lambda right, x: jnp.where(right, x, 0))
    found = run(adaboost.boost, late, y, y, 2, 4, KEY)
    np.testing.assert_allclose(found.weight, [np.log(9) / 2, 1, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(found.bound, [0.6, *[0.6 / np.e] * 3], rtol=1e-6)
    assert (adaboost.decide(late, found, y, 2).argmax(1) != y).mean() == pytest.approx(0.1)
    assert found.bound[-1] > 0.1


DRAWN = []


class Recording(DecisionTreeRegressor):
    """A tree that notes which rows it was given: the last column is their number."""

    def fit(self, x, y, **rest):
        DRAWN.append(np.bincount(x[:, -1].astype(int), minlength=442))
        return super().fit(np.delete(x, -1, 1), y, **rest)

    def predict(self, x):
        return super().predict(np.delete(x, -1, 1))


@pytest.mark.parametrize("loss", adaboost.LOSSES)
def test_numbers_are_those_of_scikit_learn_on_the_same_draws(loss):
    x, y = load_diabetes(return_X_y=True)
    x = np.clip(np.round(40 * x), -2, 2).astype(np.float32)  # a threshold lies between the same values in all draws
    DRAWN.clear()
    numbered = np.column_stack([x, np.arange(442)])
    peer = AdaBoostRegressor(Recording(max_depth=2), n_estimators=8, loss=loss, learning_rate=0.8, random_state=0)
    peer.fit(numbered, y)
    draws, count = np.array(DRAWN), len(peer.estimators_)
    options = {"max_depth": 2, "n_estimators": count, "loss": loss, "learning_rate": 0.8, "resample": draws}
    found = estimators.AdaBoostRegressor(**options).fit(x, y)
    np.testing.assert_allclose(found.estimator_errors_, peer.estimator_errors_[:count], rtol=1e-5)
    np.testing.assert_allclose(found.estimator_weights_, peer.estimator_weights_[:count], rtol=1e-4)
    for own, their in zip(found.staged_predict(x), peer.staged_predict(numbered), strict=True):
        np.testing.assert_allclose(own, their, rtol=1e-5)
    np.testing.assert_array_equal(own, found.predict(x))


def test_what_cannot_be():
    with pytest.raises(UserError, match="did you mean 'samme.r'"):
        adaboost.boost(None, None, np.zeros(3), 3, 5, KEY, algorithm="same.r")
    with pytest.raises(UserError, match="y has 3 classes and 'adaboost' takes two"):
        adaboost.boost(None, None, np.zeros(3), 3, 5, KEY)
    with pytest.raises(UserError, match="choose one of linear, square, exponential"):
        adaboost.boost_r2(None, None, np.zeros(3), 5, KEY, loss="huber")
