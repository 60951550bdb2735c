"""Laws of the perceptron: a run by hand, Novikoff's bound, the dual form, data that no line separates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.nets import perceptron

X, Y = np.array([[3.0, 3.0], [4.0, 3.0], [1.0, 1.0]]), np.array([1, 1, -1])
XOR, XOR_Y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([-1, 1, 1, -1])
BOTH = pytest.mark.parametrize("learn", [perceptron.fit, perceptron.fit_dual])


def by_hand(x, y, passes, rate=1.0):
    """Rosenblatt's rule in plain Python: (w, b, alpha, passes)."""
    w, b, alpha = np.zeros(x.shape[1]), 0.0, np.zeros(len(x), int)
    done, before = 0, -1
    while done < passes and alpha.sum() > before:
        done, before = done + 1, alpha.sum()
        for i in range(len(x)):
            if y[i] * (w @ x[i] + b) <= 0:
                w, b = w + rate * y[i] * x[i], b + rate * y[i]
                alpha[i] += 1
    return w, b, alpha, done


def separable(key, count=12, dim=3, margin=0.1):
    """(x [count, dim], y, w, b): points at least `margin` of the norm of w away from a random plane."""
    keys = jax.random.split(key, 3)
    w, b = jax.random.normal(keys[0], (dim,)), 0.3 * jax.random.normal(keys[1])
    x = jax.random.normal(keys[2], (count, dim))
    y = jnp.where(x @ w + b >= 0, 1.0, -1.0)
    return x + margin * y[:, None] * w / jnp.linalg.norm(w), y, w, b


@BOTH
def test_the_textbook_example(learn):
    fit = learn(X, Y)
    np.testing.assert_array_equal(fit.w, [1, 1])
    assert fit.b == -3 and fit.mistakes == 7 and fit.passes == 6 and fit.converged
    np.testing.assert_array_equal(fit.alpha, [2, 0, 5])  # x1, x3, x3, x3, x1, x3, x3
    np.testing.assert_array_equal(perceptron.predict(fit, X), Y)
    assert perceptron.explain(fit) == ("The perceptron converged after 7 mistakes in 6 passes: the last pass had none.")


@BOTH
def test_whole_numbers_are_learned_exactly_as_by_hand(learn):
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(-4, 5, (6, 2)).astype(np.float32), rng.choice([-1, 1], 6)
        w, b, alpha, passes = by_hand(x, y, 15)
        fit = learn(x, y, passes=15)
        np.testing.assert_array_equal(fit.w, w)
        np.testing.assert_array_equal(fit.alpha, alpha)
        assert (fit.b, fit.passes, fit.mistakes) == (b, passes, alpha.sum())


@pytest.fixture(scope="module")
def many():
    """Two hundred separable sets, their true separators, and both fits of each, by vmap."""
    x, y, w, b = jax.vmap(separable)(jax.random.split(jax.random.key(0), 200))
    return x, y, w, b, jax.vmap(perceptron.fit)(x, y), jax.jit(jax.vmap(perceptron.fit_dual))(x, y)


def test_mistakes_never_exceed_novikoff_s_bound(many):
    x, y, w, b, fit, _ = many
    bound = jax.vmap(perceptron.bound)(x, y, w, b)
    assert jnp.isfinite(bound).all() and fit.converged.all()
    assert (fit.mistakes <= bound).all()
    assert fit.mistakes.max() > 20 and len(np.unique(fit.mistakes)) > 10  # sets that were not all easy
    own = jax.vmap(perceptron.bound)(x, y, fit.w, fit.b)  # the fit is a separator too
    assert (fit.mistakes <= own).all() and jnp.isfinite(own).all()
    np.testing.assert_array_equal(jax.vmap(perceptron.predict)(fit, x), y)


