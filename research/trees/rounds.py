"""A round of boosting on a device's part of the rows or features: its trees, their leaves, what they add to scores."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from research.errors import UserError, is_known
from research.trees import approx, exact, histogram, leaves, levelwise, oblivious, sampling

CUTS = {"exact": exact.grow, "global": approx.by_global, "local": approx.by_local}  # of sorted columns


class Part(NamedTuple):
    """What a device has of a table, what all have in common, and what no tree changes: see `part`."""

    codes: jax.Array | exact.Columns
    counts: jax.Array
    y: jax.Array
    w: jax.Array | None
    valid: jax.Array | None
    pairs: tuple | None
    real: jax.Array  # [N] weights, 0 of padding
    weight: jax.Array  # the sum of all devices' weights, f64
    l2: jax.Array | float  # of leaves
    rate: jax.Array
    objective: NamedTuple
    options: NamedTuple
    num_bins: int
    num_rows: int
    shards: oblivious.Shards | None

    @property
    def axis(self):
        """The mesh's axis over which rows are spread, or None."""
        return self.shards.axis if self.shards and self.shards.kind == "rows" else None

    @property
    def by_level(self):
        return isinstance(self.options.tree, levelwise.Options)

    @property
    def num_leaves(self):
        depth = self.options.tree.depth
        return levelwise.places(depth) if self.by_level else 2**depth

    @property
    def l1(self):
        return self.options.tree.l1 if self.by_level else 0.0


def part(codes, counts, y, w, valid, *, objective, options, num_bins, num_rows, shards=None):
    """The Part of a device; valid [N]: which rows are no padding, None where all are. Raises UserError as `check`."""
    check(options)
    pairs = None if isinstance(codes, exact.Columns) else histogram.pairs(codes, num_bins)
    rate = lax.optimization_barrier(jnp.float32(options.rate))  # known to XLA it would join a division, with other bits
    if options.parallel > 1:
        rate /= options.parallel
    shared = {"objective": objective, "options": options, "num_bins": num_bins, "num_rows": num_rows, "shards": shards}
    found = Part(codes, counts, y, w, valid, pairs, None, None, options.tree.l2, rate, **shared)
    real = only_valid(found, jnp.ones(len(y), jnp.float32) if w is None else w)
    weight = jnp.float64(num_rows) if w is None else histogram.total(real[:, None], num_rows, found.axis)[0]
    l2 = found.l2 if found.by_level else (found.l2 * weight / num_rows).astype(jnp.float32)  # as CatBoost scales it
    return found._replace(real=real, weight=weight, l2=l2)


def only_valid(part, x):
    """x [N, ...], of padding 0: what it would say may not even set the scale of a sum."""
    return x if part.valid is None else jnp.where(part.valid.reshape(-1, *[1] * (x.ndim - 1)), x, 0)


def mean_loss(part, score):
    """The mean loss [] of scores [N, K] over the rows of all devices."""
    loss = only_valid(part, jax.vmap(part.objective.loss)(score, part.y)) * part.real
    return (histogram.total(loss[:, None], part.num_rows, part.axis)[0] / part.weight).astype(jnp.float32)


def grow(part, state, g, h, rows_key, tree_key):
    """(what is added to the scores [N, K], boosting.Trees' arrays but loss) of one tree, or one for each output."""
    options, w = part.options, part.w
    weights = h if options.hessian_score else None if w is None else w[:, None]
    *seen, sample = sampling.draw(rows_key, g, weights, part.valid, options, part.num_rows, part.shards)
    covering = h if part.by_level and options.hessian_score else part.real[:, None]
    # Leaves of levels see the rows that were drawn, as XGBoost's and Friedman's; CatBoost's see all.
    inside = sample if part.by_level and not options.mvs else None
    if options.per_output:
        of_rows = g, h, covering, *seen

        def of_output(k):
            columns = jax.tree.map(lambda x: _column(x, k), of_rows)
            return _of_output(part, state, columns, sample, inside, jax.random.fold_in(tree_key, k))

        tree, values, cover, added = lax.map(of_output, jnp.arange(part.objective.outputs))
        return added.T, (*tree, values, cover)
    tree, leaf = _tree(part, *seen, sample, tree_key, state.tree)
    cover = _leaf_total(part, covering, leaf)
    weights = cover if inside is None else _leaf_total(part, jnp.where(inside[:, None], h, 0), leaf)
    values = rounded(bounded(_leaf_values(part, state.score, leaf, inside), weights, options) * part.rate)
    found = (*tree, values, cover.sum(1))
    return values[leaf], jax.tree.map(lambda x: x[None], found) if part.by_level else found


