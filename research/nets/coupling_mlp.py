"""The perceptron inside of a coupling layer of vectors: hidden layers in a row (Dinh et al. 2015, section 5.1)."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.nets import activations, blocks
from research.nets.embedding import Condition

HE = nn.initializers.he_normal()


class Dense(nn.Module):
    """Columns W^T h + b [out, B] of h [in, B]; the parameters are those of `nn.Dense`."""

    features: int
    kernel_init: Callable
    bias_init: Callable = blocks.ZEROS
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, h):
        kernel = self.param("kernel", self.kernel_init, (len(h), self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        kernel, bias, h = (a.astype(self.dtype) for a in (kernel, bias, h))
        return jax.lax.dot_general(kernel, h, (((0,), (0,)), ((), ()))) + bias[:, None]


def _activate(kind, h, name):
    """Activation of columns h [C, B]; entry by entry where it can be, which spares a CPU two transpositions."""
    entry = activations.TABLE[kind]
    if entry.pieces > 1 or entry.learned or kind == "softmax":
        return blocks.Activation(kind, name=name)(h.T).T
    return activations.get(kind)(h)


class CouplingMLP(nn.Module):
    """Output [B, outputs D] of vectors x [B, D] and a condition (see `Condition`); zero before any training.

    channels replaces outputs D. Examples are columns inside: on a CPU the gradient of a kernel takes half of the time
    so. The first layer's biases are drawn: of one or two inputs, units without them would all bend at the origin.
    """

    width: int = 128
    depth: int = 2
    outputs: int = 1
    channels: int | None = None
    activation: str = "relu"
    num_classes: int | None = None
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, condition=None, train=False):
        c, h = Condition(self.num_classes, self.width, name="condition")(len(x), condition), x.T
        inputs = blocks.hidden_inputs(self.activation, self.width)
        bias = nn.initializers.normal(1 / math.sqrt(x.shape[-1]))
        for i in range(self.depth):
            h = Dense(inputs, HE, blocks.ZEROS if i else bias, self.dtype, name=f"hidden_{i}")(h)
            if c is not None:
                told = nn.Dense(inputs, False, dtype=self.dtype, kernel_init=blocks.ZEROS, name=f"told_{i}")(c)
                h = h + told.T
            h = _activate(self.activation, h, name=f"activation_{i}")
            h = nn.Dropout(self.dropout, deterministic=not train)(h)
        outputs = self.channels or self.outputs * x.shape[-1]
        return Dense(outputs, blocks.ZEROS, dtype=self.dtype, name="out")(h).T.astype(jnp.float32)
