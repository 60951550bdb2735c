"""Boosting trees on tables larger than memory: codes of rows lie on disk, and a tree takes a pass over them a level.

Entry points: `fit` of a table of numbers, `fit_codes` of one that was binned before, also by several processes, each
with its rows; `parquet`. Sums over rows are whole numbers, added block by block, so the trees are those of
`fitting.fit`, and no bit depends on how rows are cut into blocks or dealt out to processes. In memory stay, of each own
row, its score (4 bytes an output), target, place in the tree and, if there are, weight and draw: 12 to 20 bytes, and at
the start, whose sums are of float64, some 30.
"""

import functools
import hashlib
import pathlib
import uuid

import jax
import jax.numpy as jnp
import numpy as np

from research.atomic import replacing
from research.errors import UserError
from research.trees import binning, blocks, boosting, fitting, forest, oblivious, passes, processes, streamed
from research.trees.options import dart_of, kind_of, options_of

ROWS = 65536  # of a block
PARTS = ("feature", "threshold", "missing_right", "gain", "leaves", "cover")


def parquet(paths, target, weight=None):
    """What `fit` reads: the rows of Parquet files, `target` and `weight` the names of columns."""
    names = [name for name in blocks.names_of(paths, weight=weight) if name != target]

    def read():
        for block in blocks.read(paths, (*names, target), weight):
            yield block.x[:, :-1], block.x[:, -1], *([] if weight is None else [block.weight])

    return read


def fit(read, config, folder, *, key=None, rows=ROWS):
    """The Ensemble or Forest of config.num_trees trees, as `fitting.fit` grows them; one process.

    read() gives an iterator of blocks (x [n, F], y [n]) or (x, y, weights [n]), twice the same: such as
    `lambda: libsvm.blocks(path)`. folder: where the codes go, a byte a value, and every config.block trees what has
    grown so far, from which the same call goes on after an interruption. rows: of a block on disk.
    Raises UserError for options that need all rows at once, and for blocks that cannot be a table or differ later.
    """
    _check(config)
    if jax.process_count() > 1:
        raise UserError("several processes share a table that was binned before: give each its codes by fit_codes.")
    borders, y, w = _summary(read, config)
    path, digest, num_rows = _folder(folder) / "codes", hashlib.sha256(), sum(map(len, y))
    with replacing(path) as file:
        for codes in _cut((binning.apply(borders, x) for x, *_ in read()), rows, num_rows):
            file.write(codes)
            digest.update(codes)
    stored = functools.partial(_stored, path, borders, rows, num_rows)
    return _boost(stored, borders, y, w, config, folder, digest, key, rows)


def fit_codes(read, borders, config, folder, *, name, key=None, rows=ROWS):
    """`fit` of a table that was binned before, which is read anew for each level, and not written a second time.

    read() gives an iterator of blocks (codes [F, n], y [n]) or (codes, y, weights [n]), the same each time, with codes
    of the binning.Borders: those of config are not read. Of several processes each gives its own rows; rows count in
    the order of processes, and all share `folder`. name: a text that tells this table from others, such as a hash.
    Raises UserError as `fit`, and for codes that cannot be of the borders.
    """
    _check(config)
    shape, y, w = (len(borders.values), borders.bins), [], []
    for codes, target, *weight in read():
        if len(codes) != shape[0] or codes.max(initial=0) >= shape[1]:
            raise UserError(
                f"there are codes of {len(codes)} columns up to {codes.max(initial=0)}; the borders are of {shape[0]} "
                f"columns, with codes below {shape[1]}."
            )
        y.append(_narrow(target))
        w.extend(weight)
    num_rows = sum(map(len, y))

    def codes():
        return _cut((part[0] for part in read()), rows, num_rows)

    return _boost(codes, borders, y, w, config, folder, hashlib.sha256(name.encode()), key, rows)


def _check(config):
    options = options_of(config)
    tree, outputs = options.tree, fitting.objective_of(config).outputs
    if (
        config.name not in ("gbdt", "gbdt_oblivious")
        or getattr(tree, "cuts", "given") != "given"
        or dart_of(config)
        or options.parallel > 1
    ):
        raise UserError(
            "trees on a table that is on disk are 'gbdt_oblivious', or 'gbdt' of tree_method 'hist', one a round, "
            "without dart."
        )
    if options.per_output and outputs > 1:
        raise UserError("trees on a table that is on disk have leaves of all outputs: set one_output_per_tree=False.")
    if options.leaf_method not in ("gradient", "newton") or options.leaf_iterations > 1 or options.mvs:
        raise UserError("on a table that is on disk leaves take one step, gradient or newton, and mvs is off.")
    if config.early_stopping:
        raise UserError("early_stopping needs an eval_set, which trees on a table that is on disk do not watch: set 0.")


def _folder(folder):
    folder = pathlib.Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _summary(read, config):
    """(Borders, y, weights) of all blocks, the latter two as lists of those of a block."""
    y, w = [], []

    def parts():
        for x, target, *weight in read():
            y.append(_narrow(target))
            w.extend(weight)
            yield (x, weight[0]) if weight else x

    if isinstance(config.borders, str):
        borders = binning.find(parts(), config.borders, config.border_count, missing=config.missing)
    else:
        borders = binning.given(config.borders, missing=config.missing)
        for _ in parts():
            pass
    return borders, y, w


