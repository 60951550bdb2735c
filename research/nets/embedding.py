"""What a net is told besides its input: the time, and a class label that may be missing."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.errors import UserError

MAX_FREQUENCY = 256.0  # the fastest sinusoid turns 256 radians over t in [0, 1]


def sinusoids(t, dim):
    """Features [B, dim] of times t [B], or [B, K dim] of [B, K]: sines and cosines at frequencies 1 .. 256, in f32."""
    frequencies = jnp.exp(jnp.linspace(0.0, jnp.log(MAX_FREQUENCY), dim // 2))
    angles = t.astype(jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(len(t), -1)


class Embedding(nn.Module):
    """Conditioning vector [B, dim] from times t [B] or [B, K], by `features` sinusoids each, and labels [B] or -1."""

    dim: int
    features: int
    num_classes: int | None = None
    kernel_init: Callable = nn.initializers.lecun_normal()
    label_init: Callable = nn.initializers.normal(0.02)

    @nn.compact
    def __call__(self, t, label=None):
        h = nn.Dense(self.dim, kernel_init=self.kernel_init, name="time_in")(sinusoids(t, self.features))
        h = nn.Dense(self.dim, kernel_init=self.kernel_init, name="time_out")(jax.nn.silu(h))
        if not self.num_classes:
            return h
        return h + LabelTable(self.num_classes, self.dim, self.label_init, name="label")(len(t), label)


class LabelTable(nn.Module):
    """A row [B, dim] of a table for each label [B]; -1, and None for all of them, stands for 'no label'."""

    num_classes: int
    dim: int
    embedding_init: Callable = nn.initializers.normal(0.02)

    @nn.compact
    def __call__(self, batch, label=None):
        # Row 0 is 'no label', so that dropping a label is an index and not a second net.
        row = jnp.zeros(batch, jnp.int32) if label is None else label.astype(jnp.int32) + 1
        return nn.Embed(self.num_classes + 1, self.dim, embedding_init=self.embedding_init, name="rows")(row)


class Condition(nn.Module):
    """What a coupling's net is told [B, K]: a row for each label [B] where num_classes is given, else vectors, or None.

    Raises UserError where a condition [B] comes without num_classes.
    """

    num_classes: int | None
    dim: int

    @nn.compact
    def __call__(self, batch, condition=None):
        c = condition
        if self.num_classes:
            c = LabelTable(self.num_classes, self.dim, name="label")(batch, c)
        if c is not None and c.shape[:-1] != (batch,):
            raise UserError(f"a condition here is vectors [{batch}, K], not {c.shape}; labels need num_classes.")
        return c


def drop_labels(key, label, rate):
    """Labels [B] of which a share `rate` is replaced by -1, so that one net learns both fields of guidance."""
    return jnp.where(jax.random.bernoulli(key, rate, label.shape), -1, label)
