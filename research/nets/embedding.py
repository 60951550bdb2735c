"""What a net is told besides its input: the time, and a class label that may be missing."""

import flax.linen as nn
import jax
import jax.numpy as jnp

MAX_FREQUENCY = 256.0  # the fastest sinusoid turns 256 radians over t in [0, 1]


def sinusoids(t, dim):
    """Features [B, dim] of times t [B]: sines and cosines at frequencies 1 .. 256, in f32."""
    frequencies = jnp.exp(jnp.linspace(0.0, jnp.log(MAX_FREQUENCY), dim // 2))
    angles = t.astype(jnp.float32)[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class Embedding(nn.Module):
    """Conditioning vector [B, dim] from times t [B], by way of `features` sinusoids, and labels [B], -1 for none."""

    dim: int
    features: int
    num_classes: int | None = None

    @nn.compact
    def __call__(self, t, label=None):
        h = jax.nn.silu(nn.Dense(self.dim, name="time_in")(sinusoids(t, self.features)))
        h = nn.Dense(self.dim, name="time_out")(h)
        if not self.num_classes:
            return h
        # Row 0 stands for 'no label', so that dropping a label is an index and not a second net.
        table = nn.Embed(self.num_classes + 1, self.dim, name="label")
        return h + table(jnp.zeros(t.shape, jnp.int32) if label is None else label.astype(jnp.int32) + 1)


def drop_labels(key, label, rate):
    """Labels [B] of which a share `rate` is replaced by -1, so that one net learns both fields of guidance."""
    return jnp.where(jax.random.bernoulli(key, rate, label.shape), -1, label)
