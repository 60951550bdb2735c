"""Guidance is a straight line between two fields."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle
from research.samplers.guidance import guide

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
