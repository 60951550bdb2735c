"""A residual perceptron for vectors and small images, told the time and a label. Blocks are stacked and scanned."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.nets import blocks
from research.nets.embedding import Embedding


class Block(nn.Module):
    """h + W2 act(W1 film(norm(h), c)); W2 starts at zero, so a fresh stack is the identity."""

    width: int
    activation: str
    dropout: float
    train: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, h, c):
        scale, shift = jnp.split(nn.Dense(2 * self.width, dtype=self.dtype, name="film")(jax.nn.silu(c)), 2, axis=-1)
        y = nn.LayerNorm(dtype=self.dtype, name="norm")(h) * (1 + scale) + shift
        hidden = blocks.FeedForward(
            self.width,
            self.width,
            self.activation,
            self.dropout,
            self.train,
            self.dtype,
            last_init=blocks.ZEROS,
            name="feed_forward",
        )
        return h + hidden(y), None


class MLP(nn.Module):
    """Output of the shape of x [B, ...] from x, times t [B] and labels [B]."""

    width: int = 256
    depth: int = 4
    activation: str = "silu"
    num_classes: int | None = None
    dropout: float = 0.0
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, t, label=None, train=False):
        c = Embedding(self.width, self.width, self.num_classes, name="embedding")(t, label)
        h = nn.Dense(self.width, dtype=self.dtype, name="in")(x.reshape(x.shape[0], -1))
        stack = blocks.scan(Block, self.depth, self.remat)
        h, _ = stack(self.width, self.activation, self.dropout, train, self.dtype, name="blocks")(h, c)
        h = nn.LayerNorm(dtype=self.dtype, name="norm")(h)
        out = nn.Dense(x[0].size, kernel_init=blocks.ZEROS, name="out")(h.astype(jnp.float32))
        return out.reshape(x.shape)
