"""Guidance is a straight line between two fields; by an exact classifier it ends at the class's own field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle
from research.samplers.guidance import classifier_guide, guide

PROCESS = noise.rectified()
CONDITIONAL = oracle.gaussian_mixture([1.0], [[1.0, 0.0]], [0.3]).field(PROCESS)
UNCONDITIONAL = oracle.gaussian_mixture([1.0, 1.0], [[1.0, 0.0], [-1.0, 0.0]], [0.3, 0.3]).field(PROCESS)
X = jax.random.normal(jax.random.key(0), (3, 2))


def assert_same(got, want, **close):
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, **(close or {"rtol": 0}))


@pytest.mark.parametrize("t", [0.5, jnp.array([0.2, 0.5, 0.9])], ids=["scalar", "batch"])
def test_scale_one_is_conditional_and_zero_unconditional(t):
    assert_same(guide(CONDITIONAL, UNCONDITIONAL, 1.0)(X, t), CONDITIONAL(X, t))
    assert_same(guide(CONDITIONAL, UNCONDITIONAL, 0.0)(X, t), UNCONDITIONAL(X, t))


def test_all_four_parts_move_on_the_line():
    c, u = CONDITIONAL(X, 0.5), UNCONDITIONAL(X, 0.5)
    want = [b + 3 * (a - b) for a, b in zip(c, u)]
    assert_same(guide(CONDITIONAL, UNCONDITIONAL, 3.0)(X, 0.5), want, rtol=1e-4, atol=1e-5)


def test_a_guided_prediction_is_consistent():
    read = guide(CONDITIONAL, UNCONDITIONAL, 4.0)(X, 0.4)
    np.testing.assert_allclose(0.6 * read.x0 + 0.4 * read.eps, X, atol=1e-5)
    np.testing.assert_allclose(read.eps - read.x0, read.velocity, atol=1e-5)


def test_outside_the_interval_the_field_is_conditional():
    t = jnp.array([0.1, 0.5, 0.9])
    got = guide(CONDITIONAL, UNCONDITIONAL, 3.0, interval=(0.3, 0.7))(X, t)
    everywhere = guide(CONDITIONAL, UNCONDITIONAL, 3.0)(X, t)
    for part, conditional, guided in zip(got, CONDITIONAL(X, t), everywhere):
        np.testing.assert_array_equal(part, conditional.at[1].set(guided[1]))
        assert (guided != conditional).any()


def test_the_scale_can_be_traced():
    scales = jnp.array([0.0, 1.0, 2.0])
    out = jax.jit(jax.vmap(lambda s: guide(CONDITIONAL, UNCONDITIONAL, s)(X, 0.5).velocity))(scales)
    np.testing.assert_allclose(out[2] - out[1], out[1] - out[0], atol=1e-5)


TWO = oracle.gaussian_mixture([1.0, 3.0], [[1.0, 0.0], [-1.0, 0.5]], [0.3, 0.6])
ONE = oracle.gaussian_mixture([1.0], [[1.0, 0.0]], [0.3])


def log_class(process):
    """log p(y = 0 | x_t) of TWO, by Bayes: its prior is 1/4."""
    return lambda x, t: ONE.log_prob(x, t, process) + jnp.log(0.25) - TWO.log_prob(x, t, process)


@pytest.mark.parametrize("t", [0.5, jnp.array([0.2, 0.5, 0.9])], ids=["scalar", "batch"])
@pytest.mark.parametrize("process", [noise.rectified(), noise.vp(), noise.ve()], ids=["rectified", "vp", "ve"])
def test_an_exact_classifier_gives_the_field_of_its_class(process, t):
    field = classifier_guide(TWO.field(process), process, log_class(process), 1.0)
    assert_same(field(X, t), ONE.field(process)(X, t), rtol=2e-4, atol=2e-4)


def test_a_classifier_without_weight_changes_nothing_and_twice_of_it_moves_twice():
    field, log_prob = TWO.field(PROCESS), log_class(PROCESS)
    plain, once, twice = (classifier_guide(field, PROCESS, log_prob, s)(X, 0.5) for s in (0.0, 1.0, 2.0))
    assert_same(plain, field(X, 0.5))
    assert_same([b - a for a, b in zip(plain, twice)], [2 * (b - a) for a, b in zip(plain, once)], rtol=1e-3, atol=1e-5)


def test_a_classifier_guides_from_start_to_end():
    # Where alpha = 0 the field is left alone; where sigma = 0, eps is.
    field = classifier_guide(TWO.field(PROCESS), PROCESS, log_class(PROCESS), 3.0)
    assert_same(field(X, 1.0), TWO.field(PROCESS)(X, 1.0))
    assert all(jnp.isfinite(part).all() for part in field(X, 0.0))
    np.testing.assert_array_equal(field(X, 0.0).x0, TWO.field(PROCESS)(X, 0.0).x0)
