"""Map, shuffle, reduce over the devices of a mesh: counts and order statistics of columns; see moments.py, too.

Entry points: `histogram`, `quantiles`; `reduce` for others. Devices map their rows to whole numbers of keys; a key's
numbers go to the device that owns it, which adds them. Such sums do not depend on their order, so every bit is the same
on any number of devices.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P


def reduce(of_rows, mesh, x, *known):
    """numpy [K, ...]: the sum of the tables of whole numbers [K, ...] that of_rows(part of x, *known) makes of rows.

    x [N, F] is spread over the one axis of the mesh, its last part filled up with rows of NaN, which must add nothing.
    of_rows: a function of a module, compiled once for a shape. Of several processes all get the sum.
    """
    with jax.enable_x64(True):
        return np.asarray(_program(of_rows, mesh)(x, *known))


@functools.lru_cache(maxsize=64)
def _program(of_rows, mesh):
    (axis,) = mesh.axis_names

    def run(x, *known):
        table = of_rows(x, *known)
        table = jnp.pad(table, [(0, -len(table) % mesh.size)] + [(0, 0)] * (table.ndim - 1))
        return lax.psum_scatter(table, axis, scatter_dimension=0, tiled=True)

    def spread(x, *known):
        x = jnp.pad(x.astype(jnp.float32), ((0, -len(x) % mesh.size), (0, 0)), constant_values=jnp.nan)
        specs, size = (P(axis), *[P()] * len(known)), len(jax.eval_shape(of_rows, x, *known))
        return jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=P(axis))(x, *known)[:size]

    return jax.jit(spread, out_shardings=NamedSharding(mesh, P()))


def by_key(key, numbers, keys):
    """[keys, F, ...] sums of whole numbers [n, F, ...] by their keys [n, F], 0 to keys - 1."""
    return jax.vmap(lambda key, numbers: jax.ops.segment_sum(numbers, key, keys), 1, 1)(key, numbers)


def histogram(x, edges, mesh):
    """int64 [E - 1, F]: how many of each column of x [N, F] lie in the bins between edges [E], as np.histogram's."""
    return reduce(_counts, mesh, x, np.asarray(edges, np.float64))


def _counts(x, edges):
    bins = len(edges) - 1
    place = jnp.where(x == edges[-1], bins - 1, jnp.searchsorted(edges, x, side="right") - 1)
    inside = (x >= edges[0]) & (x <= edges[-1])
    return by_key(jnp.where(inside, place, 0), inside.astype(jnp.int64), bins)


def quantiles(x, shares, mesh):
    """float32 [Q, F]: of each column of x [N, F] the least value with a share of the values at or below it; no NaN.

    They are np.quantile's "inverted_cdf", exact; NaN of a column without values. Four times the rows are counted by
    one byte more of their place in the order of float32: the digits of the value, one after the other.
    """
    prefix = np.zeros((len(shares), x.shape[1]), np.int64)
    for shift in (24, 16, 8, 0):
        running = np.cumsum(reduce(_bytes, mesh, x, prefix, np.int64(shift)), axis=0)  # [256, Q, F]
        if shift == 24:
            rows = running[-1]
            rank = np.clip(np.ceil(np.asarray(shares)[:, None] * rows).astype(np.int64) - 1, 0, None)
        byte = np.minimum((running <= rank).sum(axis=0), 255)
        rank = rank - np.where(byte > 0, np.take_along_axis(running, np.maximum(byte - 1, 0)[None], 0)[0], 0)
        prefix = prefix << 8 | byte
    bits = np.where(prefix >= 2**31, prefix - 2**31, 2**32 - 1 - prefix).astype(np.uint32)
    return np.where(rows > 0, bits.view(np.float32), np.float32(np.nan))


def _bytes(x, prefix, shift):
    """[256, Q, F]: how many values that begin with the bits of prefix [Q, F] go on with each byte."""
    bits = lax.bitcast_convert_type(x, jnp.uint32).astype(jnp.int64)
    place = jnp.where(bits >= 2**31, 2**32 - 1 - bits, bits + 2**31)  # in the order of float32
    alike = ((place >> shift + 8)[:, None] == prefix) & ~jnp.isnan(x)[:, None]  # [n, Q, F]
    byte = jnp.broadcast_to((place >> shift & 255)[:, None], alike.shape)
    return jax.vmap(functools.partial(by_key, keys=256), (1, 1), 1)(byte, alike.astype(jnp.int64))
