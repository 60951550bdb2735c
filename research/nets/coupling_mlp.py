"""The perceptron inside of a coupling layer of vectors: hidden layers in a row (Dinh et al. 2015, section 5.1)."""

import math

import flax.linen as nn
import jax.numpy as jnp

from research.nets import blocks
from research.nets.embedding import Condition

HE = nn.initializers.he_normal()


class CouplingMLP(nn.Module):
    """Output [B, outputs D] of vectors x [B, D] and a condition (see `Condition`); zero before any training.

    The first layer's biases are drawn: of one or two inputs, units without them would all bend at the origin.
    """

    width: int = 128
    depth: int = 2
    outputs: int = 1
    activation: str = "relu"
    num_classes: int | None = None
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, condition=None, train=False):
        c, h = Condition(self.num_classes, self.width, name="condition")(len(x), condition), x
        inputs = blocks.hidden_inputs(self.activation, self.width)
        bias = nn.initializers.normal(1 / math.sqrt(x.shape[-1]))
        for i in range(self.depth):
            start = {"kernel_init": HE, "bias_init": blocks.ZEROS if i else bias}
            h = nn.Dense(inputs, dtype=self.dtype, **start, name=f"hidden_{i}")(h)
            if c is not None:
                h = h + nn.Dense(inputs, False, dtype=self.dtype, kernel_init=blocks.ZEROS, name=f"told_{i}")(c)
            h = blocks.Activation(self.activation, name=f"activation_{i}")(h)
            h = nn.Dropout(self.dropout, deterministic=not train)(h)
        outputs = self.outputs * x.shape[-1]
        return nn.Dense(outputs, dtype=self.dtype, kernel_init=blocks.ZEROS, name="out")(h).astype(jnp.float32)
