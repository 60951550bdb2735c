"""The effective field: moments in closed form, shares of mass, support equal to the theory's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from research.errors import UserError
from research.receptive_field import effective
from research.receptive_field.gradients import measure

LAYOUTS = {1: ("NXC", "XIO", "NXC"), 2: ("NXYC", "XYIO", "NXYC")}


def stack(weights, x):
    """A SAME convolution for each kernel."""
    for w in weights:
        x = lax.conv_general_dilated(x, w, (1,) * (x.ndim - 2), "SAME", dimension_numbers=LAYOUTS[x.ndim - 2])
    return x


def boxes(depth, *kernel):
    return [jnp.full((*kernel, 1, 1), 1 / np.prod(kernel))] * depth


@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (4, 3), (7, 5), (20, 3)])
def test_box_filters_have_the_variance_of_luo(depth, kernel):
    field = effective(stack, boxes(depth, kernel), (1, 101, 1))
    assert field.std[0] ** 2 == pytest.approx(depth * (kernel**2 - 1) / 12, rel=1e-5)
    assert field.mean[0] == pytest.approx(50, abs=1e-4) and field.gradient.sum() == pytest.approx(1)


def test_two_dimensions_have_their_own():
    field = effective(stack, boxes(3, 3, 5), (1, 31, 33, 1))
    assert np.square(field.std) == pytest.approx([3 * 8 / 12, 3 * 24 / 12], rel=1e-5)
    assert field.support == ((12, 18), (10, 22)) == field.theory.support((15, 16)) and field.unit == (15, 16)


def test_the_share_of_a_square_is_the_smallest():
    """One layer of a 9x9 box: 81 equal pixels, of which 95.45 % is 77.3; a 7x7 square has 49."""
    field = effective(stack, boxes(1, 9, 9), (1, 31, 31, 1))
    assert field.side == 9 and field.share == pytest.approx(1)
    peaked = np.zeros((31, 31))
    peaked[15, 15], peaked[15, 18] = 0.96, 0.04
    assert measure(peaked, field.theory, (15, 15)).side == 1
    outside = np.zeros((31, 31))
    outside[15, 15] = outside[0, 0] = 1
    assert measure(outside, field.theory, (15, 15)).share == 0.5


@pytest.mark.parametrize("power", [1, 2])
def test_generic_weights_fill_the_theory(power):
    rng = np.random.default_rng(0)
    weights = [jnp.asarray(rng.normal(size=(3, 5, 1, 1))) for _ in range(3)]
    nonlinear = lambda w, x: jnp.tanh(stack(w, x)) + x  # noqa: E731
    field = effective(nonlinear, weights, (1, 20, 22, 1), key=jax.random.key(1), samples=3, power=power, unit=(1, 12))
    assert field.support == field.theory.support((1, 12)) == ((0, 4), (6, 18))


def test_samples_are_averaged_and_repeat_with_their_key():
    square = lambda _, x: stack(boxes(1, 3), x**2)  # noqa: E731
    one, again, many = (effective(square, None, (1, 9, 1), key=jax.random.key(4), samples=n) for n in (1, 1, 60))
    np.testing.assert_array_equal(one.gradient, again.gradient)
    assert many.gradient[3:6] == pytest.approx([1 / 3] * 3, abs=0.08)
    assert np.abs(one.gradient - many.gradient).max() > 0.08


def test_squares_weigh_differently():
    weights = [jnp.array([1.0, 2.0, 1.0]).reshape(3, 1, 1)]
    assert effective(stack, weights, (1, 9, 1)).gradient[3:6] == pytest.approx([1 / 4, 1 / 2, 1 / 4])
    assert effective(stack, weights, (1, 9, 1), power=2).gradient[3:6] == pytest.approx([1 / 6, 4 / 6, 1 / 6])


def test_mistakes_are_named():
    with pytest.raises(UserError, match="zero everywhere"):
        effective(stack, [jnp.zeros((3, 1, 1))], (1, 9, 1))
    with pytest.raises(UserError, match="axes of the input"):
        effective(lambda _, x: x.mean(1), None, (1, 9, 1))
