"""The residual network inside of a coupling layer (Dinh et al. 2017, RealNVP, section 3.7), with weight norm alone."""

import flax.linen as nn
import jax.numpy as jnp

from research.nets import blocks
from research.nets.embedding import Condition


class Block(nn.Module):
    """h + W2 act(W1 act(h) + what the condition says), both layers weight-normed."""

    width: int
    size: int
    activation: str
    dropout: float
    train: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, h, c=None):
        y = blocks.Activation(self.activation, name="act_in")(h)
        y = blocks.WeightNormConv(self.width, self.size, self.dtype, name="in")(y)
        if c is not None:
            told = nn.Dense(y.shape[-1], dtype=self.dtype, kernel_init=blocks.ZEROS, name="told")(c)
            y = y + told.reshape(-1, *(1,) * (h.ndim - 2), y.shape[-1])
        y = blocks.Activation(self.activation, name="act_out")(y)
        y = nn.Dropout(self.dropout, deterministic=not self.train)(y)
        return h + blocks.WeightNormConv(self.width, self.size, self.dtype, name="out")(y), None


class CouplingResNet(nn.Module):
    """Output [B, ..., outputs C] of x [B, ..., C]: vectors [B, D], sequences or images; zero before any training.

    condition: labels [B], -1 for none, where num_classes is given, else vectors [B, K], or None. `outputs` numbers come
    out for each entry of x: 1 for a shift, 2 for a shift and a scale, 3 bins - 1 for a spline. Blocks of vectors are
    scanned; those of images are a Python loop (the kernel gradient of a convolution inside a loop is slow on CPUs).
    """

    width: int = 64
    depth: int = 4
    size: int = 3
    outputs: int = 1
    channels: int | None = None
    activation: str = "relu"
    num_classes: int | None = None
    dropout: float = 0.0
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, condition=None, train=False):
        c = Condition(self.num_classes, self.width, name="condition")(len(x), condition)
        h = blocks.WeightNormConv(self.width, self.size, self.dtype, name="in")(x)
        fields = self.width, self.size, self.activation, self.dropout, train, self.dtype
        if x.ndim == 2:
            h, _ = blocks.scan(Block, self.depth, self.remat)(*fields, name="blocks")(h, c)
        else:
            block_class = nn.remat(Block) if self.remat else Block
            for i in range(self.depth):
                h, _ = block_class(*fields, name=f"block_{i}")(h, c)
        h = blocks.Activation(self.activation, name="act_out")(h.astype(jnp.float32))
        dims = x.ndim - 2
        if not dims:
            return nn.Dense(self.channels or self.outputs * x.shape[-1], kernel_init=blocks.ZEROS, name="out")(h)
        return blocks.conv(self.channels or self.outputs * x.shape[-1], dims, "out", kernel_init=blocks.ZEROS)(h)
