"""CIFAR-10 (Krizhevsky 2009) from its archive, its extracted folder, or an .npz."""

import io
import pathlib
import pickle
import tarfile
import zlib

import numpy as np

from research.data import files, npz
from research.data.source import Dataset, from_arrays
from research.errors import UserError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CHECKSUM = "md5:c58f30108f718f92721af3b95e74349a"
ARCHIVE, FOLDER = "cifar-10-python.tar.gz", "cifar-10-batches-py"
TRAIN, TEST = [f"data_batch_{i}" for i in range(1, 6)], ["test_batch"]
# What a batch is pickled from. The function that rebuilds an array moved within numpy, so it is taken from an array.
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): lambda code, *_: np.dtype(code),  # the rest are flags, in Python 2 integers, now deprecated
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
}


def load(config):
    """The Dataset of x uint8 [32, 32, 3] in ten classes; the archive is downloaded where there is nothing.

    Looked for in `<dir>/cifar10/`, then `<dir>/`: the folder, the archive (read without extraction), or cifar10*.npz
    with train_images, train_labels, test_images, test_labels. Raises UserError for files that are missing or damaged.
    """
    top = pathlib.Path(config.dir).expanduser()
    packed = sorted([*top.glob("cifar10/cifar10*.npz"), *top.glob("cifar10*.npz")], key=lambda p: len(p.parts))
    if (folder := files.find(top, "cifar10", [FOLDER])) is not None:
        batches = _from_folder(folder)
    elif files.find(top, "cifar10", [ARCHIVE]) is None and packed:
        return _from_npz(packed[-1])
    else:
        batches = _from_archive(files.fetch(top, "cifar10", ARCHIVE, URL, CHECKSUM))

    def source(names):
        x, labels = (np.concatenate(parts) for parts in zip(*(batches[name] for name in names)))
        return from_arrays(x, labels)

    return Dataset(source(TRAIN), source(TEST), (32, 32, 3), num_classes=10, levels=256)


def _from_folder(folder):
    missing = [name for name in TRAIN + TEST if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} has no {missing[0]}; extract {ARCHIVE} again.")
    return {name: read_batch((folder / name).read_bytes(), folder / name) for name in TRAIN + TEST}


def _from_archive(path):
    batches = {}
    try:
        with tarfile.open(path, "r|gz") as archive:  # one pass, as gzip cannot seek
            for member in archive:
                name = pathlib.PurePath(member.name).name
                if member.isfile() and name in TRAIN + TEST:
                    batches[name] = read_batch(archive.extractfile(member).read(), f"{name} in {path}")
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(f"{path} is not a whole .tar.gz ({error}); delete it and it is downloaded again.") from error
    missing = [name for name in TRAIN + TEST if name not in batches]
    if missing:
        raise UserError(f"{path} has no {missing[0]} in it; delete it and it is downloaded again.")
    return batches


def _from_npz(path):
    arrays = npz.read(path, ["train_images", "train_labels", "test_images", "test_labels"])
    sources = []
    for split in ("train", "test"):
        x, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        sources.append(from_arrays(*_checked(x, labels, f"{split}_images or {split}_labels of {path}")))
    return Dataset(*sources, (32, 32, 3), num_classes=10, levels=256)


class _Unpickler(pickle.Unpickler):
    """Rebuilds arrays and nothing else: a pickle may otherwise run any program."""

    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return ALLOWED[module, name]


def read_batch(raw, where):
    """(x uint8 [N, 32, 32, 3], labels int32 [N]) of one pickled batch; `where` names it in errors.

    Raises UserError for anything else, before anything but arrays is made from it.
    """
    try:
        batch = _Unpickler(io.BytesIO(raw), encoding="bytes").load()
        batch = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        x, labels = np.asarray(batch["data"]), np.asarray(batch["labels"])
    except Exception as error:  # damaged pickles raise nearly anything
        raise UserError(f"{where} is not a CIFAR-10 batch ({error}); get the official archive from {URL}.") from error
    if x.ndim == 2 and x.shape[1] == 3072:
        x = x.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # stored as planes
    return _checked(x, labels, where)


def _checked(x, labels, where):
    good = x.shape[1:] == (32, 32, 3) and x.dtype == np.uint8 and labels.shape == x.shape[:1] and len(x) > 0
    if not good or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 9:
        raise UserError(f"{where} should hold uint8 images [N, 32, 32, 3] and labels [N] in 0..9; get it again.")
    return x, labels.astype(np.int32)
