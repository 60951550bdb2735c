"""The classifier's contract, and its measures of depth against cases that are known exactly."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from research.errors import UserError
from research.models import classifier
from research.nets.plain_mlp import PlainMLP, dead_share


def make(shape=(3,), **overrides):
    own = {"name": "classifier", "width": 8, "depth": 3, "activation": "relu", "initializer": "he"} | overrides
    data = {"name": "toy", "num_classes": 4, "levels": None}
    return classifier.make(ml_collections.FrozenConfigDict({"data": data, "model": own}), shape)


def batch(n=6):
    x = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    return {"x": jnp.asarray(x), "condition": jnp.arange(n) % 4}


KEY = jax.random.key(0)


def test_every_function_is_jitted_and_vmapped():
    model = make()

    @jax.jit
    @jax.vmap
    def everything(key):
        params = model.init(key, batch())
        (value, (metrics, stats)), grads = jax.value_and_grad(model.loss, has_aux=True)(params, key, batch())
        assert stats is None and set(metrics) == {"loss", "accuracy"}
        return (
            value,
            metrics,
            grads,
            model.loss(params, key, batch(), train=False)[1][0],
            model.predict(params, batch()["x"]),
        )

    value, metrics, grads, heldout, logits = everything(jax.random.split(KEY, 2))
    np.testing.assert_array_equal(metrics["loss"], value)
    np.testing.assert_allclose(heldout["loss"], value, rtol=1e-6)
    assert heldout["gradient"].shape == (2, 3) and logits.shape == (2, 6, 4)
    assert all((jnp.abs(g) > 0).any() for g in jax.tree.leaves(grads))


def test_the_loss_of_equal_logits_is_the_log_of_the_classes():
    model = make()
    params = jax.tree.map(jnp.zeros_like, model.init(KEY, batch()))
    value, (metrics, _) = model.loss(params, KEY, batch())
    assert value == pytest.approx(np.log(4), rel=1e-6) and metrics["accuracy"] == pytest.approx(2 / 6)


def test_gradient_by_depth_is_the_error_of_a_linear_chain():
    """With identity activations and kernels c I the error shrinks by c a layer, exactly."""
    model = make(activation="identity", depth=5)
    params = model.init(KEY, batch())
    own = params["params"]
    own["layers"]["dense"]["kernel"] = jnp.tile(0.5 * jnp.eye(8), (4, 1, 1))
    _, (metrics, _) = model.loss(params, KEY, batch(), train=False)
    np.testing.assert_allclose(metrics["gradient"] / metrics["gradient"][-1], 0.5 ** np.arange(4, -1, -1), rtol=1e-5)


def test_an_error_of_1e_30_is_still_told():
    model = make(activation="identity", depth=5)
    params = model.init(KEY, batch())
    params["params"]["layers"]["dense"]["kernel"] = jnp.tile(1e-8 * jnp.eye(8), (4, 1, 1))
    _, (metrics, _) = model.loss(params, KEY, batch(), train=False)
    np.testing.assert_allclose(metrics["gradient"][0] / metrics["gradient"][-1], 1e-32, rtol=1e-4)
    params["params"]["layers"]["dense"]["kernel"] = jnp.zeros((4, 8, 8))
    _, (metrics, _) = model.loss(params, KEY, batch(), train=False)
    assert (metrics["gradient"][:-1] == 0).all() and metrics["gradient"][-1] > 0


def test_the_gradient_is_one_examples_whatever_the_batch():
    model = make()
    params = model.init(KEY, batch())
    whole = model.loss(params, KEY, batch(), train=False)[1][0]["gradient"]
    rows = [{name: x[i : i + 1] for name, x in batch().items()} for i in range(6)]
    each = np.array([model.loss(params, KEY, row, train=False)[1][0]["gradient"] for row in rows])
    np.testing.assert_allclose(whole, np.sqrt((each**2).mean(axis=0)), rtol=1e-5)


def test_one_hidden_layer_has_no_empty_parameters():
    model = make(depth=1)
    params = model.init(KEY, batch())
    assert all(p.size for p in jax.tree.leaves(params))
    assert model.loss(params, KEY, batch(), train=False)[1][0]["gradient"].shape == (1,)


def test_dead_units_are_those_without_a_gradient_for_any_example():
    z = jnp.array([[[1.0, -1.0, -1.0, 2.0], [-1.0, -2.0, 3.0, 1.0]]])  # the second unit is below 0 for both
    assert dead_share(jax.nn.relu, z) == 0.25
    assert dead_share(jax.nn.leaky_relu, z) == 0
    assert dead_share(lambda x: jax.nn.softmax(x), z) == 0


@pytest.mark.parametrize("activation", ["relu", "maxout", "swiglu", "prelu"])
def test_hidden_inputs_are_those_of_the_layers(activation):
    net, x = PlainMLP(4, width=12, depth=3, activation=activation), batch()["x"]
    params = net.init(KEY, x)
    out, z = net.apply(params, x)
    assert out.shape == (6, 4) and z.shape[:2] == (3, 6)
    own = params["params"]
    np.testing.assert_allclose(z[0], x @ own["in"]["kernel"], rtol=1e-5, atol=1e-6)
    moved, _ = net.apply(params, x, jnp.zeros_like(z).at[2, 1].set(1.0))
    changed = jnp.abs(moved - out).max(axis=1) > 0
    assert changed.tolist() == [False, True, False, False, False, False]


def test_mistakes():
    with pytest.raises(UserError, match="he, lecun, glorot"):
        make(initializer="xavier").init(KEY, batch())
    with pytest.raises(UserError, match="relu"):
        make(activation="rellu")
    data = {"name": "swiss_roll", "num_classes": None, "levels": None}
    with pytest.raises(UserError, match="swiss_roll"):
        classifier.make(ml_collections.ConfigDict({"data": data, "model": {}}), (2,))
