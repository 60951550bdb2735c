"""Laws that the models of more than one test file share."""

import jax
import jax.numpy as jnp
import numpy as np


def every_function_is_jitted_and_vmapped(model, keys, **options):
    """Of a model of images (2, 2, 1) of 17 levels and 3 classes; options are those of its sampler, in 3 steps."""
    batch = {"x": jnp.arange(16, dtype=jnp.uint8).reshape(4, 2, 2, 1), "condition": jnp.arange(4) % 3}

    @jax.jit
    @jax.vmap
    def everything(key):
        params = model.init(key, batch)
        loss, (metrics, stats) = model.loss(params, key, batch)
        assert stats is None and set(params) == {"params"}
        samples = model.sample(params, key, 5, jnp.arange(5) % 3, num_steps=3, guidance=2.0, **options)
        return params, loss, metrics, samples

    params, loss, metrics, samples = everything(keys)
    assert jax.tree.leaves(params)[0].shape[0] == len(keys) and jnp.isfinite(loss).all()
    np.testing.assert_array_equal(metrics["loss"], loss)
    assert samples.x.shape == (len(keys), 5, 2, 2, 1) and samples.x.dtype == jnp.uint8
    np.testing.assert_array_equal(samples.nfe, [6] * len(keys))
