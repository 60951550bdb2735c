"""A deep perceptron with nothing around its layers: no norm, no skip. What an activation does to depth shows in it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.errors import UserError
from research.nets import blocks

INITIALIZERS = {  # of the kernels: variance over fan-in
    "he": nn.initializers.he_normal(),  # 2: keeps the scale through relu (He et al. 2015)
    "lecun": nn.initializers.lecun_normal(),  # 1: through selu (Klambauer et al. 2017)
    "glorot": nn.initializers.glorot_normal(),  # 1 for square layers: through tanh (Glorot & Bengio 2010)
}


class Layer(nn.Module):
    """One activation and the dense layer behind it; hands on what went into the activation."""

    inputs: int
    activation: str
    initializer: str

    @nn.compact
    def __call__(self, z):
        h = blocks.Activation(self.activation, name="activation")(z)
        return nn.Dense(self.inputs, kernel_init=INITIALIZERS[self.initializer], name="dense")(h), z


class PlainMLP(nn.Module):
    """(outputs [B, K], inputs of the activations [depth, B, U]) of x [B, ...]: `depth` hidden layers of about `width`.

    `nudge` [depth, B, U] is added to the inputs of the activations: its gradient is the error that backpropagation
    brings to each layer. Raises UserError for an unknown activation or initializer.
    """

    outputs: int
    width: int = 128
    depth: int = 30
    activation: str = "relu"
    initializer: str = "he"

    @nn.compact
    def __call__(self, x, nudge=None):
        if self.initializer not in INITIALIZERS:
            raise UserError(f"the initializer is '{self.initializer}'; choose one of {', '.join(INITIALIZERS)}.")
        inputs = blocks.hidden_inputs(self.activation, self.width)
        kernel_init = INITIALIZERS[self.initializer]
        z = nn.Dense(inputs, kernel_init=kernel_init, name="in")(x.reshape(len(x), -1))
        nudge = jnp.zeros((self.depth, *z.shape)) if nudge is None else nudge
        hidden = z[:0].reshape(0, *z.shape)
        if self.depth > 1:  # a stack of none would have empty parameters
            stack = nn.scan(
                lambda layer, z, nudge: layer(z + nudge),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=self.depth - 1,
            )
            layers = Layer(inputs, self.activation, self.initializer, name="layers")
            z, hidden = stack(layers, z, nudge[:-1])
        z = z + nudge[-1]
        h = blocks.Activation(self.activation, name="activation")(z)
        out = nn.Dense(self.outputs, kernel_init=nn.initializers.lecun_normal(), name="out")(h)
        return out, jnp.concatenate([hidden, z[None]])


def dead_share(activation, z):
    """Share [] of activation inputs that pass no gradient for any example of z [depth, B, U]: they cannot learn.

    For an activation of several inputs the gradient is that of a sum with unequal weights.
    """

    def total(z):
        h = activation(z)
        return jnp.sum(h * jnp.linspace(1.0, 2.0, h.shape[-1]))

    return jnp.mean(jnp.all(jax.grad(total)(z) == 0, axis=1))
