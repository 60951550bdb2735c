"""The convolutions inside of a coupling layer of Glow (Kingma & Dhariwal 2018, section 5): 3x3, then 1x1, then 3x3."""

import flax.linen as nn
import jax.numpy as jnp

from research.nets import blocks
from research.nets.embedding import Condition

HE = nn.initializers.he_normal()


class CouplingCNN(nn.Module):
    """Output [B, H, W, outputs C] of images x [B, H, W, C] and a condition (see `Condition`); zero before any training.

    channels replaces outputs C. Of `depth` hidden layers the first one looks at 3x3 pixels, the others at one; the last
    layer at 3x3 again. Glow's code normalises hidden layers by ActNorm too; here only what comes in is.
    """

    width: int = 512
    depth: int = 2
    outputs: int = 1
    channels: int | None = None
    activation: str = "relu"
    num_classes: int | None = None
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, condition=None, train=False):
        c, h = Condition(self.num_classes, self.width, name="condition")(len(x), condition), x
        inputs, dims = blocks.hidden_inputs(self.activation, self.width), x.ndim - 2
        for i in range(self.depth):
            start = {"dtype": self.dtype, "kernel_init": HE, "name": f"hidden_{i}"}
            h = nn.Dense(inputs, **start)(h) if i else blocks.conv(inputs, dims, **start)(h)
            if c is not None:
                told = nn.Dense(inputs, False, dtype=self.dtype, kernel_init=blocks.ZEROS, name=f"told_{i}")(c)
                h = h + told.reshape(len(x), *(1,) * dims, inputs)
            h = blocks.Activation(self.activation, name=f"activation_{i}")(h)
            h = nn.Dropout(self.dropout, deterministic=not train)(h)
        outputs = self.channels or self.outputs * x.shape[-1]
        return blocks.conv(outputs, dims, "out", dtype=self.dtype, kernel_init=blocks.ZEROS)(h).astype(jnp.float32)
