"""Boosting: blocks of trees as one program, on one device or with rows or features spread over a mesh.

A block is traced and called under `jax.enable_x64`; nothing of 64 bits enters or leaves it.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

from research.errors import UserError, is_known
from research.trees import approx, exact, histogram, leaves, levelwise, oblivious, sampling

CUTS = {"exact": exact.grow, "global": approx.by_global, "local": approx.by_local}  # of sorted columns


class Options(NamedTuple):
    """How an ensemble grows. Floats may be traced."""

    tree: oblivious.Options | levelwise.Options = oblivious.Options()
    rate: float = 0.03
    leaf_method: str = "gradient"  # of leaves.leaf_values
    leaf_iterations: int = 1
    hessian_score: bool = False  # Newton's score: Hessians in the place of weights, and l2 as it is
    per_output: bool = False  # a tree for each output instead of one whose leaves hold all; of levelwise trees
    row_share: float = 1.0  # rows drawn for each tree's splits
    temperature: float = 0.0  # of CatBoost's Bayesian bootstrap: weights (-log u)^temperature
    mvs: bool = False  # row_share by minimal variance sampling: rows with great gradients more often
    parallel: int = 1  # trees a round, grown on the same gradients, each with its part of the rate


class State(NamedTuple):
    """Where boosting stands: score [N, K] f32, key data, and the number of trees so far."""

    score: jax.Array
    key: jax.Array
    tree: jax.Array


class Trees(NamedTuple):
    """oblivious.Tree's arrays [T, D]; leaves [T, 2^D, K], times the rate; cover [T, 2^D], the weight of their rows;
    loss [T], the mean after each tree.

    Of levelwise trees, J a round (1, or per output K): levelwise.Tree's arrays [T, J, 2^D - 1]; leaves
    [T, J, 2^(D + 1) - 1, K / J] and cover [T, J, 2^(D + 1) - 1] of all places of the heap, 0 where no row rests; with
    hessian_score cover sums Hessians, over a tree's outputs. On sorted columns thresholds are borders, f32.

    With P trees a round all arrays but loss have P entries for each of it.
    """

    feature: jax.Array
    threshold: jax.Array
    missing_right: jax.Array
    gain: jax.Array
    leaves: jax.Array
    cover: jax.Array
    loss: jax.Array


def init(y, w, objective, key):
    """State before the first tree: scores at the objective's start, of sums of 64 bits where those are enabled."""
    wide = jax.tree.map(lambda x: x if x.dtype.kind in "biu" else jnp.asarray(x, jnp.result_type(float)), (y, w))
    start = jnp.asarray(objective.start(*wide), jnp.float32)
    return State(jnp.broadcast_to(start, (len(y), start.size)), jax.random.key_data(key), jnp.int32(0))


def boost(codes, counts, y, w, objective, options, key, num_trees, state=None, *, mesh=None, kind="rows"):
    """(State, Trees): num_trees more trees after `state`, or from the start; the same for any division into calls.

    codes [F, N] and counts [F] from `binning`, or where the tree's cuts are not given both from exact.columns; y
    [N, ...]; w [N] or None. A mesh of one axis spreads "rows" or "features" of codes; with exact sums this changes no
    bit. Raises UserError for a mesh of several axes, and for one that sorted columns should spread over.
    """
    check_mesh(mesh)
    is_sorted = isinstance(codes, exact.Columns)
    if is_sorted and mesh is not None and mesh.size > 1:
        raise UserError(f"trees on sorted columns grow on one device, not {mesh.size}: take tree_method 'hist'.")
    num_bins = 0 if is_sorted else int(max(counts)) + 1
    with jax.enable_x64(True):
        state = init(y, w, objective, key) if state is None else state
        run = compiled(objective, options, num_trees, num_bins, mesh, kind)
        return run(codes, jnp.asarray(counts, jnp.int32), y, w, state)


@functools.lru_cache(maxsize=64)
def compiled(objective, options, num_trees, num_bins, mesh, kind):
    """`block` under jit, kept for the next call."""

    def run(codes, counts, y, w, state):
        return block(codes, counts, y, w, objective, options, state, num_trees, num_bins=num_bins, mesh=mesh, kind=kind)

    return jax.jit(run)


