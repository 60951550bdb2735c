"""MNIST (LeCun, Cortes and Burges) and Fashion-MNIST (Xiao et al. 2017) from their idx files."""

import gzip
import zlib

import numpy as np

from research.data import files
from research.data.source import Dataset, from_arrays
from research.errors import UserError

SITES = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
FILES = {  # (split, what): file name, its checksum for mnist, for fashion_mnist
    ("train", "images"): (
        "train-images-idx3-ubyte",
        "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    ),
    ("train", "labels"): (
        "train-labels-idx1-ubyte",
        "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "md5:25c81989df183df01b3e8a0aad5dffbe",
    ),
    ("test", "images"): (
        "t10k-images-idx3-ubyte",
        "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "md5:bef4ecab320f06d8554ea6380940ec79",
    ),
    ("test", "labels"): (
        "t10k-labels-idx1-ubyte",
        "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "md5:bb300cfdad3c16e7a12a480ee83cd310",
    ),
}


def load(config):
    """The Dataset of x uint8 [28, 28, 1] in ten classes; files, plain or .gz, are downloaded where there are none.

    Raises UserError for files that cannot be had or are not what they should be.
    """
    return Dataset(_source(config, "train"), _source(config, "test"), (28, 28, 1), num_classes=10, levels=256)


def _source(config, split):
    images_path, labels_path = _path(config, split, "images"), _path(config, split, "labels")
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if images.shape[1:] != (28, 28) or not len(images):
        raise UserError(f"{images_path} has images of shape {images.shape}; it should have [N, 28, 28].")
    top = labels.max(initial=0)
    if len(labels) != len(images) or top > 9:
        raise UserError(f"{labels_path} has {len(labels)} labels up to {top}; it should have {len(images)}, up to 9.")
    return from_arrays(images[..., None], labels.astype(np.int32))


def _path(config, split, what):
    filename, *checksums = FILES[split, what]
    if (found := files.find(config.dir, config.name, [filename, f"{filename}.gz"])) is not None:
        return found
    checksum = dict(zip(SITES, checksums))[config.name]
    return files.fetch(config.dir, config.name, f"{filename}.gz", f"{SITES[config.name]}{filename}.gz", checksum)


def read_idx(path, ndim):
    """The uint8 array of an idx file with `ndim` axes. Raises UserError if it is anything else, or cut short."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not a whole gzip file ({error}); delete it and it is downloaded again.") from error
    start = 4 + 4 * ndim
    if len(raw) < start or raw[:4] != bytes([0, 0, 8, ndim]):  # 8: unsigned bytes
        raise UserError(f"{path} starts with {raw[:4].hex()}, not 00000{800 + ndim} of an idx file; get it again.")
    shape = tuple(np.frombuffer(raw, ">u4", ndim, 4).tolist())
    if len(raw) - start != np.prod(shape, dtype=object):
        raise UserError(f"{path} has {len(raw) - start} bytes of data, not those of its shape {shape}; get it again.")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
