"""Parquet files that launch.prepare made, in a folder at any URI: tables and images. Entry point: `load`."""

import concurrent.futures
import io
import time

import numpy as np
from PIL import Image

from research.data import lanes, manifest
from research.data.groups import AGAIN, Groups
from research.data.source import Dataset, Source
from research.errors import UserError

LOOK_EVERY = 5.0  # seconds at least between looks at whether a set has grown
THREADS = 8  # pillow lets go of the interpreter's lock while it decodes


def load(config):
    """The Dataset of the folder of shards at `config.dir`; the rows for testing are its test, else its valid split.

    Tables: x float32 [F], NaN where a value is missing, and y; where the target has classes, "condition" too. Of codes
    x is a number in the bin, of categories the place in the vocabulary: `Dataset.borders` give the codes back.
    Images: x uint8 [H, W, C]. Row groups are read when rows of them are asked for. Raises UserError for what is not
    such a folder or has no rows to test, and later for a file that is missing, truncated or damaged, or a dead server.
    """
    found = manifest.read(config.dir)
    held = "test" if manifest.rows(found, "test") else "valid"
    for split in ("train", held):
        if not manifest.rows(found, split):
            raise UserError(f"{config.dir} has no rows to {split}; make the shards anew with other --splits.")
    *reading, known = (images if found["kind"] == "images" else table)(found, config.dir)
    sources = (source(config.dir, split, found["splits"][split], *reading) for split in ("train", held))
    return Dataset(*sources, **known)


def source(folder, split, shards, columns, decode, row_bytes, finish):
    """The Source of a split; its `gather.groups` tells what was read. It grows with the manifest's list of files."""
    groups, looked = Groups(folder, shards, columns, decode), [time.monotonic()]

    def gather(indices):
        return finish(groups.gather(indices))

    def permutation(*arguments):
        return lanes.permutation(groups.rows, row_bytes, *arguments)

    def grown():
        if time.monotonic() - looked[0] > LOOK_EVERY:
            looked[0] = time.monotonic()
            groups.extend(manifest.read(folder)["splits"][split])
        return groups.size

    gather.groups = groups
    return Source(groups.size, gather, permutation, grown)


def table(found, folder):
    """(columns to read, decode, bytes of a row, finish, the Dataset's other fields) of a table."""
    names, target, classes = manifest.names(found), found["target"], found["classes"]
    borders, stored = manifest.borders(found), [None] * len(names)
    if borders:
        stored = [numbers_of(borders, f, column["kind"] == "category") for f, column in enumerate(found["columns"])]

    def decode(read):
        x = [read_column(read[name], values).astype(np.float32, copy=False) for name, values in zip(names, stored)]
        y = {} if target is None else {"y": read_column(read[target]).astype(np.float32)}
        return {"x": np.stack(x, axis=1)} | y

    def finish(batch):
        return batch | {"condition": batch["y"].astype(np.int32)} if classes else batch

    columns = [*names, target] if target else list(names)
    known = {
        "shape": (len(names),),
        "num_classes": len(classes) if classes else None,
        "feature_names": names if target else None,
        "categorical": tuple(i for i, column in enumerate(found["columns"]) if column["kind"] == "category"),
        "borders": borders,
    }
    return columns, decode, 4 * len(columns), finish, known


def numbers_of(borders, f, category=False):
    """float32 [codes], a number in the bin of each code of column f; NaN: missing.

    It is the border that belongs to the bin, or the number next to the other one; of a category its first place.
    """
    values, missing, left = borders.values[f], borders.missing, borders.side == "left"
    low, high = np.append(np.float32(-np.inf), values), np.append(values, np.float32(np.inf))
    near, far = (high, low) if left else (low, high)
    inner = np.where(np.isfinite(far), np.nextafter(far, near), 0)
    found = np.where(np.isfinite(near), near, inner).astype(np.float32)
    if category:
        found = np.where(np.isfinite(low), np.floor(low) + 1 if left else np.ceil(low), 0).astype(np.float32)
    if borders.has_missing[f] and missing == "min":
        found[0] = np.nan
    if missing == "learn" or (borders.has_missing[f] and missing == "max"):
        found[-1] = np.nan
    return np.append(found, np.full(borders.bins - len(found), np.nan, np.float32)) if missing == "learn" else found


def read_column(column, numbers=None):
    """The values of a pyarrow column, NaN where null; `numbers` of the codes, which Spark wrote as signed."""
    values = column.to_numpy()
    if numbers is None or values.dtype.kind == "f":
        return values
    return numbers[values.view(f"u{values.dtype.itemsize}")]


def images(found, folder):
    """(columns to read, decode, bytes of a row, finish, the Dataset's other fields) of images, kept as encoded."""
    shape, classes = tuple(found["image"]["shape"]), found["image"]["classes"]
    pool = concurrent.futures.ThreadPoolExecutor(THREADS)
    shards = found["splits"]["train"]

    def decode(read):
        arrays = {"image": read["image"].to_numpy()}
        return arrays | {"condition": read["label"].to_numpy().astype(np.int32)} if classes else arrays

    def finish(batch):
        return batch | {"x": np.stack(list(pool.map(pixels, batch.pop("image"))))}

    def pixels(encoded):
        try:
            with Image.open(io.BytesIO(encoded)) as image:
                x = np.asarray(image.convert("L" if shape[2] == 1 else "RGB")).reshape(*image.size[::-1], shape[2])
        except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError) as error:
            raise UserError(f"an image of {folder} cannot be decoded ({error}); {AGAIN}.") from error
        if x.shape != shape:
            raise UserError(f"an image of {folder} is {list(x.shape)} and not {list(shape)}; {AGAIN}.")
        return x

    row_bytes = sum(shard["bytes"] for shard in shards) / sum(shard["rows"] for shard in shards)
    known = {"shape": shape, "num_classes": len(classes) if classes else None, "levels": 256}
    return ["image", "label"] if classes else ["image"], decode, row_bytes, finish, known