def block(codes, counts, y, w, objective, options, state, num_trees, *, num_bins, mesh=None, kind="rows"):
    """What `boost` compiles: (State, Trees) of num_trees trees with codes below num_bins. Pure; may be vmapped."""
    num_rows = len(y)
    run = functools.partial(grow, objective=objective, options=options, num_bins=num_bins, num_rows=num_rows)
    if mesh is None or mesh.size == 1:
        return run(codes, counts, y, w, None, state, jnp.arange(num_trees))
    axis, by_rows = mesh.axis_names[0], kind == "rows"
    more_features, more_rows = -len(codes) % mesh.size, -num_rows % mesh.size if by_rows else 0
    filled = 0 if by_rows else more_features  # of rows the sums are filled up, which takes no time to make

    def longer(x):
        return jnp.pad(x, [(0, more_rows)] + [(0, 0)] * (x.ndim - 1), mode="edge")

    codes, counts = jnp.pad(codes, ((0, filled), (0, more_rows))), jnp.pad(counts, (0, more_features))
    valid = jnp.arange(num_rows + more_rows) < num_rows if more_rows else None
    rows = P(axis) if by_rows else P()
    of_state = State(rows, P(), P())
    run = jax.shard_map(
        functools.partial(run, shards=oblivious.Shards(axis, mesh.size, kind)),
        mesh=mesh,
        in_specs=(P(None, axis) if by_rows else P(axis), P(), rows, rows, rows, of_state, P()),
        out_specs=(of_state, P()),
        check_vma=False,
    )
    y, w, score = jax.tree.map(longer, (y, w, state.score))
    state, trees = run(codes, counts, y, w, valid, state._replace(score=score), jnp.arange(num_trees))
    return state._replace(score=state.score[:num_rows]), trees


