"""Optimisers and schedules: shapes of the schedules in closed form, laws over every optimiser."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from research import optimizers
from research.errors import UserError


def config(**fields):
    return base.update(base.optimizer(), **({"warmup_steps": 0, "schedule": "constant"} | fields))


PARAMS = {
    "dense": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones((4,))},
    "stack": {"kernel": jnp.ones((2, 4, 4)), "bias": jnp.ones((2, 4))},
    "conv": {"kernel": jnp.ones((3, 3, 2, 4))},
    "norm": {"scale": jnp.ones((4,))},
    "label": {"embedding": jnp.ones((5, 4))},
}


@pytest.mark.parametrize("step, value", [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (60, 0.5), (110, 0.0)])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_warm_up_then_decay_to_zero(schedule, step, value):
    rate = optimizers.schedule(config(schedule=schedule, warmup_steps=10, learning_rate=2.0), 110)
    np.testing.assert_allclose(rate(step), 2 * value, atol=1e-6)


def test_constant_stays():
    rate = optimizers.schedule(config(learning_rate=0.25), 100)
    assert {float(rate(step)) for step in (0, 50, 1000)} == {0.25}


def test_the_rate_may_be_traced():
    fields = config().to_dict()

    @jax.jit
    def first_rate(rate):
        return optimizers.schedule(type("Traced", (), {**fields, "learning_rate": rate}), 10)(0)

    assert first_rate(0.5) == 0.5


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_descends_a_quadratic(name):
    optimizer = optimizers.make(config(name=name, learning_rate=0.05, beta2=0.99), 200)
    params = jax.tree.map(lambda x: jax.random.normal(jax.random.key(x.size), x.shape), PARAMS)
    target = jax.tree.map(lambda x: 0.3 * x, params)

    def loss(params):
        return sum(jnp.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(target)))

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state, before = optimizer.init(params), loss(params)
    for _ in range(150):
        params, state = step(params, state)
    assert loss(params) < 0.1 * before


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_weight_decay_moves_kernels_alone(name):
    """Gradients are zero, so all that moves is decay."""
    optimizer = optimizers.make(config(name=name, weight_decay=0.5, learning_rate=0.1), 10)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, PARAMS), optimizer.init(PARAMS), PARAMS)
    for path, update in jax.tree_util.tree_leaves_with_path(updates):
        assert bool((update != 0).all()) == (path[-1].key == "kernel"), path
        assert (update <= 0).all()


def test_clipping_bounds_the_step():
    optimizer = optimizers.make(config(name="sgd", beta1=0.0, learning_rate=1.0, clip_norm=0.5), 10)
    grads = jax.tree.map(lambda x: 100 * x, PARAMS)
    updates, _ = optimizer.update(grads, optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(optax.tree.norm(updates), 0.5, rtol=1e-5)


def test_muon_makes_each_matrix_of_a_stack_orthogonal():
    """The update of each [4, 4] matrix has singular values near one another, as Newton-Schulz leaves them."""
    optimizer = optimizers.make(config(name="muon", learning_rate=1.0), 10)
    key = jax.random.key(0)
    params = {
        "stack": {"kernel": jax.random.normal(key, (2, 4, 4))},
        "stack of stacks": {"kernel": jax.random.normal(key, (2, 3, 4, 4))},
        "conv": {"kernel": jax.random.normal(key, (3, 3, 2, 4))},
        "stack of convs": {"kernel": jax.random.normal(key, (5, 3, 3, 2, 4))},
    }
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    shapes = {"stack": (2, 4, 4), "stack of stacks": (6, 4, 4), "conv": (1, 18, 4), "stack of convs": (5, 18, 4)}
    for matrix in (matrix for name, shape in shapes.items() for matrix in updates[name]["kernel"].reshape(shape)):
        values = np.linalg.svd(matrix, compute_uv=False)
        assert values.max() / values.min() < 2.0


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"name": "adamm"}, "optimizer.name is 'adamm'"),
        ({"schedule": "cosin"}, "optimizer.schedule is 'cosin'"),
        ({"warmup_steps": 11}, "must lie in 0..10"),
        ({"warmup_steps": -1}, "must lie in 0..10"),
    ],
)
def test_mistakes(fields, words):
    with pytest.raises(UserError, match=words):
        optimizers.make(config(**fields), 10)
