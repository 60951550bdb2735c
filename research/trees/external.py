"""Boosting trees on tables larger than memory: codes of rows lie on disk, and a tree takes a pass over them a level.

Entry points: `fit`, `parquet`. Sums over rows are whole numbers, added block by block, so the trees are those of
`fitting.fit`, and no bit depends on how rows are cut into blocks. In memory stay, of each row, its score (4 bytes an
output), target, place in the tree and, if there are, weight: 12 or 16 bytes.
"""

import functools
import hashlib
import pathlib
import uuid
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.atomic import replacing
from research.errors import UserError
from research.trees import binning, blocks, boosting, fitting, forest, histogram, leaves, levelwise, oblivious
from research.trees.options import dart_of, kind_of, options_of

ROWS = 65536  # of a block on disk
PARTS = ("feature", "threshold", "missing_right", "gain", "leaves", "cover")


class Task(NamedTuple):
    """What stays as it is, and is known when a pass is compiled."""

    objective: object
    options: boosting.Options
    num_bins: int
    num_rows: int


class Tops(NamedTuple):
    """The greatest sizes over all rows, which set the unit of sums: of what splits see, of leaves, and of covers."""

    g: jax.Array
    w: jax.Array | None
    leaf: jax.Array
    cover: jax.Array


def parquet(paths, target, weight=None):
    """What `fit` reads: the rows of Parquet files, `target` and `weight` the names of columns."""
    names = [name for name in blocks.names_of(paths, weight=weight) if name != target]

    def read():
        for block in blocks.read(paths, (*names, target), weight):
            yield block.x[:, :-1], block.x[:, -1], *([] if weight is None else [block.weight])

    return read


def fit(read, config, folder, *, key=None, rows=ROWS):
    """The Forest of config.num_trees trees grown level by level, as `fitting.fit` grows them.

    read() gives an iterator of blocks (x [n, F], y [n]) or (x, y, weights [n]), twice the same: such as
    `lambda: libsvm.blocks(path)`. folder: where the codes go, a byte a value, and every config.block trees what has
    grown so far, from which the same call goes on after an interruption. rows: of a block on disk.
    Raises UserError for options that need all rows at once, and for blocks that cannot be a table or differ later.
    """
    objective, options = fitting.objective_of(config), options_of(config)
    _check(config, options, objective)
    borders, y, w = _summary(read, config, objective)
    folder = pathlib.Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    digest = _write(read, borders, folder / "codes", len(y), rows)
    key = jax.random.key_data(jax.random.key(0) if key is None else key)
    name, again = config.objective, ""
    if not isinstance(name, str):  # one's own, which another process cannot know again
        name, again = objective.name, uuid.uuid4().hex
    for part in (y, w, key, borders.table, borders.side, borders.missing, options, name, again):
        digest.update(repr(part).encode() if isinstance(part, (str, tuple)) or part is None else np.asarray(part))
    with jax.enable_x64(True):
        start = np.asarray(boosting.init(y, w, objective, key=jax.random.wrap_key_data(key)).score[0])
        trees, score = _kept(folder / "trees.npz", digest.hexdigest(), np.tile(start, (len(y), 1)))
        task = Task(objective, options, borders.bins, len(y))
        table = functools.partial(_blocks, folder / "codes", borders, rows, *jax.tree.map(np.asarray, (y, w)))
        while len(trees) < config.num_trees:
            tree, node = _grow(task, table, score, borders.counts, jax.random.wrap_key_data(key), len(trees))
            score += tree[4][node]
            trees.append(tree)
            if len(trees) % config.block == 0 or len(trees) == config.num_trees:
                _keep(folder / "trees.npz", digest.hexdigest(), trees, score)
    parts = (jnp.asarray(np.stack(part))[:, None] for part in zip(*trees[: config.num_trees]))
    return forest.collect(boosting.Trees(*parts, None), borders, start, name)


def _check(config, options, objective):
    if kind_of(config) is not forest or options.tree.cuts != "given" or dart_of(config) or options.parallel > 1:
        raise UserError("trees on a table that is on disk are 'gbdt' of tree_method 'hist', one a round, without dart.")
    if options.per_output and objective.outputs > 1:
        raise UserError("trees on a table that is on disk have leaves of all outputs: set one_output_per_tree=False.")
    if options.leaf_method not in ("gradient", "newton") or options.leaf_iterations > 1 or options.mvs:
        raise UserError("on a table that is on disk leaves take one step, gradient or newton, and mvs is off.")
    if config.early_stopping:
        raise UserError("early_stopping needs an eval_set, which trees on a table that is on disk do not watch: set 0.")


