"""Pairs of ends that are trained on: an example and one of another data set, or noise and what a model made of it."""

import itertools
import json
import pathlib
import zipfile

import numpy as np

from research.data.source import Source, from_arrays
from research.errors import UserError

HELD_OUT = 2048  # pairs at most, a tenth of them


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
    """Sources (train, held out) of the pairs that launch.reflow left in `folder`, read into memory.

    A batch has "x" and "noise" [B, ...] (or "partner", its example of the other set), and "condition" [B] where they
    were drawn so. Raises UserError where shards are missing or damaged, or of another shape.
    """
    folder = pathlib.Path(folder).expanduser()
    try:
        count = json.loads((folder / "identity.json").read_text())["num_samples"]
    except (OSError, ValueError, KeyError):
        raise UserError(f"data.pairs: {folder} holds no pairs; draw them by launch.reflow.") from None
    arrays = _join(folder, count)
    if arrays["x"].shape[1:] != tuple(shape):
        raise UserError(f"data.pairs: those in {folder} have shape {arrays['x'].shape[1:]}, the data {tuple(shape)}.")
    held = min(HELD_OUT, -(-count // 10))
    return tuple(_source({name: a[part] for name, a in arrays.items()}) for part in (slice(-held), slice(-held, None)))


def _join(folder, count):
    """{name: [count, ...]} of the shards, in their order."""
    parts, rows = [], 0
    for i in itertools.count():
        if rows >= count:
            break
        try:
            with (folder / f"{i:05}.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                parts.append({name: file[name] for name in file.files if name != "nfe"})
            rows += len(parts[-1]["x"])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            raise UserError(
                f"data.pairs: shard {i} of {folder} is missing or damaged; the command that drew them mends it."
            ) from None
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _source(arrays):
    rest = {name: a for name, a in arrays.items() if name not in ("x", "condition")}
    if "source" in rest:  # a batch's "source" may go with any x of it
        rest["partner"] = rest.pop("source")
    examples = from_arrays(arrays["x"], arrays.get("condition"))

    def gather(indices):
        return examples.gather(indices) | {name: a[indices] for name, a in rest.items()}

    return Source(examples.size, gather)
