"""A deep perceptron that tells classes apart, and how well gradients reach its first layers."""

import jax
import jax.numpy as jnp
import optax

from research.contracts import Model
from research.encoding import encode
from research.errors import UserError
from research.nets import activations
from research.nets.plain_mlp import PlainMLP, dead_share


def make(config, data_shape):
    """Model of labelled data; its held-out metrics: loss, accuracy, dead_share, gradient [depth].

    gradient holds, layer by layer, the norm of one example's gradient of its loss in what enters the activations: the
    error that backpropagation brings there, as the root of its mean square over examples. dead_share is the share of
    units that pass no gradient for any of the examples of a batch. Raises UserError for data without classes.
    """
    if not config.data.num_classes:
        raise UserError(f"a classifier needs labelled data, and '{config.data.name}' has no classes.")
    levels, own = config.data.levels or None, config.model
    net = PlainMLP(config.data.num_classes, own.width, own.depth, own.activation, own.initializer)
    activation = activations.get(own.activation)

    def init(key, batch):
        return net.init(key, encode(batch["x"][:1], levels, 0.5))

    def cross_entropy(params, batch, nudge=None):
        logits, z = net.apply(params, encode(batch["x"], levels, 0.5), nudge)
        value = optax.softmax_cross_entropy_with_integer_labels(logits, batch["condition"]).mean()
        return value, (logits, z)

    def loss(params, key, batch, train=True):
        """Cross-entropy in nats; with train=False also what it takes to see how the net learns."""
        value, (logits, z) = cross_entropy(params, batch)
        metrics = {"loss": value, "accuracy": jnp.mean(logits.argmax(-1) == batch["condition"])}
        if not train:
            error = jax.grad(lambda nudge: cross_entropy(params, batch, nudge)[0])(jnp.zeros_like(z))
            metrics["dead_share"] = dead_share(activation, z)
            tiny = jnp.finfo(
                jnp.float32
            ).tiny  # squares of a vanishing error would be 0, so it is measured in its largest
            largest = jnp.maximum(jnp.abs(error).max(axis=(1, 2), keepdims=True), tiny)
            metrics["gradient"] = largest[:, 0, 0] * jnp.sqrt(jnp.sum((error / largest) ** 2, axis=(1, 2)))
            metrics["gradient"] *= jnp.sqrt(z.shape[1])  # the loss is a mean over examples
        return value, (metrics, None)

    def predict(params, x):
        return net.apply(params, encode(x, levels, 0.5))[0]

    return Model(init, loss, None, None, predict)
