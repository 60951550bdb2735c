"""Folders of image files, decoded when they are needed."""

import concurrent.futures
import os
import pathlib

import numpy as np
from PIL import Image, ImageOps

from research.data.source import Dataset, Source, holdout, shuffled
from research.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
THREADS = 8  # pillow lets go of the interpreter's lock while it decodes


def load(config):
    """The Dataset of x uint8 [S, S, 3], S = `config.image_size`: images centre-cropped to a square and resized.

    `config.dir` has train/ and test/, or is one folder of which a tenth is held out by `config.seed`; in each, either
    a folder per class or images alone. Their order is one of `config.seed`. Raises UserError for folders without
    images, and later for an unreadable file.
    """
    top, side = pathlib.Path(config.dir).expanduser(), config.image_size
    if side < 1:
        raise UserError(f"data.image_size is {side}; it must be at least 1 pixel.")
    if (top / "train").is_dir():
        classes = _subfolders(top / "train")
        parts = [_scan(top / "train", classes), _scan(top / "test", classes)]
    else:
        classes = _subfolders(top)
        paths, labels = _scan(top, classes)
        parts = [(paths[i], labels[i]) for i in holdout(len(paths), config.seed, top)]
    pool = concurrent.futures.ThreadPoolExecutor(THREADS)
    sources = [shuffled(_source(*part, side, pool, bool(classes)), config.seed) for part in parts]
    return Dataset(*sources, (side, side, 3), len(classes) or None, 256)


def _subfolders(folder):
    """Names of the classes, sorted; none if the images lie in the folder itself."""
    return sorted(entry.name for entry in _entries(folder) if entry.is_dir() and not entry.name.startswith("."))


def _scan(folder, classes):
    """(paths [N], labels [N]) of the images, in a fixed order; every folder must be one of `classes`."""
    extra = set(_subfolders(folder)) - set(classes)
    if extra:
        raise UserError(f"{folder / min(extra)} is not a class of the training images; rename or remove it.")
    paths, labels = [], []
    for label, name in enumerate(classes or [""]):
        if (folder / name).is_dir():
            found = sorted(e.path for e in _entries(folder / name) if e.name.lower().endswith(SUFFIXES))
            paths += found
            labels += [label] * len(found)
    if not paths:
        raise UserError(f"{folder} has no images ({', '.join(SUFFIXES)}), in it or in a folder a class; set data.dir.")
    return np.array(paths, dtype=object), np.array(labels, np.int32)


def _entries(folder):
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"{folder} cannot be read as a folder ({error.strerror}); set data.dir.") from error


def _source(paths, labels, side, pool, has_classes):
    def gather(indices):
        batch = {"x": np.stack(list(pool.map(lambda path: read_image(path, side), paths[indices])))}
        return batch | {"condition": labels[indices]} if has_classes else batch

    return Source(len(paths), gather)


def read_image(path, side):
    """uint8 [side, side, 3] of an image file, its centre square resized. Raises UserError if it cannot be read."""
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image ({error}); repair or remove it.") from error