def grow(codes, counts, y, w, valid, state, trees, *, objective, options, num_bins, num_rows, shards=None):
    """(State, Trees) of `trees` [T] more trees on this device's part of the rows or features; valid: no padding."""
    axis = shards.axis if shards and shards.kind == "rows" else None
    key = jax.random.wrap_key_data(state.key)
    pairs = None if isinstance(codes, exact.Columns) else histogram.pairs(codes, num_bins)

    def only_valid(x):  # [N, ...]; what padding would say may not even set the scale of a sum
        return x if valid is None else jnp.where(valid.reshape(-1, *[1] * (x.ndim - 1)), x, 0)

    real = only_valid(jnp.ones(len(y), jnp.float32) if w is None else w)
    weight = jnp.float64(num_rows) if w is None else histogram.total(real[:, None], num_rows, axis)[0]
    by_level, l2, l1 = isinstance(options.tree, levelwise.Options), options.tree.l2, 0.0
    if by_level:
        num_leaves, l1 = levelwise.places(options.tree.depth), options.tree.l1
    else:
        num_leaves, l2 = 2**options.tree.depth, (l2 * weight / num_rows).astype(jnp.float32)  # as CatBoost scales it
    check(options, by_level)
    rate = lax.optimization_barrier(jnp.float32(options.rate))  # known to XLA it would join a division, with other bits
    if options.parallel > 1:
        rate /= options.parallel

    def leaf_total(x, leaf, num_leaves):
        sums = histogram.leaf_total(only_valid(x).reshape(len(y), -1), leaf, num_leaves, num_rows, axis)
        return sums.reshape(num_leaves, *x.shape[1:]).astype(jnp.float32)

    def total_of_all(x, leaf, num_leaves):  # of rows [N] that each device has, with the bits of one device
        return histogram.leaf_total(x[:, None], leaf, num_leaves, num_rows)[:, 0].astype(jnp.float32)

    def leaf_values(score, leaf, sample):
        weight = real if sample is None else jnp.where(sample, real, 0)
        rows, sums = (score, y, w if valid is None and sample is None else weight, leaf), {"total": leaf_total}
        if options.leaf_method == "exact" and axis is not None:  # a median takes all rows
            rows, sums = jax.tree.map(lambda x: lax.all_gather(x, axis, tiled=True), rows), {"total": total_of_all}
        rest = (num_leaves, l2, options.leaf_method, options.leaf_iterations)
        return leaves.leaf_values(objective, *rows, *rest, **sums, l1=l1)

    def tree_of(g, w, sample, key, number):
        """(Tree, leaf [N]) of number `number`."""
        if isinstance(codes, exact.Columns):
            return CUTS[options.tree.cuts](codes, counts, g, w, options.tree, key, sample=sample)
        shared = {"num_bins": num_bins, "num_rows": num_rows, "sample": sample, "shards": shards, "pairs": pairs}
        if by_level:
            return levelwise.grow(codes, counts, g, w, options.tree, key, **shared)
        tree = options.tree if options.hessian_score else options.tree._replace(l2=l2)
        noise = jax.nn.sigmoid(jnp.log(num_rows) - number * options.rate)  # CatBoost's: less as the model grows
        return oblivious.grow(codes, counts, g, w, tree, key, noise=noise, **shared)

    def round_of(state, g, h, rows_key, tree_key):
        """(what is added to the scores [N, K], Trees' arrays but loss) of one tree, or one for each output."""
        weights = h if options.hessian_score else None if w is None else w[:, None]
        *seen, sample = sampling.draw(rows_key, g, weights, valid, options, num_rows, shards)
        covering = h if by_level and options.hessian_score else real[:, None]
        # Leaves of levels see the rows that were drawn, as XGBoost's and Friedman's; CatBoost's see all.
        inside = sample if by_level and not options.mvs else None

        def of_output(k):
            """(Tree, values [M, 1], their rows' cover [M], what is added [N]) of output k's own tree."""
            g_k, h_k, covering_k, *seen_k = jax.tree.map(lambda x: column(x, k), (g, h, covering, *seen))
            tree, leaf = tree_of(*seen_k, sample, jax.random.fold_in(tree_key, k), state.tree)
            scale = h_k if options.leaf_method == "newton" else real[:, None]
            if inside is not None:
                g_k, scale = (jnp.where(inside[:, None], x, 0) for x in (g_k, scale))
            sums = leaf_total(jnp.concatenate([g_k, scale, covering_k], 1), leaf, num_leaves)
            values = leaves.newton(sums[:, :1], sums[:, 1:2], l2, l1)
            values = rounded(bounded(values, sums[:, 1:2], options) * rate)
            return tree, values, sums[:, 2], values[leaf, 0]

        if options.per_output:
            tree, values, cover, added = lax.map(of_output, jnp.arange(objective.outputs))
            return added.T, (*tree, values, cover)
        tree, leaf = tree_of(*seen, sample, tree_key, state.tree)
        cover = leaf_total(covering, leaf, num_leaves)
        weights = cover if inside is None else leaf_total(jnp.where(inside[:, None], h, 0), leaf, num_leaves)
        values = rounded(bounded(leaf_values(state.score, leaf, inside), weights, options) * rate)
        found = (*tree, values, cover.sum(1))
        return values[leaf], jax.tree.map(lambda x: x[None], found) if by_level else found

    def step(state, _):
        keys = jax.random.split(jax.random.fold_in(key, state.tree))
        g, h = jax.tree.map(only_valid, objective.gradients(state.score, y, w))

        def another(added, number):
            more, found = round_of(state, g, h, *(jax.random.fold_in(k, number) for k in keys))
            return added + more, found

        if options.parallel > 1:
            added, found = lax.scan(another, jnp.zeros_like(state.score), jnp.arange(options.parallel))
        else:
            added, found = round_of(state, g, h, *keys)
        score = state.score + added
        loss = only_valid(jax.vmap(objective.loss)(score, y)) * real
        loss = histogram.total(loss[:, None], num_rows, axis)[0] / weight
        return State(score, state.key, state.tree + 1), Trees(*found, loss.astype(jnp.float32))

    state, found = lax.scan(step, state, trees)
    if options.parallel > 1:
        found = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found._replace(loss=None))._replace(loss=found.loss)
    return state, found


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


def column(x, k):
    """[N, 1]: column k of x [N, K], or the one there is."""
    return lax.dynamic_slice_in_dim(x, jnp.minimum(k, x.shape[1] - 1), 1, axis=1)


def check_mesh(mesh):
    """Raises UserError for a mesh of several axes."""
    if mesh is not None and len(mesh.axis_names) != 1:
        raise UserError(f"trees spread over a mesh of one axis, not {mesh.axis_names}: make one for them.")


def check(options, by_level):
    """Raises UserError for options that cannot be together."""
    single = options.leaf_method in ("gradient", "newton") and is_known(options.leaf_iterations)
    if options.per_output and not (by_level and single and options.leaf_iterations == 1):
        raise UserError(
            "a tree for each output (per_output) grows level by level, with leaves of one step, gradient or newton; "
            f"here are {options.leaf_iterations} steps of '{options.leaf_method}': change them."
        )
