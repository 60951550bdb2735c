"""The vision transformer inside of a coupling layer of Jet (Kolesnikov et al. 2024, section 3): places are tokens."""

import math

import flax.linen as nn
import jax.numpy as jnp

from research.nets import blocks
from research.nets.embedding import Condition


class Block(nn.Module):
    """Attention and a feed-forward pair, each behind a norm (Dosovitskiy et al. 2021)."""

    width: int
    heads: int
    activation: str
    dropout: float
    train: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, h):
        norm = lambda name: nn.LayerNorm(dtype=self.dtype, name=name)  # noqa: E731
        h = h + blocks.Attention(self.heads, self.dtype, name="attention")(norm("norm_attention")(h))
        hidden = blocks.FeedForward(
            4 * self.width, self.width, self.activation, self.dropout, self.train, self.dtype, name="feed_forward"
        )
        return h + hidden(norm("norm_feed_forward")(h)), None


class CouplingViT(nn.Module):
    """Output [B, H, W, outputs C] of patches x [B, H, W, C] and a condition (see `Condition`); zero at first.

    Positions are learned; blocks are scanned. Raises UserError where the heads do not divide the width.
    """

    width: int = 512
    depth: int = 2
    heads: int = 8
    outputs: int = 2
    channels: int | None = None
    activation: str = "gelu_tanh"
    num_classes: int | None = None
    dropout: float = 0.0
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, condition=None, train=False):
        c = Condition(self.num_classes, self.width, name="condition")(len(x), condition)
        h = nn.Dense(self.width, dtype=self.dtype, name="in")(x.reshape(len(x), -1, x.shape[-1]))
        start = nn.initializers.normal(1 / math.sqrt(self.width))
        h = h + self.param("positions", start, h.shape[1:]).astype(h.dtype)
        if c is not None:
            h = h + nn.Dense(self.width, False, dtype=self.dtype, name="told")(c)[:, None]
        stack = blocks.scan(Block, self.depth, self.remat)
        h, _ = stack(self.width, self.heads, self.activation, self.dropout, train, self.dtype, name="blocks")(h)
        h = nn.LayerNorm(dtype=self.dtype, name="norm")(h)
        out = nn.Dense(
            self.channels or self.outputs * x.shape[-1], dtype=self.dtype, kernel_init=blocks.ZEROS, name="out"
        )(h)
        return out.reshape(*x.shape[:-1], -1).astype(jnp.float32)
