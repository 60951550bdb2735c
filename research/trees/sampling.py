"""Which rows a tree's splits are chosen on, and what each of them weighs. Entry point: `draw`."""

import jax
import jax.numpy as jnp
from jax import lax

from research.trees import histogram, oblivious


def draw(key, g, w, valid, options, num_rows, shards=None):
    """(g, w, sample) of gradients g [N, K] and weights or Hessians w [N, 1 or K] or None: what a tree's splits see.

    options: boosting.Options, of which `mvs` and `row_share` or `temperature` draw. valid [N] bool or None: no padding.
    sample [N] bool or None: the rows that count. num_rows and key concern all shards; the other arrays are the device's
    own, and so is what comes out, with the same bits on any number of devices.
    """
    axis = shards.axis if shards and shards.kind == "rows" else None

    def own(x):
        """Of draws for all rows [num_rows], those of this device."""
        if axis is None:
            return x
        x = jnp.pad(x, (0, len(g) * shards.count - num_rows))
        return lax.dynamic_slice_in_dim(x, lax.axis_index(axis) * len(g), len(g))

    if not oblivious.off(options.row_share, 1):
        place = jax.random.uniform(key, (num_rows,), jnp.float32)
        if not options.mvs:
            return g, w, own(place < options.row_share)
        p = probabilities(g, options.row_share, valid, num_rows, axis)
        rise = jnp.where(p > 0, 1 / p, 0)[:, None]
        return g * rise, rise if w is None else w * rise, own(place) < p
    if not oblivious.off(options.temperature, 0):
        draws = own(jax.random.exponential(key, (num_rows,), jnp.float32) ** options.temperature)[:, None]
        return g * draws, draws if w is None else w * draws, valid
    return g, w, valid


def probabilities(g, share, valid, num_rows, axis=None):
    """[N] f32: with which probability minimal variance sampling keeps each row; 0 for padding, `share` on the average.

    It is min(1, s / mu) with s = sqrt(sum_k g_k^2 + lambda) (Ibragimov & Gusev 2019, theorem 1, with Hessians of 1);
    mu gives the share. lambda is the square of the mean |g| of all rows, as CatBoost's for the first tree; that takes
    the mean leaf value later, and a mu for each 8192 rows.
    """

    def total(*x):
        return histogram.total(jnp.stack(x, 1).astype(jnp.float32), num_rows, axis)

    size = jnp.linalg.norm(g, axis=1)
    mean = (total(size)[0] / num_rows).astype(jnp.float32)
    s = jnp.where(mean > 0, jnp.hypot(size, mean), 1)  # where nothing is left to fit, all rows are alike
    s = s if valid is None else jnp.where(valid, s, 0)
    wanted = share * num_rows

    def lower(mu):
        """The mu that is right if no other rows than those from `mu` on are certain."""
        rest, certain = total(jnp.where(s < mu, s, 0), s >= mu)
        return (rest / (wanted - certain)).astype(jnp.float32)

    # mu falls to the one that is right for its own rows, and with each step more of them are certain; a few will do.
    start = (total(s)[0] / wanted).astype(jnp.float32)
    mu = lax.while_loop(lambda now: now[1] < now[0], lambda now: (now[1], lower(now[1])), (start, lower(start)))[0]
    return jnp.minimum(1, s / mu)