def _narrow(target):
    """Targets as the loss takes them; what float32 cannot hold is infinite, which `fitting.targets` names."""
    target = np.asarray(target)
    with np.errstate(over="ignore"):
        return target.astype(np.float32) if target.dtype.kind == "f" else target


def _whole(y, w, objective):
    """(targets, weights or None, which rows are this process's) of all processes' rows, of lists, which are emptied."""
    if not y or len(w) not in (0, len(y)):
        raise UserError("read() gives no blocks, or weights with some alone: give (x, y) or (x, y, weights) each time.")
    size, every = sum(map(len, y)), []
    for parts in (y, w):
        every.append(processes.rows(np.concatenate(parts)) if parts else None)
        parts.clear()
    first = int(processes.rows(np.array([size]))[: jax.process_index()].sum())
    y = fitting.targets(every[0], objective)
    return y, None if every[1] is None else fitting.weights(every[1], y, objective), slice(first, first + size)


def _cut(parts, size, num_rows):
    """Blocks [F, size] of codes [F, n], the last one filled up. Raises UserError if they are not num_rows in all."""
    start, block = 0, None
    for codes in parts:
        while codes.shape[1]:
            at = start % size
            block = np.zeros((len(codes), size), codes.dtype) if at == 0 else block  # the one before may be in use
            part, codes = codes[:, : size - at], codes[:, size - at :]
            block[:, at : at + part.shape[1]] = part
            start += part.shape[1]
            if start % size == 0 and start <= num_rows:
                yield block
    if start != num_rows:
        raise UserError(
            f"read() gave {num_rows} rows the first time and {start} then; it must give the same each time."
        )
    if start % size:
        yield block


def _stored(path, borders, size, num_rows):
    """The blocks that a file holds."""
    shape, dtype = (len(borders.values), size), np.uint8 if borders.bins <= 256 else np.uint16
    with open(path, "rb") as file:
        for _ in range(0, num_rows, size):
            yield np.fromfile(file, dtype, shape[0] * size).reshape(shape)


def _boost(codes, borders, y, w, config, folder, digest, key, rows):
    """The trees on codes, y and w of this process, the last two lists, which it empties; on from those in folder."""
    objective, options, kind = fitting.objective_of(config), options_of(config), kind_of(config)
    options = options._replace(tree=options.tree._replace(learn_missing=borders.missing == "learn"))
    key = jax.random.key_data(jax.random.key(0) if key is None else key)
    folder, name, again = _folder(folder), config.objective, ""
    if not isinstance(name, str):  # one's own, which another process cannot know again
        name, again = objective.name, uuid.uuid4().hex
    with jax.enable_x64(True):
        y, w, own = _whole(y, w, objective)
        for part in (y, w, key, borders.table, borders.side, borders.missing, options, name, again):
            digest.update(repr(part).encode() if isinstance(part, (str, tuple)) or part is None else np.asarray(part))
        task = passes.Task(objective, options, borders.bins, len(y))
        start, l2 = boosting.init(y, w, objective, jax.random.wrap_key_data(key)).score[0], passes.l2_of(task, w)
        table = streamed.Table(codes, *jax.tree.map(lambda x: np.asarray(x)[own], (y, w)), rows, borders.counts, l2)
        score = np.tile(start, (len(table.y), 1))
        trees = _kept(folder / "trees.npz", digest.hexdigest())[: config.num_trees]
        processes.check_same(len(trees), f"the processes find other numbers of trees in {folder}")
        if 0 < len(trees) < config.num_trees:
            _add(task, table, trees, score)
        while len(trees) < config.num_trees:
            tree, node = streamed.grow(task, table, score, own, jax.random.wrap_key_data(key), len(trees))
            score += tree[4][node]
            trees.append(tree)
            if (len(trees) % config.block == 0 or len(trees) == config.num_trees) and jax.process_index() == 0:
                _keep(folder / "trees.npz", digest.hexdigest(), trees)
    parts = [jnp.asarray(np.stack(part)) for part in zip(*trees)]
    parts = [part[:, None] for part in parts] if kind is forest else parts
    return kind.collect(boosting.Trees(*parts, None), borders, np.asarray(start), name)


def _add(task, table, trees, score):
    """Adds what trees give the rows to their score [n, K], with the bits of one tree after the other."""
    parts = [np.stack(part) for part in zip(*trees)]
    for where, codes, *_, now in streamed.over(table, score):
        more = passes.walked(task, codes, oblivious.Tree(*parts[:4]), parts[4], now)
        score[where] = more[: where.stop - where.start]


def _keep(path, digest, trees):
    with replacing(path) as file:
        np.savez(file, digest=digest, **dict(zip(PARTS, map(np.stack, zip(*trees)))))


def _kept(path, digest):
    """The trees that the file holds, if it is of the same digest."""
    if not path.exists():
        return []
    with np.load(path) as file:
        return list(zip(*(file[name] for name in PARTS))) if str(file["digest"]) == digest else []
