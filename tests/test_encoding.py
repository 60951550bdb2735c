"""Integers on [-1, 1] and back; labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import encoding
from research.errors import UserError


@pytest.mark.parametrize(("levels", "dtype"), [(17, jnp.uint8), (256, jnp.uint8), (1000, jnp.int32)])
def test_quantizing_undoes_dequantizing(levels, dtype):
    x = jnp.arange(levels)
    for offset in (0.01, 0.5, 0.99):
        z = encoding.encode(x, levels, offset)
        assert z.min() >= -1 and z.max() <= 1
        back = encoding.quantize(encoding.decode(z, levels), levels)
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, x)
    np.testing.assert_array_equal(encoding.quantize(jnp.array([-9.0, levels + 9.0]), levels), [0, levels - 1])


def test_data_without_levels_enter_as_they_are():
    x = jnp.array([-3.0, 0.25])
    np.testing.assert_array_equal(encoding.encode(x, None, 0.5), x)
    np.testing.assert_array_equal(encoding.quantize(encoding.decode(x, None), None), x)


def test_labels_are_one_or_all_and_minus_one_without():
    assert encoding.labels(None, 3, 5).tolist() == [-1, -1, -1]
    assert encoding.labels(2, 3, 5).tolist() == [2, 2, 2]
    assert jax.jit(lambda c: encoding.labels(c, 3, 5))(jnp.array([0, 4, 1])).tolist() == [0, 4, 1]


@pytest.mark.parametrize(
    "condition, classes, words",
    [(1, None, "no classes"), (5, 5, "0 to 4"), ([1, 2], 5, "one integer class"), (0.5, 5, "one integer class")],
)
def test_labels_that_do_not_fit(condition, classes, words):
    with pytest.raises(UserError, match=words):
        encoding.labels(condition if isinstance(condition, int | float) else jnp.array(condition), 3, classes)
