"""Downsampled ImageNet, 32 or 64 pixels (Chrabaszcz et al. 2017), from the official .npz files."""

import pathlib
import sys

import numpy as np

from research.atomic import replacing
from research.data import npz
from research.data.source import Dataset, from_arrays
from research.errors import UserError

INPUTS = {"train": [f"train_data_batch_{i}.npz" for i in range(1, 11)], "test": ["val_data.npz"]}


def load(config):
    """The Dataset of x uint8 [S, S, 3] in 1000 classes, memory-mapped; converted beside the .npz files at first use.

    Raises UserError that says which files go where: they are to be had with an account at image-net.org only.
    """
    side = int(config.name.removeprefix("imagenet"))
    folder = pathlib.Path(config.dir).expanduser() / config.name
    outputs = {split: (folder / f"{split}_x.npy", folder / f"{split}_y.npy") for split in INPUTS}
    stale = [split for split, paths in outputs.items() if not all(path.exists() for path in paths)]
    missing = [name for split in stale for name in INPUTS[split] if not (folder / name).exists()]
    if missing:
        raise UserError(
            f"{folder} has no {missing[0]}; log in at https://image-net.org/download-images, get the downsampled "
            f"{side}x{side} images (npz format), and put train_data_batch_1..10.npz and val_data.npz there."
        )
    for split in stale:
        _convert([folder / name for name in INPUTS[split]], *outputs[split], side)
    return Dataset(*(_source(*outputs[split], side) for split in INPUTS), (side, side, 3), 1000, 256)


def _convert(paths, x_path, y_path, side):
    """Writes x [N, S, S, 3] and labels 0..999 as .npy, one input in memory at a time."""
    labels = []
    with replacing(x_path) as file:
        _write_header(file, 0, side)
        for i, path in enumerate(paths):
            print(f"converting {path} for {x_path} ({i + 1} of {len(paths)})", file=sys.stderr)
            arrays = npz.read(path, ["data", "labels"])
            x, y = arrays["data"], np.asarray(arrays["labels"])
            good = x.dtype == np.uint8 and y.ndim == 1 and x.shape == (len(y), 3 * side * side) and len(y) > 0
            if not good or y.min() < 1 or y.max() > 1000:
                raise UserError(
                    f"{path} should have uint8 data [N, {3 * side * side}] and labels [N] in 1..1000, but data is "
                    f"{x.dtype} {list(x.shape)} and labels are {list(y.shape)}; get it again."
                )
            file.write(x.reshape(-1, 3, side, side).transpose(0, 2, 3, 1).tobytes())
            labels.append(y.astype(np.int32) - 1)
        file.seek(0)
        _write_header(file, sum(map(len, labels)), side)
    with replacing(y_path) as file:
        np.save(file, np.concatenate(labels))


def _write_header(file, size, side):
    """An .npy header; numpy pads it, so that a later one with another size takes the same room."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (size, side, side, 3)}
    np.lib.format.write_array_header_1_0(file, header)


def _source(x_path, y_path, side):
    try:
        x, y = np.load(x_path, mmap_mode="r"), np.load(y_path)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{x_path} or {y_path} is damaged ({error}); delete both and they are made again.") from error
    if x.shape != (len(y), side, side, 3):
        raise UserError(f"{x_path} and {y_path} do not belong together; delete both and they are made again.")
    return from_arrays(x, y)