def _summary(read, config, objective):
    """(Borders, y [N], weights [N] or None) of all blocks."""
    y, w = [], []

    def parts():
        for x, target, *weight in read():
            y.append(np.asarray(target))
            w.extend(weight)
            yield (x, weight[0]) if weight else x

    if isinstance(config.borders, str):
        borders = binning.find(parts(), config.borders, config.border_count, missing=config.missing)
    else:
        borders = binning.given(config.borders, missing=config.missing)
        for _ in parts():
            pass
    if not y or len(w) not in (0, len(y)):
        raise UserError("read() gives no blocks, or weights with some alone: give (x, y) or (x, y, weights) each time.")
    y = fitting.targets(np.concatenate(y), objective)
    return borders, y, fitting.weights(np.concatenate(w), y, objective) if w else None


def _write(read, borders, path, num_rows, size):
    """Writes codes [F, size] block by block, the last one filled up with what is there; gives their hash."""
    digest, start = hashlib.sha256(), 0
    buffer = np.zeros((len(borders.values), size), np.uint8 if borders.bins <= 256 else np.uint16)
    with replacing(path) as file:
        for x, *_ in read():
            codes = binning.apply(borders, x)
            while codes.shape[1]:
                at = start % size
                part, codes = codes[:, : size - at], codes[:, size - at :]
                buffer[:, at : at + part.shape[1]] = part
                start += part.shape[1]
                if start % size == 0 or (start == num_rows and not codes.shape[1]):
                    file.write(buffer)
                    digest.update(buffer)
    if start != num_rows:
        raise UserError(
            f"read() gave {num_rows} rows the first time and {start} then; it must give the same each time."
        )
    return digest


