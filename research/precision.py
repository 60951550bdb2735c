"""Numerical settings of a run, from the config: matmul precision, and bits that repeat on a GPU."""

import jax


def apply(config):
    """Sets JAX's default matmul precision for this process; empty leaves it to the platform."""
    jax.config.update("jax_default_matmul_precision", config.matmul or None)


def compiler_options(config):
    """Options for `jax.jit`: with `config.deterministic`, XLA's deterministic GPU operations.

    Without them a GPU may sum in any order, and a resumed run would differ in its last bits.
    """
    return {"xla_gpu_deterministic_ops": True} if config.deterministic else None