def _of_output(part, state, columns, sample, inside, key):
    """(Tree, values [M, 1], their rows' cover [M], what is added [N]) of one output's own tree."""
    g, h, covering, *seen = columns
    tree, leaf = _tree(part, *seen, sample, key, state.tree)
    scale = h if part.options.leaf_method == "newton" else part.real[:, None]
    if inside is not None:
        g, scale = (jnp.where(inside[:, None], x, 0) for x in (g, scale))
    sums = _leaf_total(part, jnp.concatenate([g, scale, covering], 1), leaf)
    values = leaves.newton(sums[:, :1], sums[:, 1:2], part.l2, part.l1)
    values = rounded(bounded(values, sums[:, 1:2], part.options) * part.rate)
    return tree, values, sums[:, 2], values[leaf, 0]


def _tree(part, g, w, sample, key, number):
    """(Tree, leaf [N]) of number `number`."""
    options = part.options
    if isinstance(part.codes, exact.Columns):
        return CUTS[options.tree.cuts](part.codes, part.counts, g, w, options.tree, key, sample=sample)
    shared = {name: getattr(part, name) for name in ("num_bins", "num_rows", "shards", "pairs")} | {"sample": sample}
    if part.by_level:
        return levelwise.grow(part.codes, part.counts, g, w, options.tree, key, **shared)
    tree = options.tree if options.hessian_score else options.tree._replace(l2=part.l2)
    noise = jax.nn.sigmoid(jnp.log(part.num_rows) - number * options.rate)  # CatBoost's: less as the model grows
    return oblivious.grow(part.codes, part.counts, g, w, tree, key, noise=noise, **shared)


def _leaf_total(part, x, leaf, num_leaves=None):
    """Sums [M, ...] of x [N, ...] over the rows of each leaf [N], on all devices."""
    num_leaves = part.num_leaves if num_leaves is None else num_leaves
    sums = only_valid(part, x).reshape(len(part.y), -1)
    sums = histogram.leaf_total(sums, leaf, num_leaves, part.num_rows, part.axis)
    return sums.reshape(num_leaves, *x.shape[1:]).astype(jnp.float32)


def _leaf_values(part, score, leaf, sample):
    """Values [M, K] of leaves, of the rows that are drawn: sample [N], or None of all."""

    def total(x, leaf, num_leaves):
        return _leaf_total(part, x, leaf, num_leaves)

    def total_of_all(x, leaf, num_leaves):  # of rows [N] that each device has, with the bits of one device
        return histogram.leaf_total(x[:, None], leaf, num_leaves, part.num_rows)[:, 0].astype(jnp.float32)

    options, weight = part.options, part.real if sample is None else jnp.where(sample, part.real, 0)
    rows = score, part.y, part.w if part.valid is None and sample is None else weight, leaf
    if options.leaf_method == "exact" and part.axis is not None:  # a median takes all rows
        rows, total = jax.tree.map(lambda x: lax.all_gather(x, part.axis, tiled=True), rows), total_of_all
    how = part.num_leaves, part.l2, options.leaf_method, options.leaf_iterations
    return leaves.leaf_values(part.objective, *rows, *how, total=total, l1=part.l1)


def bounded(values, weights, options):
    """Values [M, k] of leaves by XGBoost's bounds: 0 of an output whose weights [M, k], sums of Hessians, are below
    least_weight, as a root's or one of several outputs' may be, and most_step at most. Of other trees all values."""
    by_hessians = isinstance(options.tree, levelwise.Options) and options.hessian_score
    if not by_hessians or options.leaf_method == "exact":
        return values
    values = jnp.where(weights >= options.tree.least_weight, values, 0)
    most = options.tree.most_step
    return values if oblivious.off(most, 0) else jnp.clip(values, -most, most)


def rounded(x):
    """x, once more a float32: else a CPU may round x and a sum with it only once, in one program and not in another."""
    return jnp.clip(x, -jnp.finfo(x.dtype).max, jnp.finfo(x.dtype).max)


def _column(x, k):
    """[N, 1]: column k of x [N, K], or the one there is."""
    return lax.dynamic_slice_in_dim(x, jnp.minimum(k, x.shape[1] - 1), 1, axis=1)


def check(options):
    """Raises UserError for options that cannot be together."""
    single = options.leaf_method in ("gradient", "newton") and is_known(options.leaf_iterations)
    by_level = isinstance(options.tree, levelwise.Options)
    if options.per_output and not (by_level and single and options.leaf_iterations == 1):
        raise UserError(
            "a tree for each output (per_output) grows level by level, with leaves of one step, gradient or newton; "
            f"here are {options.leaf_iterations} steps of '{options.leaf_method}': change them."
        )
