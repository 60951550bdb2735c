"""The U-Net of DDPM and ADM for images, sequences and tables (Ho et al. 2020, appendix B; Dhariwal & Nichol 2021).

Blocks are a Python loop: a level holds few of them, and XLA's CPU compiler runs the kernel gradient of a convolution
inside a `while` about 100 times slower than outside (measured: 8x8x32, batch 128, 976 ms against 11 ms).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.errors import UserError
from research.nets import blocks
from research.nets.embedding import Embedding


class ResBlock(nn.Module):
    """h + conv(act(norm(conv(act(norm(h))), told c))), the last conv zero at first; a 1x1 conv where channels change.

    c scales and shifts the second norm (ADM), or is added before it (DDPM: scale_shift=False).
    """

    channels: int
    scale_shift: bool
    activation: str
    dropout: float
    train: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, h, c):
        dims, options = h.ndim - 2, {"dtype": self.dtype}
        act = lambda x, name: blocks.Activation(self.activation, name=name)(x)  # noqa: E731
        y = act(blocks.group_norm(h.shape[-1], self.dtype, "norm_in")(h), "act_in")
        y = blocks.conv(self.channels, dims, "conv_in", **options)(y)
        told = nn.Dense((1 + self.scale_shift) * self.channels, name="told", **options)(jax.nn.silu(c))
        told = told.reshape(-1, *(1,) * dims, told.shape[-1])
        norm = blocks.group_norm(self.channels, self.dtype, "norm_out")
        if self.scale_shift:
            scale, shift = jnp.split(told, 2, axis=-1)
            y = norm(y) * (1 + scale) + shift
        else:
            y = norm(y + told)
        y = nn.Dropout(self.dropout, deterministic=not self.train)(act(y, "act_out"))
        y = blocks.conv(self.channels, dims, "conv_out", kernel_init=blocks.ZEROS, **options)(y)
        if h.shape[-1] != self.channels:
            h = blocks.conv(self.channels, dims, "shortcut", size=1, **options)(h)
        return h + y


class AttentionBlock(nn.Module):
    """h + attention(norm(h)) over all positions, in heads of head_dim channels; zero at first."""

    head_dim: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, h):
        tokens = blocks.group_norm(h.shape[-1], self.dtype, "norm")(h).reshape(h.shape[0], -1, h.shape[-1])
        heads = max(h.shape[-1] // self.head_dim, 1)
        if h.shape[-1] % heads:
            raise UserError(f"{h.shape[-1]} channels do not divide into heads; change net.unet.head_dim.")
        attention = blocks.Attention(heads, self.dtype, last_init=blocks.ZEROS, name="attention")
        return h + attention(tokens).reshape(h.shape)


class UNet(nn.Module):
    """Output of the shape of x from x, times t [B] and labels [B]; twice the channels with learned_sigma.

    x is images [B, H, W, C], sequences [B, L, C] or tables [B, D], whose columns are taken as a sequence, padded by
    zeros to a length that halves; norms and attention see the padding. `channels` gives the width of each level, each
    half the size of the one before; `blocks` the residual blocks a level on the way down, one more on the way up;
    `attention` the sizes (8, 16: of H or L) at which it follows every block. Raises UserError where a size does not
    halve evenly at every level, and for attention at a size that no level has.
    """

    channels: tuple[int, ...] = (32, 64)
    blocks: int = 2
    attention: tuple[int, ...] = ()
    head_dim: int = 64
    scale_shift: bool = True
    activation: str = "silu"
    num_classes: int | None = None
    dropout: float = 0.0
    learned_sigma: bool = False
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, t, label=None, train=False):
        if x.ndim == 2:  # a table: its columns are a sequence
            columns = jnp.pad(x, ((0, 0), (0, -x.shape[1] % 2 ** (len(self.channels) - 1))))
            out = self.levels(columns[..., None], t, label, train)[:, : x.shape[1]]
            return out.swapaxes(1, 2).reshape(x.shape[0], -1)
        return self.levels(x, t, label, train)

    def levels(self, x, t, label, train):
        """The net of images and sequences."""
        levels, dims = len(self.channels), x.ndim - 2
        if dims < 1 or any(size % 2 ** (levels - 1) for size in x.shape[1:-1]):
            raise UserError(
                f"a unet of {levels} levels takes examples whose height and width divide by {2 ** (levels - 1)}, "
                f"not of shape {x.shape[1:]}; change net.unet.channels or net.name."
            )
        c = Embedding(4 * self.channels[0], self.channels[0], self.num_classes, name="embedding")(t, label)
        sizes = {x.shape[1] >> level for level in range(levels)}
        if not sizes.issuperset(self.attention):
            raise UserError(
                f"net.unet.attention is {self.attention}, but the levels have sizes {sorted(sizes, reverse=True)}; "
                "name some of these."
            )
        block_class, attention_class = (nn.remat(c) if self.remat else c for c in (ResBlock, AttentionBlock))

        def attend(h, name):
            return attention_class(self.head_dim, self.dtype, name=f"{name}_attention")(h)

        def block(h, level, name):
            fields = self.channels[level], self.scale_shift, self.activation, self.dropout, train, self.dtype
            return block_class(*fields, name=name)(h, c)

        def attended_block(h, level, name):
            h = block(h, level, name)
            return attend(h, name) if h.shape[1] in self.attention else h

        h = blocks.conv(self.channels[0], dims, "in", dtype=self.dtype)(x)
        skips = [h]
        for level in range(levels):
            if level:
                h = blocks.conv(self.channels[level - 1], dims, f"shrink_{level}", strides=2, dtype=self.dtype)(h)
                skips.append(h)
            for i in range(self.blocks):
                h = attended_block(h, level, f"down_{level}_{i}")
                skips.append(h)
        h = block(attend(block(h, -1, "middle_0"), "middle"), -1, "middle_1")
        for level in reversed(range(levels)):
            for i in range(self.blocks + 1):
                h = attended_block(jnp.concatenate([h, skips.pop()], axis=-1), level, f"up_{level}_{i}")
            if level:
                for axis in range(1, dims + 1):
                    h = jnp.repeat(h, 2, axis=axis)
                h = blocks.conv(self.channels[level], dims, f"grow_{level}", dtype=self.dtype)(h)
        h = blocks.group_norm(self.channels[0], jnp.float32, "norm_out")(h.astype(jnp.float32))
        h = blocks.Activation(self.activation, name="act_out")(h)
        outputs = x.shape[-1] * (1 + self.learned_sigma)
        return blocks.conv(outputs, dims, "out", kernel_init=blocks.ZEROS)(h)