def _blocks(path, borders, size, y, w, *arrays, codes=True):
    """Yields (where [slice], codes [F, size] or None, valid [size], y, w, rows of each array) of the blocks."""
    shape, dtype = (len(borders.values), size), np.uint8 if borders.bins <= 256 else np.uint16
    for i in range(-(-len(y) // size)):
        where = slice(i * size, min((i + 1) * size, len(y)))
        more, at = size - where.stop + where.start, i * shape[0] * size * dtype().itemsize
        read = np.fromfile(path, dtype, shape[0] * size, offset=at).reshape(shape) if codes else None
        rows = (
            None if x is None else np.concatenate([x[where], np.zeros_like(x, shape=(more, *x.shape[1:]))])
            for x in (y, w, *arrays)
        )
        yield where, read, np.arange(size) < size - more, *rows


def _grow(task, table, score, counts, key, number):
    """((PARTS of one tree), node [N] where each row rests)."""
    options = task.options
    rows_key, tree_key = jax.random.split(jax.random.fold_in(key, number))
    drawn_key, *level_keys = jax.random.split(tree_key, 1 + options.tree.depth)
    features = oblivious.drawn(drawn_key, jnp.asarray(counts) > 0, options.tree.tree_features)
    sample = None
    if not oblivious.off(options.row_share, 1):
        sample = np.asarray(jax.random.uniform(rows_key, (task.num_rows,), jnp.float32) < options.row_share)
    tops = [_tops(task, rows) for _, _, *rows in table(score, sample, codes=False)]
    tops = jax.tree.map(lambda *parts: functools.reduce(jnp.maximum, parts), *tops)
    if not all(bool(jnp.isfinite(top).all()) for top in jax.tree.leaves(tops)):
        within = f"the loss is not finite in float32 within {number} trees"
        raise UserError(f"{within}; lower learning_rate, or scale y or the weights down.")
    node, levels, asked = np.zeros(task.num_rows, np.int32), [], None

    def over_rows(step):
        """Sums over all blocks; node becomes the place that the questions of the last level lead to."""
        sums = 0
        for where, codes, *rows, place in table(score, sample, node):
            more, place = step(codes, rows, place, tops, asked)
            node[where], sums = place[: where.stop - where.start], sums + more
        return sums

    for depth, level_key in enumerate(level_keys):
        sums = over_rows(functools.partial(_level, task, depth))
        asked, tree = _questions(task, sums, features, level_key, tops)
        levels.append(tree)
    sums = over_rows(functools.partial(_leaves, task))
    tree = jax.tree.map(lambda *parts: jnp.concatenate(parts), *levels)
    return tuple(np.asarray(part) for part in (*tree, *_values(task, sums, tops))), node


def _seen(task, valid, y, w, score, sample):
    """(g [n, K], weights or Hessians or None, [g, scale] of leaves, cover [n, 1], which rows count) of rows."""
    options = task.options
    g, h = jax.tree.map(lambda x: jnp.where(valid[:, None], x, 0), task.objective.gradients(score, y, w))
    real = jnp.where(valid, 1 if w is None else w, 0).astype(jnp.float32)[:, None]
    inside = valid if sample is None else valid & sample
    scale = h if options.leaf_method == "newton" else real
    leaf = jnp.where(inside[:, None], jnp.concatenate([g, scale], 1), 0)
    weights = h if options.hessian_score else None if w is None else real
    return g, weights, leaf, (h if options.hessian_score else real).sum(1)[:, None], inside


@functools.partial(jax.jit, static_argnums=0)
def _tops(task, rows):
    return Tops(*(None if x is None else jnp.max(jnp.abs(x), axis=0) for x in _seen(task, *rows)[:4]))


def _packed(task, g, w, inside, tops):
    """levelwise.pack of rows, in the unit of all: behind them is a row of the greatest sizes, which adds nothing."""
    g, w = (None if x is None else jnp.concatenate([x, top[None]]) for x, top in ((g, tops.g), (w, tops.w)))
    inside = jnp.append(inside, False)
    packed, counted = levelwise.pack(g, w, task.options.tree, inside, num_rows=task.num_rows, axis=None)
    return packed._replace(words=packed.words[:-1]), counted


@functools.partial(jax.jit, static_argnums=(0, 1))
def _level(task, depth, codes, rows, node, tops, asked):
    """(sums [F, B, 2^depth, C] of the words of these rows, the nodes [n] that the level above leads them to)."""
    g, w, _, _, inside = _seen(task, *rows)
    packed, _ = _packed(task, g, w, inside, tops)
    node = _moved(task, codes, node, asked)
    first = 2**depth - 1
    now = packed._replace(words=jnp.where((node >= first)[:, None], packed.words, 0))
    return histogram.each(codes, jnp.maximum(node - first, 0), now, task.num_bins, 2**depth), node


def _moved(task, codes, node, asked):
    if asked is None:
        return node
    first, splits, feature, threshold, missing_right = asked
    here = jnp.maximum(node - first, 0)
    code = codes[feature[here], jnp.arange(len(node))]
    right = code > threshold[here]
    if task.options.tree.learn_missing:
        right = jnp.where(code == task.num_bins - 1, missing_right[here], right)
    return jnp.where((node >= first) & splits[here], 2 * node + 1 + right, node)


@functools.partial(jax.jit, static_argnums=0)
def _questions(task, sums, features, key, tops):
    """(what `_moved` asks, levelwise.Tree) of the nodes of a level, of the sums of all rows."""
    tree, nodes = task.options.tree, sums.shape[2]
    nothing = None if tops.w is None else tops.w[None]
    packed, counted = _packed(task, tops.g[None], nothing, jnp.zeros(1, bool), tops)
    found = histogram.over_features(lambda s: levelwise.best(packed, s, tree, counted), sums)
    mask = levelwise.drawn_of_nodes(key, features, tree, nodes)
    gain, number, feature = levelwise.choose(jnp.where(mask, found[..., 0], -jnp.inf), found[..., 1], 0, None)
    splits, question = gain >= tree.least_gain, levelwise.question(number, task.num_bins)
    made = levelwise.Tree(feature, *question, gain.astype(jnp.float32))
    kept = jax.tree.map(lambda x, none: jnp.where(splits, x, none), made, levelwise.Tree(-1, 0, False, 0))
    return (nodes - 1, splits, feature, *question), kept


@functools.partial(jax.jit, static_argnums=0)
def _leaves(task, codes, rows, node, tops, asked):
    """(sums [M, C] of the whole numbers of leaves and covers, the nodes [n] where rows rest)."""
    *_, leaf, cover, _ = _seen(task, *rows)
    node = _moved(task, codes, node, asked)
    whole, _ = _fixed(task, jnp.concatenate([leaf, cover], 1), tops)
    return jax.ops.segment_sum(whole, node, levelwise.places(task.options.tree.depth)), node


def _fixed(task, x, tops):
    top = jnp.concatenate([tops.leaf, tops.cover])
    whole, unit = histogram.fixed(jnp.concatenate([x, top[None]]), task.num_rows, 61)
    return whole[:-1], unit


@functools.partial(jax.jit, static_argnums=0)
def _values(task, sums, tops):
    """(values [M, K] of leaves, times the rate, cover [M])."""
    tree, k = task.options.tree, len(tops.g)
    sums = (sums * _fixed(task, jnp.zeros((0, sums.shape[1]), jnp.float32), tops)[1]).astype(jnp.float32)
    rate = lax.optimization_barrier(jnp.float32(task.options.rate))
    values = leaves.newton(sums[:, :k], sums[:, k:-1], tree.l2, tree.l1)
    return boosting.bounded(values, sums[:, k:-1], task.options) * rate, sums[:, -1]


def _keep(path, digest, trees, score):
    arrays = dict(zip(PARTS, map(np.stack, zip(*trees))))
    with replacing(path) as file:
        np.savez(file, digest=digest, score=score, **arrays)


def _kept(path, digest, score):
    """(trees, score) that the file holds if it is of the same digest, or none and `score`."""
    if not path.exists():
        return [], score
    with np.load(path) as file:
        if str(file["digest"]) != digest:
            return [], score
        return list(zip(*(file[name] for name in PARTS))), file["score"]
