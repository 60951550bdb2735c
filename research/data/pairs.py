"""Pairs of ends that are trained on: an example and one of another data set, or noise and what a model made of it."""

import functools
import json
import pathlib
import threading
import zipfile

import numpy as np

from research.data import lanes
from research.data.source import Source
from research.errors import UserError

CACHE = 4 * lanes.MEMORY  # bytes of open shards: a window of rows ends inside of two, and one thread is ahead
HELD_OUT = 2048  # pairs at most, a tenth of them
IN_MEMORY = 2**31  # bytes; of more than that, shards are read when rows of them are asked for


def with_source(dataset, other, config):
    """`dataset` whose examples bring one of `other` each, as "source". Raises UserError where the two do not fit."""
    if (other.shape, other.levels) != (dataset.shape, dataset.levels):
        raise UserError(
            f"data.source '{config.source}' has examples of shape {other.shape} and {other.levels} levels, data.name "
            f"'{config.name}' of shape {dataset.shape} and {dataset.levels}: choose sets of one kind."
        )

    def join(ours, theirs):
        def gather(indices):
            return ours.gather(indices) | {"source": theirs.gather(indices % theirs.size)["x"]}

        return ours._replace(gather=gather, grown=None)

    joined = join(dataset.train, other.train), join(dataset.test, other.test)
    return dataset._replace(train=joined[0], test=joined[1], source=(other.train, other.test))


def load(folder, shape):
    """Sources (train, held out) of the pairs that launch.reflow left in `folder`; of many, shards are read when needed.

    A batch has "x" and "noise" [B, ...] (or "partner", its example of the other set), and "condition" [B] where they
    were drawn so. Raises UserError where shards are missing or damaged, when read, or of another shape.
    """
    folder = pathlib.Path(folder).expanduser()
    try:
        identity = json.loads((folder / "identity.json").read_text())
        count, rows = identity["num_samples"], identity["batch"]
    except (OSError, ValueError, KeyError):
        raise UserError(f"data.pairs: {folder} holds no pairs; draw them by launch.reflow.") from None
    first, number = _read(folder, 0), -(-count // rows)
    if first["x"].shape[1:] != tuple(shape):
        raise UserError(f"data.pairs: those in {folder} have shape {first['x'].shape[1:]}, the data {tuple(shape)}.")
    held, row_bytes = min(HELD_OUT, -(-count // 10)), sum(a[0].nbytes for a in first.values())
    parts = range(count - held), range(count - held, count)
    if count * row_bytes > IN_MEMORY:
        return tuple(_on_disk(folder, rows, row_bytes, part) for part in parts)
    shards = [first, *(_read(folder, i) for i in range(1, number))]
    arrays = {name: np.concatenate([shard[name] for shard in shards]) for name in first}
    return tuple(_in_memory({name: a[part.start : part.stop] for name, a in arrays.items()}) for part in parts)


def _in_memory(arrays):
    return Source(len(arrays["x"]), lambda indices: {name: a[indices] for name, a in arrays.items()})


def _on_disk(folder, rows, row_bytes, part):
    """The Source of the pairs of a range, of which a few shards of `rows` are open: an epoch reads each about once."""
    limit = max(min(CACHE // (rows * row_bytes), 4 * lanes.OPEN), 4)
    shard, lock = functools.lru_cache(limit)(functools.partial(_read, folder)), threading.Lock()
    groups = np.diff([*range(0, len(part), rows), len(part)])

    def gather(indices):
        which, row = np.divmod(indices + part.start, rows)
        found = {}
        for i in np.unique(which).tolist():
            with lock:  # two threads that miss the same shard would read it twice
                arrays = shard(i)
            here = which == i
            for name, a in arrays.items():
                found.setdefault(name, np.empty((len(indices), *a.shape[1:]), a.dtype))[here] = a[row[here]]
        return found

    return Source(len(part), gather, functools.partial(lanes.permutation, groups, row_bytes))


def _read(folder, i):
    """{name: [n, ...]} of a shard. An example of another set is the partner of its x; a "source" goes with any x."""
    try:
        with (folder / f"{i:05}.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != "nfe"}
        if "condition" in arrays:
            arrays["condition"] = arrays["condition"].astype(np.int32)
        return {"partner" if name == "source" else name: a for name, a in arrays.items()}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        raise UserError(
            f"data.pairs: shard {i} of {folder} is missing or damaged; the command that drew them mends it."
        ) from None
