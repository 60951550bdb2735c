"""Boosted oblivious trees, and how codes walk them; see prediction.py and explain.py. Entry point: `collect`.

A leaf is found by bit index: bit d is the answer to question d.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.trees import binning

COMPARED = 32  # borders that one pass compares a column with
ABOVE = 2**31 - 1  # the place of no number
OF_TREES = ("feature", "threshold", "missing_right", "gain", "leaves", "cover")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ensemble:
    """T oblivious trees of depth D over F features with K outputs, and the borders their thresholds count."""

    feature: jax.Array  # [T, D] int32
    threshold: jax.Array  # [T, D] int32: a row answers 1 where its code is above it
    missing_right: jax.Array  # [T, D] bool, read where missing is "learn"
    gain: jax.Array | None  # [T, D] f32; None where not known, as of an imported model
    leaves: jax.Array  # [T, 2^D, K] f32
    cover: jax.Array | None  # [T, 2^D] f32, weight of the rows in a leaf; None where not known
    start: jax.Array  # [K] f32, added to the sum of the trees
    borders: jax.Array  # [F, B] f32, those of a feature filled up with +inf
    counts: jax.Array  # [F] int32, how many of them are a feature's own
    side: str = dataclasses.field(metadata={"static": True})  # this and the next as in binning.Borders
    missing: str = dataclasses.field(metadata={"static": True})
    objective: str = dataclasses.field(metadata={"static": True})
    names: tuple | None = dataclasses.field(metadata={"static": True})  # of the features

    @property
    def columns(self):
        """How many features a row has."""
        return self.counts.shape[-1]

    @property
    def loss_name(self):
        """The objective's name without its options."""
        return self.objective.partition(":")[0]


def collect(trees, borders, start, objective):
    """The Ensemble of trees (as boosting.Trees), the binning.Borders they count, start [K] and the objective's name."""
    of_trees = (getattr(trees, name) for name in OF_TREES)
    rest = (jnp.asarray(start, jnp.float32), jnp.asarray(borders.table), jnp.asarray(borders.counts))
    return Ensemble(*of_trees, *rest, borders.side, borders.missing, objective, borders.names)


def objective_of(loss_name, outputs):
    """The objective of an imported model, with the number of its outputs where the loss takes one."""
    counted = {"softmax": "classes", "multi_squared": "outputs"}
    return f"{loss_name}:{counted[loss_name]}={outputs}" if loss_name in counted else loss_name


def borders_of(ensemble):
    """The binning.Borders of an ensemble."""
    values = tuple(np.asarray(v)[:n] for v, n in zip(ensemble.borders, np.asarray(ensemble.counts)))
    has = tuple(bool(np.isinf(v).any()) for v in values)
    return binning.Borders(values, ensemble.side, ensemble.missing, has, ensemble.names)


def encode(ensemble, x):
    """Codes [F, N] of x [N, F], as `binning.apply` makes them; jits. A few borders at a time, by comparing with all."""
    num_borders = ensemble.borders.shape[1]
    own = jnp.arange(num_borders) < ensemble.counts[:, None]
    borders = jnp.where(own, ordered(ensemble.borders), ABOVE)
    borders = jnp.pad(borders, ((0, 0), (0, -num_borders % COMPARED)), constant_values=ABOVE)
    dtype = jnp.uint8 if num_borders <= 255 else jnp.uint16

    def column(_, feature):
        x, borders, count = feature
        absent = jnp.isnan(x)
        place = jnp.where(absent, -ABOVE, ordered(x))

        def compare(code, borders):
            for border in borders:
                code += (place > border if ensemble.side == "left" else place >= border).astype(dtype)
            return code, None

        code, _ = lax.scan(compare, jnp.zeros(x.shape, dtype), borders.reshape(-1, COMPARED))
        if ensemble.missing in ("max", "learn"):
            last = count if ensemble.missing == "max" else num_borders
            code = jnp.where(absent, jnp.asarray(last, dtype), code)
        return None, code

    return lax.scan(column, None, (x.astype(jnp.float32).T, borders, ensemble.counts))[1]


def ordered(x):
    """int32 in the order of float32 x, since devices take its least numbers for 0. -0 is 0."""
    bits = lax.bitcast_convert_type(x, jnp.int32)
    bits = jnp.where(bits == jnp.iinfo(jnp.int32).min, 0, bits)
    return bits ^ (bits >> 31 & jnp.iinfo(jnp.int32).max)


def prepared(ensemble):
    """What `walk` reads, arrays [T, ...]."""
    return ensemble.feature, ensemble.threshold, ensemble.missing_right, ensemble.leaves


def walk(ensemble, tree, codes):
    """[R, K] that a tree, one of `prepared`, adds to rows with codes [F, R]."""
    feature, threshold, missing_right, leaves = tree
    depth, threshold = len(feature), threshold.astype(codes.dtype)
    leaf = jnp.zeros(codes.shape[1], jnp.uint8 if depth <= 8 else jnp.int32)
    for d in range(depth):
        code = lax.dynamic_index_in_dim(codes, feature[d], keepdims=False)
        right = code > threshold[d]
        if ensemble.missing == "learn":
            right &= (code < ensemble.borders.shape[1]) | missing_right[d]
        leaf += jnp.where(right, leaf.dtype.type(1 << d), leaf.dtype.type(0))
    return leaves.at[leaf.astype(jnp.int32)].get(mode="promise_in_bounds")
