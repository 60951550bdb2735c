"""Many models in one program: the bits of each, on one device and on several."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from research.errors import UserError
from research.trees import boosting, many, objectives, oblivious

MODELS, FEATURES, ROWS, BINS = 2, 3, 40, 6
HOW = boosting.Options(oblivious.Options(depth=2, l2=1.0, random_strength=0.5), rate=0.3)


def tables():
    """codes [M, F, N], counts [F], y [M, N], keys [M]."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, BINS, (MODELS, FEATURES, ROWS)).astype(np.uint8)
    y = np.sin(codes[:, 0]) + rng.normal(size=(MODELS, ROWS)) / 5
    return codes, np.full(FEATURES, BINS - 1), jnp.asarray(y, jnp.float32), jax.random.split(jax.random.key(0), MODELS)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize(("shared", "devices"), [(False, None), (False, 2), (True, 2)])
def test_many_models_have_the_bits_of_each(shared, devices):
    codes, counts, y, keys = tables()
    l2 = jnp.asarray([0.1, 10.0]) if shared else None
    codes = codes[0] if shared else codes
    mesh = devices and jax.make_mesh((2,), ("models",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    found = many.boost(codes, counts, y, objectives.squared(), HOW, keys, 2, l2, mesh=mesh)
    for i in range(MODELS):
        how = HOW._replace(tree=HOW.tree._replace(l2=float(l2[i]))) if shared else HOW
        own = codes if shared else codes[i]
        one = boosting.boost(own, counts, y[i], None, objectives.squared(), how, keys[i], 2)
        same(jax.tree.map(lambda x: x[i], found), one)  # noqa: B023


def test_a_mesh_of_several_axes_is_refused():
    codes, counts, y, keys = tables()
    mesh = jax.make_mesh((2, 1), ("a", "b"), axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:2])
    with pytest.raises(UserError, match="a mesh of one axis"):
        many.boost(codes, counts, y, objectives.squared(), HOW, keys, 1, mesh=mesh)


def test_models_that_devices_cannot_share_are_refused():
    codes, counts, y, keys = tables()
    mesh = jax.make_mesh((3,), ("models",), axis_types=(AxisType.Auto,), devices=jax.devices()[:3])
    with pytest.raises(UserError, match="2 models cannot be spread evenly over 3 devices"):
        many.boost(codes, counts, y, objectives.squared(), HOW, keys, 1, mesh=mesh)
