"""How every peer in JAX is compiled."""

import time

import jax
import jax.numpy as jnp
import optax


def compiled(loss, draw, params, x, optimizer=None):
    """What `build` returns, of loss(params, x) -> [] and draw(params, key): compiled ahead, with the state donated."""
    optimizer = optimizer or optax.adam(1e-4)

    def update(params, state, x):
        value, grads = jax.value_and_grad(loss)(params, x)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    own, key = jax.tree.map(jnp.copy, params), jax.random.key(0)
    state = [own, optimizer.init(own)]
    start = time.perf_counter()
    update = jax.jit(update, donate_argnums=(0, 1)).lower(*state, x).compile()
    seconds = time.perf_counter() - start
    draw = jax.jit(draw).lower(params, key).compile()

    def step():
        *state[:], value = update(*state, x)
        jax.block_until_ready(value)

    return seconds, step, lambda: jax.block_until_ready(draw(params, key))
