"""The diffusion transformer (Peebles & Xie 2023, "Scalable diffusion models with transformers"): adaLN-zero blocks."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.errors import UserError
from research.nets import blocks
from research.nets.embedding import Embedding

SIZES = {  # table 1 of the paper; their patch is 2, 4 or 8
    "S": {"width": 384, "depth": 12, "heads": 6},
    "B": {"width": 768, "depth": 12, "heads": 12},
    "L": {"width": 1024, "depth": 24, "heads": 16},
    "XL": {"width": 1152, "depth": 28, "heads": 16},
}
TIME_FEATURES = 256
XAVIER = nn.initializers.xavier_uniform()


def modulate(h, scale, shift):
    """LayerNorm without parameters, scaled and shifted by what the conditioning vector says; all [B, T or 1, C]."""
    return nn.LayerNorm(epsilon=1e-6, use_bias=False, use_scale=False, dtype=h.dtype)(h) * (1 + scale) + shift


class Block(nn.Module):
    """Attention and a feed-forward pair, both behind gates that c opens; they are shut at first (adaLN-zero)."""

    width: int
    heads: int
    activation: str
    dropout: float
    train: bool
    dtype: jnp.dtype
    attention: str = "xla"

    @nn.compact
    def __call__(self, h, c, rotate):
        told = nn.Dense(6 * self.width, dtype=self.dtype, kernel_init=blocks.ZEROS, name="told")(jax.nn.silu(c))
        scale, shift, gate, scale_2, shift_2, gate_2 = jnp.split(told[:, None], 6, axis=-1)
        attention = blocks.Attention(self.heads, self.dtype, XAVIER, None, self.attention, name="attention")
        h = h + gate * attention(modulate(h, scale, shift), rotate)
        hidden = blocks.FeedForward(
            4 * self.width,
            self.width,
            self.activation,
            self.dropout,
            self.train,
            self.dtype,
            XAVIER,
            name="feed_forward",
        )
        return h + gate_2 * hidden(modulate(h, scale_2, shift_2)), None


def grid_angles(height, width, frequencies, base=1e4):
    """Angles [H W, 2 F] of positions on a grid: F of the row, F of the column, slower from one to the next."""
    turns = base ** -(jnp.arange(frequencies) / frequencies)
    row, column = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    return jnp.concatenate([row.reshape(-1, 1) * turns, column.reshape(-1, 1) * turns], axis=1)


def patchify(x, patch):
    """Tokens [B, H/p W/p, p p C] of images x [B, H, W, C]."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // patch, patch, w // patch, patch, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, (h // patch) * (w // patch), patch * patch * c)


def unpatchify(tokens, patch, height, width):
    """Images [B, H, W, C] of tokens [B, H/p W/p, p p C]."""
    x = tokens.reshape(tokens.shape[0], height // patch, width // patch, patch, patch, -1)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(x.shape[0], height, width, x.shape[-1])


class DiT(nn.Module):
    """Output of the shape of images x [B, H, W, C] from x, times t [B] and labels [B]; twice C with learned_sigma.

    positions: "sincos" adds sines and cosines to the tokens as the paper does, "rope" turns queries and keys by their
    row and column. Blocks are scanned; `unroll` of them a turn (depth: no loop). attention: "xla", or "cudnn" for its
    fused one, which has no forward-mode derivative. Raises UserError for shapes that the patch, the heads or the
    positions do not divide, and for an attention that is not here.
    """

    width: int = 384
    depth: int = 12
    heads: int = 6
    patch: int = 2
    positions: str = "sincos"
    activation: str = "gelu_tanh"
    num_classes: int | None = None
    dropout: float = 0.0
    learned_sigma: bool = False
    remat: bool = False
    unroll: int = 1
    attention: str = "xla"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, t, label=None, train=False):
        if x.ndim != 4 or x.shape[1] % self.patch or x.shape[2] % self.patch:
            raise UserError(
                f"a dit takes images whose height and width divide by its patch of {self.patch}, "
                f"not examples of shape {x.shape[1:]}; change net.dit.patch or net.name."
            )
        fused = jax.default_backend() == "gpu" and self.dtype == jnp.bfloat16
        if self.attention != "xla" and not (self.attention == "cudnn" and fused):
            raise UserError(
                f"net.dit.attention is '{self.attention}'; choose xla, or cudnn for net.dtype=bfloat16 on a GPU."
            )
        height, width, channels = x.shape[1:]
        embedding = Embedding(
            self.width, TIME_FEATURES, self.num_classes, nn.initializers.normal(0.02), name="embedding"
        )
        c = embedding(t, label)
        h = nn.Dense(self.width, dtype=self.dtype, kernel_init=XAVIER, name="in")(patchify(x, self.patch))
        angles = self._angles(height // self.patch, width // self.patch)
        if self.positions == "sincos":
            h, angles = h + jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1).astype(h.dtype), None
        stack = blocks.scan(Block, self.depth, self.remat, self.unroll)
        fields = (self.width, self.heads, self.activation, self.dropout, train, self.dtype, self.attention)
        h, _ = stack(*fields, name="blocks")(h, c, angles)
        told = nn.Dense(2 * self.width, kernel_init=blocks.ZEROS, name="told")(jax.nn.silu(c))
        h = modulate(h.astype(jnp.float32), *jnp.split(told[:, None], 2, axis=-1))
        outputs = self.patch**2 * channels * (1 + self.learned_sigma)
        h = nn.Dense(outputs, kernel_init=blocks.ZEROS, name="out")(h)
        return unpatchify(h, self.patch, height, width)

    def _angles(self, rows, columns):
        size = self.width if self.positions == "sincos" else self.width // self.heads
        if self.positions not in ("sincos", "rope"):
            raise UserError(f"net.dit.positions is '{self.positions}'; choose sincos or rope.")
        if self.width % self.heads:
            raise UserError(f"net.dit.width of {self.width} does not divide into net.dit.heads of {self.heads}.")
        if size % 4:
            raise UserError(
                f"{self.positions} positions need a size that divides by 4, not {size}: change net.dit.width."
            )
        return grid_angles(rows, columns, math.floor(size / 4))
