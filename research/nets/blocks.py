"""Parts that the nets share: an activation by name, a feed-forward pair of layers, convolutions, norms, attention."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from research.errors import UserError
from research.nets import activations

ZEROS = nn.initializers.zeros


def scan(block, depth, remat=False, unroll=1):
    """A module of `depth` blocks, traced once: block(...)(h, *constants) -> (h, None), parameters stacked in front.

    remat recomputes a block's inside in the backward pass; unroll blocks are written out in each turn of the loop.
    Where the mesh around it splits weights (fsdp) a block gathers its own: else XLA would gather the rows, which are
    more, and its messages would grow with the number of devices.
    """
    if jax.sharding.get_abstract_mesh().shape.get("fsdp", 1) > 1:
        block = nn.map_variables(block, "params", trans_in_fn=_whole)
    return nn.scan(
        nn.remat(block, prevent_cse=False) if remat else block,
        variable_axes={"params": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=nn.broadcast,
        length=depth,
        unroll=unroll,
    )


def _whole(params):
    return jax.tree.map(lambda w: jax.lax.with_sharding_constraint(w, PartitionSpec()), params)


class Activation(nn.Module):
    """The activation called `kind` of x [..., C], with its learned parameters, one a channel, where it has any.

    Gated units and maxout return [..., C / 2]. Raises UserError for an unknown kind, or an odd C to halve.
    """

    kind: str

    @nn.compact
    def __call__(self, x):
        function, channels = activations.get(self.kind), x.shape[-1]
        entry = activations.TABLE[self.kind]
        if channels % entry.pieces:
            raise UserError(
                f"activation '{self.kind}' takes its channels in pairs, and {channels} is odd; choose another."
            )
        learned = {
            name: self.param(name, nn.initializers.constant(value), (channels,)).astype(x.dtype)
            for name, value in entry.learned.items()
        }
        return function(x, **learned)


def hidden_inputs(kind, hidden):
    """Inputs of the hidden units in a layer of width `hidden`: gated units and maxout have two, and are two thirds."""
    activations.get(kind)  # an unknown name is a mistake here too
    pieces = activations.TABLE[kind].pieces
    return hidden if pieces == 1 else pieces * activations.two_thirds(hidden)


class FeedForward(nn.Module):
    """W2 act(W1 h) [..., out] of h [..., C]; a gated unit by name makes it a GLU, GEGLU, SwiGLU (Shazeer 2020)."""

    hidden: int
    out: int
    activation: str = "gelu_tanh"
    dropout: float = 0.0
    train: bool = False
    dtype: jnp.dtype = jnp.float32
    kernel_init: Callable = nn.initializers.lecun_normal()
    last_init: Callable | None = None

    @nn.compact
    def __call__(self, h):
        inputs = hidden_inputs(self.activation, self.hidden)
        h = nn.Dense(inputs, dtype=self.dtype, kernel_init=self.kernel_init, name="in")(h)
        h = Activation(self.activation, name="activation")(h)
        h = nn.Dropout(self.dropout, deterministic=not self.train)(h)
        last = self.last_init or self.kernel_init
        return nn.Dense(self.out, dtype=self.dtype, kernel_init=last, name="out")(h)


def gated(kind):
    """A feed-forward module of the gated unit `kind`: `gated("swiglu")(hidden, out)`; hidden is the ungated width."""
    if activations.TABLE[kind].pieces != 2:
        raise UserError(f"'{kind}' is no gated unit: choose glu, gtu, bilinear, reglu, geglu or swiglu.")
    return functools.partial(FeedForward, activation=kind)


GLU, GTU, Bilinear, ReGLU, GEGLU, SwiGLU = map(gated, ("glu", "gtu", "bilinear", "reglu", "geglu", "swiglu"))


def group_norm(channels, dtype, name):
    """Group normalisation with up to 32 groups of at least 4 channels (Wu & He 2018; Ho et al. 2020 take 32)."""
    groups = next(g for g in range(max(min(32, channels // 4), 1), 0, -1) if channels % g == 0)
    return nn.GroupNorm(num_groups=groups, dtype=dtype, name=name)


def conv(channels, dims, name, size=3, **options):
    """A convolution over `dims` spatial axes with a kernel of `size` along each, zero-padded to keep the shape."""
    return nn.Conv(channels, (size,) * dims, name=name, **options)


class WeightNormConv(nn.Module):
    """A convolution over the spatial axes of x [B, ..., C], dense where it has none, of kernels g v / |v|.

    One length g an output channel, 1 at first (Salimans & Kingma 2016, "Weight normalization").
    """

    channels: int
    size: int = 3
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        dims = x.ndim - 2
        shape = (self.size,) * dims + (x.shape[-1], self.channels)
        v = self.param("kernel", nn.initializers.normal(0.05), shape)
        g = self.param("scale", nn.initializers.ones, (self.channels,))
        bias = self.param("bias", ZEROS, (self.channels,))
        kernel = g * v / jnp.sqrt(jnp.sum(v**2, axis=tuple(range(dims + 1))))
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        if not dims:
            return x @ kernel + bias
        space = "".join("XYZ"[:dims])
        layout = (f"N{space}C", f"{space}IO", f"N{space}C")
        return jax.lax.conv_general_dilated(x, kernel, (1,) * dims, "SAME", dimension_numbers=layout) + bias


class Attention(nn.Module):
    """Self-attention of tokens h [B, T, C]; `rotate` [T, C / heads / 2] are angles of a rotary embedding, or None.

    implementation: as of jax.nn.dot_product_attention; "cudnn" holds no weights [T, T], in bfloat16 on NVIDIA's GPUs.
    """

    heads: int
    dtype: jnp.dtype = jnp.float32
    kernel_init: Callable = nn.initializers.lecun_normal()
    last_init: Callable | None = None
    implementation: str = "xla"

    @nn.compact
    def __call__(self, h, rotate=None):
        width = h.shape[-1]
        if width % self.heads:
            raise UserError(f"a width of {width} does not divide into {self.heads} attention heads; change either.")
        qkv = nn.Dense(3 * width, dtype=self.dtype, kernel_init=self.kernel_init, name="qkv")(h)
        q, k, v = jnp.split(qkv.reshape(*h.shape[:-1], 3 * self.heads, width // self.heads), 3, axis=-2)
        if rotate is not None:
            q, k = rotated(q, rotate), rotated(k, rotate)
        h = jax.nn.dot_product_attention(q, k, v, implementation=self.implementation).reshape(h.shape)
        last = self.last_init or self.kernel_init
        return nn.Dense(width, dtype=self.dtype, kernel_init=last, name="out")(h)


def rotated(x, angles):
    """x [B, T, N, D], whose pairs (i, i + D / 2) are turned by angles [T, D / 2] (Su et al. 2021, "RoFormer")."""
    cos, sin = (f(angles)[:, None].astype(x.dtype) for f in (jnp.cos, jnp.sin))
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)
