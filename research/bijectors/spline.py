"""Monotone rational-quadratic splines with linear tails (Durkan et al. 2019, "Neural spline flows", section 3.1)."""

import jax
import jax.numpy as jnp

from research.bijectors.coupling import coupling
from research.errors import UserError

MIN_WIDTH, MIN_SLOPE = 1e-3, 1e-3  # of a bin, as a share of the interval; of the derivative at a knot


def knots(p, bound):
    """(x [..., K + 1], y [..., K + 1], slopes [..., K + 1]) of K bins on [-bound, bound] from p [..., 3 K - 1].

    The slopes at both ends are 1, so that the identity continues the spline. p = 0 is the identity.
    """
    bins = (p.shape[-1] + 1) // 3
    widths, heights, slopes = p[..., :bins], p[..., bins : 2 * bins], p[..., 2 * bins :]

    def places(raw):
        share = MIN_WIDTH + (1 - MIN_WIDTH * bins) * jax.nn.softmax(raw, axis=-1)
        inside = 2 * bound * jnp.cumsum(share, axis=-1)[..., :-1] - bound
        end = jnp.full((*raw.shape[:-1], 1), bound, raw.dtype)
        return jnp.concatenate([-end, inside, end], axis=-1)

    one = jnp.ones((*p.shape[:-1], 1), p.dtype)
    shift = jnp.log(jnp.expm1(1 - MIN_SLOPE))  # softplus(shift) + MIN_SLOPE = 1
    inner = MIN_SLOPE + jax.nn.softplus(slopes + shift)
    return places(widths), places(heights), jnp.concatenate([one, inner, one], axis=-1)


def _bin(x, edges, *tables):
    """Left and right values of the tables [..., K + 1] at the bin of x [...] between edges [..., K + 1]."""
    k = jnp.sum(x[..., None] >= edges[..., 1:-1], axis=-1, keepdims=True)
    take = lambda a, i: jnp.take_along_axis(a, i, axis=-1)[..., 0]  # noqa: E731
    return [pair for a in tables for pair in (take(a, k), take(a, k + 1))]


def _slope(xi, s, d0, d1):
    """(denominator of eq. 4, log of the slope, eq. 5) at the share xi of a bin with mean slope s, end slopes d0, d1."""
    mix = xi * (1 - xi)
    below = s + (d1 + d0 - 2 * s) * mix
    return below, 2 * jnp.log(s) + jnp.log(d1 * xi**2 + 2 * s * mix + d0 * (1 - xi) ** 2) - 2 * jnp.log(below)


def forward(x, p, bound):
    """(z, log dz/dx), each of the shape of x [...], from p [..., 3 K - 1]; outside of [-bound, bound] the identity."""
    inside = jnp.abs(x) < bound
    x_in = jnp.where(inside, x, 0.0)
    x_knots, y_knots, slopes = knots(p, bound)
    x0, x1, y0, y1, d0, d1 = _bin(x_in, x_knots, x_knots, y_knots, slopes)
    s = (y1 - y0) / (x1 - x0)
    xi = (x_in - x0) / (x1 - x0)
    below, log_slope = _slope(xi, s, d0, d1)
    z = y0 + (y1 - y0) * (s * xi**2 + d0 * xi * (1 - xi)) / below  # eq. 4
    return jnp.where(inside, z, x), jnp.where(inside, log_slope, 0.0)


def inverse(z, p, bound):
    """(x, log dx/dz): the root of a quadratic, in the form that loses no digits (eqs. 6 to 8)."""
    inside = jnp.abs(z) < bound
    z_in = jnp.where(inside, z, 0.0)
    x_knots, y_knots, slopes = knots(p, bound)
    x0, x1, y0, y1, d0, d1 = _bin(z_in, y_knots, x_knots, y_knots, slopes)
    s = (y1 - y0) / (x1 - x0)
    rise, bend = z_in - y0, d1 + d0 - 2 * s
    a = (y1 - y0) * (s - d0) + rise * bend
    b = (y1 - y0) * d0 - rise * bend
    c = -s * rise
    root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0.0))
    xi = 2 * c / (-b - root)
    _, log_slope = _slope(xi, s, d0, d1)
    return jnp.where(inside, xi * (x1 - x0) + x0, z), jnp.where(inside, -log_slope, 0.0)


def rq_spline_coupling(conditioner, mask, bins=8, bound=3.0, compact=False):
    """Where mask is False entries go through splines of `bins` bins on [-bound, bound]; 3 bins - 1 numbers an entry.

    compact: see `coupling`. Raises UserError for bins or a bound of which no spline can be made.
    """
    if not (bound > 0 and 1 <= bins < 1 / MIN_WIDTH):
        raise UserError(f"a spline takes a bound above 0 and below 1000 bins, not a bound of {bound} and {bins} bins.")
    there, back = (lambda x, p: forward(x, p, bound)), (lambda z, p: inverse(z, p, bound))
    return coupling(conditioner, mask, 3 * bins - 1, there, back, compact)