def test_dual_equals_primal(many):
    x, y, _, _, fit, dual = many
    for field in ("mistakes", "passes", "converged", "alpha"):
        np.testing.assert_array_equal(getattr(fit, field), getattr(dual, field))
    np.testing.assert_allclose(fit.w, dual.w, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(fit.b, dual.b)  # a sum of whole numbers
    np.testing.assert_allclose(fit.w, jnp.einsum("kn,kn,knd->kd", fit.alpha, y, x), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(fit.mistakes, fit.alpha.sum(axis=1))


def test_vmap_is_one_fit_at_a_time(many):
    x, y, _, _, fit, _ = many
    alone = jax.jit(perceptron.fit)(x[3], y[3])
    for one, all_ in zip(alone, fit):
        np.testing.assert_allclose(one, all_[3], rtol=1e-6)


@BOTH
def test_xor_ends_after_the_passes_it_was_given_and_says_so(learn):
    fit = learn(XOR, XOR_Y, passes=37)
    assert fit.passes == 37 and not fit.converged and fit.mistakes >= 37
    assert "not separated the classes after 37 passes" in perceptron.explain(fit)
    assert "may not be linearly separable" in perceptron.explain(fit)
    assert perceptron.bound(XOR, XOR_Y, fit.w, fit.b) == np.inf


@BOTH
def test_the_learning_rate_only_rescales(learn):
    one, half = learn(X, Y), learn(X, Y, learning_rate=0.5)
    np.testing.assert_array_equal(half.alpha, one.alpha)
    np.testing.assert_array_equal(half.w, one.w / 2)
    assert half.b == one.b / 2 and half.passes == one.passes
    np.testing.assert_array_equal(perceptron.predict(half, X), perceptron.predict(one, X))


@BOTH
def test_rates_and_passes_may_be_traced(learn):
    fits = jax.vmap(lambda rate, passes: learn(X, Y, learning_rate=rate, passes=passes))(
        jnp.array([1.0, 2.0]), jnp.array([3, 9])
    )
    np.testing.assert_array_equal(fits.passes, [3, 6])
    np.testing.assert_array_equal(fits.converged, [False, True])
    np.testing.assert_array_equal(fits.w[1], [2, 2])


def test_bound_by_hand():
    # R^2 = 4^2 + 3^2 + 1 = 26; the least margin of w = (1, 1), b = -3 is 1, over the norm of (1, 1, -3), sqrt(11)
    np.testing.assert_allclose(perceptron.bound(X, Y, np.array([1.0, 1.0]), -3.0), 26 * 11, rtol=1e-6)
    np.testing.assert_allclose(perceptron.bound(X, Y, np.array([5.0, 5.0]), -15.0), 26 * 11, rtol=1e-6)
    assert perceptron.bound(X, Y, np.array([1.0, 1.0]), -1.0) == np.inf
    assert perceptron.bound(X, Y, np.zeros(2), 0.0) == np.inf


def test_the_separator_itself_counts_as_positive_but_is_a_mistake_to_learn_from():
    assert perceptron.predict(perceptron.fit(X, Y), np.array([1.0, 2.0])) == 1  # 1 + 2 - 3 = 0
    assert perceptron.fit(np.zeros((1, 2)), np.array([1])).mistakes == 1


def test_a_nan_in_traced_data_never_counts_as_learned():
    fit = jax.jit(perceptron.fit)(np.where(X == 4, np.nan, X), Y)
    assert not fit.converged


@BOTH
def test_what_does_not_fit_is_said(learn):
    with pytest.raises(UserError, match=r"y is -1 or \+1, not \[0, 1\]"):
        learn(X, np.array([0, 1, 1]))
    with pytest.raises(UserError, match=r"shapes \(3, 2\) and \(2,\)"):
        learn(X, Y[:2])
    with pytest.raises(UserError, match=r"shapes \(3,\) and \(3,\)"):
        learn(X[:, 0], Y)
    with pytest.raises(UserError, match="not finite"):
        learn(X * np.inf, Y)
    with pytest.raises(UserError, match="passes > 0"):
        learn(X, Y, passes=0)
    with pytest.raises(UserError, match="learning_rate > 0, not 1000 and -1.0"):
        learn(X, Y, learning_rate=-1.0)
    with pytest.raises(UserError, match="shapes"):  # shapes are known under jit too; values are not
        jax.jit(learn)(X, Y[:2])
