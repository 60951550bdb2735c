"""Seven sets of points in the plane with stated parameters, an exact density and a known entropy.

Six of them are points or curves blurred by isotropic Gaussian noise, whose density is an integral along the curve.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.data.source import Dataset, from_arrays
from research.errors import UserError

TEST_SIZE = 10000


class Toy(NamedTuple):
    """Points [N, 2] in components of equal weight."""

    sample: Callable  # (rng, component [N]) -> x [N, 2]
    log_prob: Callable  # (x [B, 2]) -> [B], of all components together
    components: int
    entropy: float  # nats; of log_prob by quadrature on a grid, or in closed form


def load(config):
    """The Dataset of a set: x float32 [2], labels where it has components, `config.size` training points.

    Train and test are separate streams of `config.seed`. Raises UserError for a size below 1.
    """
    if config.size < 1:
        raise UserError(f"data.size is {config.size}; it must be at least 1.")
    toy = TOYS[config.name]

    def source(stream, size):
        rng = np.random.default_rng([config.seed, stream])
        component = rng.integers(0, toy.components, size).astype(np.int32)
        return from_arrays(toy.sample(rng, component).astype(np.float32), component if toy.components > 1 else None)

    classes = toy.components if toy.components > 1 else None
    train, test = source(0, config.size), source(1, TEST_SIZE)
    return Dataset(train, test, (2,), classes, log_prob=toy.log_prob, entropy=toy.entropy)


def blurred(curve, components, std, entropy, nodes=1):
    """The Toy of curve(component, u) -> [..., 2] at u ~ U[0, 1], plus N(0, std^2 I).

    p(x) = mean_k int_0^1 N(x; curve(k, u), std^2 I) du, by Gauss-Legendre quadrature with `nodes` points a component:
    as many as make it exact to float32 wherever there are samples.
    """
    u, weights = np.polynomial.legendre.leggauss(nodes)
    k, u = np.meshgrid(np.arange(components), (u + 1) / 2, indexing="ij")
    centres = curve(k.ravel(), u.ravel()).astype(np.float32)
    log_weights = np.log(np.tile(weights / 2, components) / (components * 2 * np.pi * std**2)).astype(np.float32)

    def sample(rng, component):
        return curve(component, rng.random(len(component))) + std * rng.normal(size=(len(component), 2))

    def log_prob(x):
        squares = sum((x[:, None, i] - centres[:, i]) ** 2 for i in (0, 1))
        return jax.nn.logsumexp(log_weights - squares / (2 * std**2), axis=1)

    return Toy(sample, log_prob, components, entropy)


def polar(radius, angle):
    """Points [..., 2] at an angle in radians."""
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def norm(x):
    """|x| over the last axis, with a gradient at 0 too."""
    return jnp.sqrt(jnp.maximum(jnp.sum(x**2, axis=-1), 1e-12))


def _moon(k, u):
    """Half circles of radius 1: around (0, 0), and, upside down, around (1, 1/2)."""
    return np.where((k == 0)[:, None], polar(1.0, np.pi * u), np.array([1.0, 0.5]) - polar(1.0, np.pi * u))


def _spiral(k, u):
    """Two Archimedean arms of one and a half turns and radius up to 2, nearly uniform in length."""
    return polar(2 * np.sqrt(u), 3 * np.pi * np.sqrt(u) + np.pi * k)


def _roll(k, u):
    """One arm of one and a half turns, radius 2/3 to 2, uniform in angle."""
    return polar(2 / 3 * (1 + 2 * u), 1.5 * np.pi * (1 + 2 * u))


def checkerboard():
    """The Toy that is uniform on 8 of the 16 unit squares of [-2, 2]^2; its density is 0 outside."""

    def sample(rng, component):
        row, column = divmod(rng.integers(0, 8, len(component)), 2)
        corner = np.stack([row - 2, 2 * column + row % 2 - 2], axis=-1)
        return corner + (rng.integers(0, 2**20, corner.shape) + 0.5) / 2**20  # exact in float32: none is rounded out

    def log_prob(x):
        inside = (jnp.abs(x) < 2).all(axis=1) & (jnp.floor(x).sum(axis=1) % 2 == 0)
        return jnp.where(inside, -jnp.log(8.0), -jnp.inf)

    return Toy(sample, log_prob, 1, entropy=float(np.log(8)))


def pinwheel(arms=5, radial=0.3, tangential=0.1, rate=0.25, scale=2.0):
    """The Toy of 2 y, where y is a blob at (1, 0), turned to one of five arms and by rate * exp(|y|).

    The turn depends on |y| alone, which keeps areas, so that the density is exact.
    """

    def turn(y, angle, xp):
        cos, sin = xp.cos(angle), xp.sin(angle)
        return xp.stack([cos * y[..., 0] - sin * y[..., 1], sin * y[..., 0] + cos * y[..., 1]], axis=-1)

    def sample(rng, component):
        y = np.array([1.0, 0.0]) + rng.normal(size=(len(component), 2)) * np.array([radial, tangential])
        return scale * turn(y, 2 * np.pi * component / arms + rate * np.exp(np.linalg.norm(y, axis=1)), np)

    def log_prob(x):
        y = x[:, None] / scale
        y = turn(y, -2 * jnp.pi * jnp.arange(arms) / arms - rate * jnp.exp(norm(y)), jnp)
        log_joint = -(((y[..., 0] - 1) / radial) ** 2 + (y[..., 1] / tangential) ** 2) / 2
        return jax.nn.logsumexp(log_joint, axis=1) - np.log(2 * np.pi * radial * tangential * arms * scale**2)

    return Toy(sample, log_prob, arms, entropy=2.3206)


def rings(radii=(0.5, 1.0, 1.5, 2.0), std=0.08):
    """The Toy of four circles, equally likely, blurred by N(0, std^2 I).

    On a circle of radius a: p(x) = exp(-(r^2 + a^2) / 2 std^2) I_0(r a / std^2) / (2 pi std^2), r = |x| (Rice).
    """
    blur = blurred(lambda k, u: polar(np.array(radii)[k], 2 * np.pi * u), len(radii), std, entropy=2.2125)

    def log_prob(x):
        a, r = np.array(radii, np.float32), norm(x)[:, None]
        log_joint = -((r - a) ** 2) / (2 * std**2) + jnp.log(jax.scipy.special.i0e(r * a / std**2))
        return jax.nn.logsumexp(log_joint, axis=1) - np.log(2 * np.pi * std**2 * len(radii))

    return blur._replace(log_prob=log_prob)


TOYS = {
    "8gaussians": blurred(lambda k, u: polar(2.0, np.pi * k / 4), 8, std=0.2, entropy=1.6981),
    "two_moons": blurred(_moon, 2, std=0.1, entropy=1.0076, nodes=64),
    "checkerboard": checkerboard(),
    "pinwheel": pinwheel(),
    "spirals": blurred(_spiral, 2, std=0.1, entropy=2.0875, nodes=192),
    "rings": rings(),
    "swiss_roll": blurred(_roll, 1, std=0.1, entropy=1.6264, nodes=256),
}
