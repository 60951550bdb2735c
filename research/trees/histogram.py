"""Sums of gradients over feature, bin and leaf: exact in integers, or in float32; for CPUs and for accelerators.

Integers make a sum independent of the order and of the number of devices. Gradients become fixed point by a power of
two per output; where a row weighs 1, gradient and count share one int64, which a CPU adds in one step.
All of it is traced and called under `jax.enable_x64`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

COUNT_BITS = 24  # of the word that gradient and count share
ONE_WORD_ROWS = 2 ** (COUNT_BITS - 1)
COPIES, MOST = 256, 64  # tables of a GPU: so many over the number of leaves, and at most
CHUNK = 2**15  # rows of one matrix product; the sum of 2^15 signed bytes is an int32


class Packed(NamedTuple):
    """What is summed for each row, within one trace.

    words [N, C] int64 or f32: the gradients, then the weights unless they share a word. units: what one stands for, of
    gradients [K] and of weights [J], None where those are counted. places: bytes of a word that are not always zero.
    """

    words: jax.Array
    units: tuple
    places: tuple


def fixed(x, num_rows, bits, axis=None):
    """x [N, K] as int64, whose sums over num_rows rows stay below 2^bits, and what 1 stands for: a power of two [K].

    num_rows counts the rows of all devices on the mesh axis `axis`. What is not finite makes it NaN.
    """
    top = jnp.max(jnp.abs(x), axis=0).astype(jnp.float32) * num_rows
    top = top if axis is None else lax.pmax(top, axis)
    exponent = jnp.clip(bits - jnp.frexp(top)[1], -126, 126)
    whole = jnp.round(x * jnp.ldexp(jnp.float32(1), exponent).astype(jnp.float64)).astype(jnp.int64)
    unit = jnp.where(jnp.isfinite(top), jnp.ldexp(jnp.float32(1), -exponent), jnp.nan)
    return whole, unit.astype(jnp.float64)


def total(x, num_rows, axis=None):
    """Sum of x [N, K] over the rows, f64 [K]: the same bits on any number of devices."""
    whole, unit = fixed(x, num_rows, 61, axis)
    whole = whole.sum(0)
    return (whole if axis is None else lax.psum(whole, axis)) * unit


def leaf_total(x, leaf, num_leaves, num_rows, axis=None):
    """Sums of x [N, C] over the rows of each leaf, f64 [L, C]: the same bits on any number of devices."""
    whole, unit = fixed(x, num_rows, 61, axis)
    packed = Packed(whole, (unit,), places(61, num_rows))
    sums = each(jnp.zeros((1, len(leaf)), jnp.uint8), leaf, packed, 1, num_leaves)[0, 0]
    return (sums if axis is None else lax.psum(sums, axis)) * unit


def places(bits, num_rows):
    """The bytes that one row's number fills of those whose sums have `bits` bits; its sign and rounding count."""
    return tuple(range(-(-(bits + 3 - num_rows.bit_length()) // 8)))


def pack(g, w=None, sample=None, *, num_rows, axis=None, exact=True):
    """Packed gradients g [N, K], weights or Hessians w [N, 1 or K] (None: all 1); rows out of sample [N] add nothing.

    num_rows counts the rows of all devices on the mesh axis `axis`.
    """
    share = exact and w is None and num_rows < ONE_WORD_ROWS
    w = jnp.ones_like(g[:, :1]) if w is None else w
    if share:
        whole, unit = fixed(g, num_rows, 62 - COUNT_BITS, axis)
        filled = (0, *(COUNT_BITS // 8 + p for p in places(62 - COUNT_BITS, num_rows)))
        packed = Packed((whole << COUNT_BITS).at[:, 0].add(1), (unit, None), filled)
    elif exact:
        (g, unit), (w, unit_w) = (fixed(x, num_rows, 61, axis) for x in (g, w))
        packed = Packed(jnp.concatenate([g, w], 1), (unit, unit_w), places(61, num_rows))
    else:
        units = tuple(jnp.ones(x.shape[1], jnp.float32) for x in (g, w))
        packed = Packed(jnp.concatenate([g, w], 1).astype(jnp.float32), units, ())
    return packed if sample is None else packed._replace(words=jnp.where(sample[:, None], packed.words, 0))


def unpack(packed, sums):
    """Sums [..., C] of words as (gradients [..., K], weights [..., 1 or K]): f64, or f32 where the words are."""
    unit, unit_w = packed.units
    if unit_w is None:
        count = sums[..., :1] & (2**COUNT_BITS - 1)
        return (sums >> COUNT_BITS) * unit, count.astype(jnp.float64)
    return sums[..., : len(unit)] * unit, sums[..., len(unit) :] * unit_w


def scatter(size):
    """A function of (key [N], words [N] or [N, C]) that sums words by key: [size] or [size, C].

    Batches (many models in one program) become one scatter over their rows: a batched one takes thrice the time.
    """

    @jax.custom_batching.custom_vmap
    def add(key, words):
        return jnp.zeros((size, *words.shape[1:]), words.dtype).at[key].add(words, mode="promise_in_bounds")

    @add.def_vmap
    def _(num, batched, key, words):
        key, words = (x if b else jnp.broadcast_to(x, (num, *x.shape)) for x, b in zip((key, words), batched))
        key = key.astype(jnp.int64) if num * size >= 2**31 else key
        key = key + size * jnp.arange(num, dtype=key.dtype)[:, None]
        sums = scatter(num * size)(key.reshape(-1), words.reshape(-1, *words.shape[2:]))
        return sums.reshape(num, size, *sums.shape[1:]), True

    return add


def windows(words):
    """Words [N, C] in parts of 8 columns and a last one of 8, 4, 2 or 1, zeros if need be: XLA adds no other width to
    a table by vectors."""
    parts = [words[:, i : i + 8] for i in range(0, words.shape[1], 8)]
    size = parts[-1].shape[1]
    parts[-1] = jnp.pad(parts[-1], ((0, 0), (0, (1 << (size - 1).bit_length()) - size)))
    return [part[:, 0] if part.shape[1] == 1 else part for part in parts]


def pairs(codes, num_bins):
    """[F / 2, N] uint16: two features' codes as one number, to be made once; None where it never pays."""
    if not pair_pays(num_bins, 1, 1, codes.shape[1]):
        return None
    codes = jnp.pad(codes, ((0, len(codes) % 2), (0, 0))).astype(jnp.uint16)
    return codes[::2] * num_bins + codes[1::2]


def pair_pays(num_bins, num_leaves, columns, rows):
    """Whether adding once into a table of two features takes less time than twice into theirs, as measured."""
    return num_bins <= 256 and num_bins**2 * num_leaves * columns <= 0.6 * rows


def by_scatter(codes, leaf, packed, num_bins, num_leaves, finish, pairs=None):
    """`each` for CPUs: a scan over features, or over two at a time, of which each leaves what `finish` makes of it."""
    words = windows(packed.words)

    def table(code, bins):
        key = code.astype(jnp.int32) * num_leaves + leaf  # so that the running sum adds vectors of num_leaves
        sums = [scatter(bins * num_leaves)(key, part).reshape(bins * num_leaves, -1) for part in words]
        sums = jnp.concatenate(sums, 1)[:, : packed.words.shape[1]]
        return sums.reshape(-1, num_bins, num_leaves, packed.words.shape[1])

    def running(sums):  # [B, ...]
        return lax.scan(lambda last, x: (last + x,) * 2, jnp.zeros_like(sums[0]), sums)[1]

    def two(pair):
        sums = table(pair, num_bins**2)
        return jax.vmap(finish, 1)(running(jnp.stack([sums.sum(1), sums.sum(0)], 1)))

    if pairs is not None and pair_pays(num_bins, num_leaves, packed.words.shape[1], len(leaf)):
        found = lax.map(two, pairs)
        return found.reshape(-1, *found.shape[2:])[: len(codes)]
    return lax.map(lambda code: finish(running(table(code, num_bins)[0])), codes)


def by_atomics(codes, leaf, packed, num_bins, num_leaves, finish):
    """`each` for GPUs: one scatter over rows and features, into several tables where there are few leaves, so that
    fewer threads add to one place at a time."""
    (features, rows), one = codes.shape, num_bins * num_leaves
    copies, size = min(MOST, max(1, COPIES // num_leaves)), features * one
    key = codes.astype(jnp.int32) * num_leaves + leaf + one * jnp.arange(features, dtype=jnp.int32)[:, None]
    key += size * (jnp.arange(rows, dtype=jnp.int32) % copies)
    words = jnp.broadcast_to(packed.words, (features, *packed.words.shape))
    sums = scatter(copies * size)(key.reshape(-1), words.reshape(-1, words.shape[2]))
    sums = sums.reshape(copies, features, num_bins, num_leaves, words.shape[2]).sum(0)
    return jax.vmap(finish)(jnp.cumsum(sums, axis=1))


def by_product(codes, leaf, packed, num_bins, num_leaves, finish):
    """`each` for TPUs: (code <= bin) times (row is in leaf) * words; int64 go as bytes, summed in int32."""
    words, places = packed.words, packed.places
    pad = -len(leaf) % min(CHUNK, len(leaf))
    codes, leaf, words = (
        jnp.pad(x, w) for x, w in ((codes, ((0, 0), (0, pad))), (leaf, (0, pad)), (words, ((0, pad), (0, 0))))
    )
    kind = jnp.int8 if places else words.dtype

    def split(words):  # [n, C] -> [n, C, bytes]: words = sum of byte << 8 place, bytes from -128 to 127
        if not places:
            return words[..., None]
        found = []
        for _ in range(max(places) + 1):
            found.append(words.astype(jnp.int8))
            words = (words - found[-1]) >> 8
        return jnp.stack([found[p] for p in places], -1)

    def add(sums, rows):
        code, leaf, words = rows
        below = (code.T[:, None] <= jnp.arange(num_bins)[:, None]).astype(kind)  # [F, B, n]: running sums for free
        inside = (leaf[:, None] == jnp.arange(num_leaves))[:, :, None, None] * split(words)[:, None].astype(kind)
        more = jnp.tensordot(
            below, inside, 1, precision="highest", preferred_element_type=jnp.int32 if places else kind
        )
        if places:
            more = sum(more[..., i].astype(words.dtype) << 8 * p for i, p in enumerate(places))
        return sums + more.reshape(sums.shape), None

    rows = (x.reshape(-1, min(CHUNK, len(leaf)), *x.shape[1:]) for x in (codes.T, leaf, words))
    start = jnp.zeros((len(codes), num_bins, num_leaves, words.shape[1]), words.dtype)
    return jax.vmap(finish)(lax.scan(add, start, tuple(rows))[0])


def each(codes, leaf, packed, num_bins, num_leaves, finish=lambda sums: sums, pairs=None):
    """`finish` of each feature's sums [B, L, C] over the rows of each leaf with code <= bin: [F, ...].

    codes [F, N] below num_bins, leaf [N] below num_leaves; pairs of the codes, if there are, save time on a CPU.
    """

    def lowered(how, *pairs):
        return lambda codes, leaf, words: how(
            codes, leaf, packed._replace(words=words), num_bins, num_leaves, finish, *pairs
        )

    ways = {"cpu": lowered(by_scatter, pairs), "default": lowered(by_product)}
    # Integers alone: to add floats in place takes a GPU long in some versions, and gives other bits each time.
    if packed.places and len(codes) * num_bins * num_leaves * MOST < 2**31:
        ways["cuda"] = lowered(by_atomics)
    return lax.platform_dependent(codes, leaf, packed.words, **ways)


def shared(sums, axis, features):
    """This device's part of the sums [F, ...] over the mesh axis `axis`, filled up by zeros to those of `features`."""
    sums = jnp.pad(sums, [(0, features - len(sums))] + [(0, 0)] * (sums.ndim - 1))
    return lax.psum_scatter(sums, axis, scatter_dimension=0, tiled=True)


def over_features(finish, sums):
    """`finish` of each of sums [F, ...]: one by one on a CPU, side by side on an accelerator."""
    return lax.platform_dependent(sums, cpu=lambda s: lax.map(finish, s), default=lambda s: jax.vmap(finish)(s))
