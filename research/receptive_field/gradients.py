"""The effective receptive field: how much each input position moves one output unit.

Luo, Li, Urtasun and Zemel 2016, "Understanding the effective receptive field in deep convolutional neural networks".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError
from research.receptive_field.jaxpr import ReceptiveField, of

TWO_SIGMA = 0.9545  # share of a Gaussian's mass within two standard deviations


class EffectiveField(NamedTuple):
    """gradient [*space] has mass 1. support: (first, last) of what is not zero, a dimension. mean, std: of the fitted
    Gaussian, in pixels a dimension, by moments. share: mass within the theoretical field. side: of the smallest square
    around the mean with 95.45 % of the mass. theory: the ReceptiveField; unit: the output unit.

    For n layers of uniform k-wide kernels std^2 is n (k^2 - 1) / 12: it grows as sqrt(n), the theoretical size as n.
    """

    gradient: np.ndarray
    support: tuple
    mean: tuple[float, ...]
    std: tuple[float, ...]
    share: float
    side: int
    theory: ReceptiveField
    unit: tuple[int, ...]


def effective(fn, params, input_shape, *, key=None, samples=1, power=1, unit=None, spatial_axes=None):
    """EffectiveField of fn(params, x) with x of input_shape, such as [1, H, W, C], at the centre unit or at `unit`.

    |d (sum of the unit's channels) / d x| ** power, summed over channels, averaged over `samples` standard normal
    inputs. spatial_axes default to all but the first and last, of the input and of the output. Raises UserError where
    the output has other axes than the input, or no gradient.
    """
    shape = tuple(input_shape)
    axes = tuple(range(1, len(shape) - 1)) if spatial_axes is None else tuple(k % len(shape) for k in spatial_axes)
    out = jax.eval_shape(fn, params, jax.ShapeDtypeStruct(shape, jnp.float32)).shape
    if len(out) != len(shape):
        raise UserError(f"effective needs an output with the axes of the input {shape}, not of shape {out}.")
    unit = tuple(out[k] // 2 for k in axes) if unit is None else tuple(unit)
    place = tuple(unit[axes.index(k)] if k in axes else slice(None) for k in range(len(out)))
    slope = jax.jit(jax.grad(lambda x, params: fn(params, x)[place].sum()))
    total, others = 0.0, tuple(k for k in range(len(shape)) if k not in axes)
    for k in jax.random.split(jax.random.key(0) if key is None else key, samples):
        x = jax.random.normal(k, shape, jnp.result_type(float))
        total = total + np.sum(np.abs(np.asarray(slope(x, params), np.float64)) ** power, axis=others)
    return measure(total, of(lambda x: fn(params, x), shape, spatial_axes=axes), unit)


def measure(mass, theory, unit):
    """EffectiveField of a map of mass [*space] with any sum. Raises UserError where it is zero or not finite."""
    if not np.isfinite(mass).all() or not mass.any():
        raise UserError("the gradient of the unit is zero everywhere, or not finite: move the weights off zero.")
    gradient = mass / mass.sum()
    seen = [np.nonzero(gradient.any(axis=tuple(k for k in range(mass.ndim) if k != d)))[0] for d in range(mass.ndim)]
    support = tuple((int(where[0]), int(where[-1])) for where in seen)
    means, stds = zip(*(_moments(gradient, d) for d in range(mass.ndim)))
    reach = zip(theory.interval(unit), mass.shape)
    inside = gradient[tuple(slice(int(max(low, 0)), int(min(high, n)) + 1) for (low, high), n in reach)]
    return EffectiveField(gradient, support, means, stds, float(inside.sum()), _side(gradient, means), theory, unit)


def _moments(gradient, dim):
    weight = gradient.sum(axis=tuple(k for k in range(gradient.ndim) if k != dim))
    position = np.arange(len(weight))
    mean = weight @ position
    return float(mean), float(np.sqrt(weight @ (position - mean) ** 2))


def _side(gradient, means):
    centre = [round(m) for m in means]
    distance = np.max(
        np.meshgrid(*(abs(np.arange(n) - c) for n, c in zip(gradient.shape, centre)), indexing="ij"), axis=0
    )
    mass = np.cumsum(np.bincount(distance.ravel(), gradient.ravel()))
    return 2 * int(np.searchsorted(mass, TWO_SIGMA - 1e-12)) + 1
