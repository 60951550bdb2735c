"""A small classifier whose last hidden layer is the feature space of sample metrics."""

import flax.linen as nn
import jax

FEATURES = 64


class Classifier(nn.Module):
    """(features [B, 64], logits [B, num_classes]) of x: images [B, H, W, C] by two convolutions, vectors by an MLP."""

    num_classes: int
    width: int = 32
    dropout: float = 0.2

    @nn.compact
    def __call__(self, x, train=False):
        if x.ndim == 4:
            first = 2 if x.shape[1] > 16 else 1  # 8x8 digits keep every pixel in the first layer
            x = jax.nn.silu(nn.Conv(self.width, (3, 3), strides=first, name="conv_0")(x))
            x = jax.nn.silu(nn.Conv(2 * self.width, (3, 3), strides=2, name="conv_1")(x))
            x = x.reshape(x.shape[0], -1)
        else:
            for i in range(2):
                x = jax.nn.silu(nn.Dense(4 * self.width, name=f"dense_{i}")(x.reshape(x.shape[0], -1)))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        features = jax.nn.silu(nn.Dense(FEATURES, name="features")(x))
        logits = nn.Dense(self.num_classes, name="logits")(nn.Dropout(self.dropout, deterministic=not train)(features))
        return features, logits
