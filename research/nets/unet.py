"""A small U-Net for images (Ho et al. 2020, appendix B, without its attention).

Blocks are a Python loop: a level holds few of them, and XLA's CPU compiler runs the kernel gradient of a convolution
inside a `while` about 100 times slower than outside (measured: 8x8x32, batch 128, 976 ms against 11 ms).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.errors import UserError
from research.nets.embedding import Embedding


def _norm(channels, dtype, name):
    return nn.GroupNorm(num_groups=min(8, channels // 4), dtype=dtype, name=name)


def _conv(channels, dtype, name, **options):
    return nn.Conv(channels, (3, 3), dtype=dtype, name=name, **options)


class ResBlock(nn.Module):
    """h + conv(silu(film(norm(conv(silu(norm(h)))), c))); the last conv starts at zero. `skip` joins by channel."""

    channels: int
    dropout: float
    train: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, h, c, skip=None):
        y = h if skip is None else jnp.concatenate([h, skip], axis=-1)
        y = jax.nn.silu(_norm(y.shape[-1], self.dtype, "norm_in")(y))
        y = _conv(self.channels, self.dtype, "conv_in")(y)
        film = nn.Dense(2 * self.channels, dtype=self.dtype, name="film")(jax.nn.silu(c))[:, None, None]
        scale, shift = jnp.split(film, 2, axis=-1)
        y = jax.nn.silu(_norm(self.channels, self.dtype, "norm_out")(y) * (1 + scale) + shift)
        y = nn.Dropout(self.dropout, deterministic=not self.train)(y)
        return h + _conv(self.channels, self.dtype, "conv_out", kernel_init=nn.initializers.zeros)(y)


class UNet(nn.Module):
    """Output of the shape of x [B, H, W, C] from x, times t [B] and labels [B]; each level halves H and W.

    `channels` gives the width of each level, `blocks` the residual blocks a level on the way down and up.
    Raises UserError where H or W does not halve evenly at every level.
    """

    channels: tuple[int, ...] = (32, 64)
    blocks: int = 2
    num_classes: int | None = None
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, t, label=None, train=False):
        levels = len(self.channels)
        if x.ndim != 4 or any(size % 2 ** (levels - 1) for size in x.shape[1:3]):
            raise UserError(
                f"a unet of {levels} levels takes images whose height and width divide by {2 ** (levels - 1)}, "
                f"not examples of shape {x.shape[1:]}; change net.unet.channels or net.name."
            )
        c = Embedding(4 * self.channels[0], self.num_classes, name="embedding")(t, label)

        def block(level, name):
            return ResBlock(self.channels[level], self.dropout, train, self.dtype, name=f"{name}_{level}")

        h = _conv(self.channels[0], self.dtype, "in")(x)
        skips = []
        for level in range(levels):
            if level:
                h = _conv(self.channels[level], self.dtype, f"shrink_{level}", strides=(2, 2))(h)
            for i in range(self.blocks):
                h = block(level, f"down_{i}")(h, c)
                skips.append(h)
        for level in reversed(range(levels)):
            for i in range(self.blocks):
                h = block(level, f"up_{i}")(h, c, skips.pop())
            if level:
                h = jnp.repeat(jnp.repeat(h, 2, axis=1), 2, axis=2)
                h = _conv(self.channels[level - 1], self.dtype, f"grow_{level}")(h)
        h = jax.nn.silu(_norm(self.channels[0], jnp.float32, "norm_out")(h.astype(jnp.float32)))
        return _conv(x.shape[-1], jnp.float32, "out", kernel_init=nn.initializers.zeros)(h)
