"""Numerical settings of a run, from the config: matmul precision, and bits that repeat on a GPU."""

import contextlib

import jax


def apply(config):
    """Sets JAX's default matmul precision for this process; empty leaves it to the platform."""
    jax.config.update("jax_default_matmul_precision", config.matmul or None)


def compiler_options(config):
    """Options for `jax.jit`: with `config.deterministic`, XLA's deterministic GPU operations.

    Without them a GPU may sum in any order, and a resumed run would differ in its last bits.
    """
    return {"xla_gpu_deterministic_ops": True} if config.deterministic else None


def x64(program):
    """The context in which a program is traced and called; entered only where it is asked for, as it slows calls."""
    return jax.enable_x64(True) if program.x64 else contextlib.nullcontext()
