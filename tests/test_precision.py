"""Numerical settings."""

import jax
import jax.numpy as jnp

from configs import base
from research import loop, precision


def config(**fields):
    return base.update(base.precision(), **fields)


def test_matmul_precision_is_set_and_unset():
    precision.apply(config(matmul="float32"))
    assert jax.config.jax_default_matmul_precision == "float32"
    precision.apply(config())
    assert jax.config.jax_default_matmul_precision is None


def test_deterministic_operations_are_an_option_that_xla_takes():
    assert precision.compiler_options(config()) is None
    options = precision.compiler_options(config(deterministic=True))
    assert options == {"xla_gpu_deterministic_ops": True}
    assert jax.jit(lambda x: x + 1, compiler_options=options)(jnp.ones(())) == 2


def test_the_loop_compiles_its_step_with_them(line, loop_config, tmp_path, monkeypatch):
    program, batches = line
    seen, jit = [], jax.jit
    monkeypatch.setattr(loop.jax, "jit", lambda f, **options: seen.append((f, options)) or jit(f, **options))
    made = loop_config(num_steps=2)
    made.precision.deterministic = True
    loop.run(program, batches(), made, tmp_path)
    assert dict(seen)[program.step]["compiler_options"] == {"xla_gpu_deterministic_ops": True}
