"""Maps that only move entries: squeeze and flatten."""

from research.bijectors.batched import same
from research.contracts import Bijector
from research.errors import UserError


def squeeze(factor=2):
    """Images [B, H, W, C] to [B, H / f, W / f, f f C]; channels in the order row in the square, column, old channel.

    Dinh et al. 2017, section 3.6. Raises UserError where H or W does not divide by the factor.
    """

    def forward(params, x, condition=None):
        b, h, w, c = x.shape
        if h % factor or w % factor:
            raise UserError(f"squeeze by {factor} needs a height and width that divide by it, not {h} x {w}.")
        x = x.reshape(b, h // factor, factor, w // factor, factor, c).transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(b, h // factor, w // factor, factor * factor * c), same(x, 0.0)

    def inverse(params, z, condition=None):
        b, h, w, c = z.shape
        z = z.reshape(b, h, w, factor, factor, c // factor**2).transpose(0, 1, 3, 2, 4, 5)
        return z.reshape(b, h * factor, w * factor, c // factor**2), same(z, 0.0)

    return Bijector(lambda key, x, condition=None: {"params": {}}, forward, inverse)


def flatten(shape):
    """Examples of a shape, [B, *shape], as vectors [B, D]."""
    return Bijector(
        lambda key, x, condition=None: {"params": {}},
        lambda params, x, condition=None: (x.reshape(len(x), -1), same(x, 0.0)),
        lambda params, z, condition=None: (z.reshape(len(z), *shape), same(z, 0.0)),
    )
