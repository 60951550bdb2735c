"""What the tests of the data share: a data section, and small files in the formats of the real ones."""

import gzip
import http.server
import pathlib
import struct
import threading
import types

import numpy as np
import pytest
from ml_collections import config_dict
from PIL import Image

from configs import base

REAL = pathlib.Path(__file__).parents[3] / "shared" / "data"


def idx(array):
    """The bytes of an idx file."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder, sizes=(12, 6), suffix=".gz"):
    """Files of MNIST's names and form, with random pixels and labels 0, 1, 2, ... 9, 0, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for split, n in zip(("train", "t10k"), sizes):
        pixels, labels = rng.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n, dtype=np.uint8) % 10
        for name, array in ((f"{split}-images-idx3-ubyte", pixels), (f"{split}-labels-idx1-ubyte", labels)):
            raw = idx(array)
            (folder / f"{name}{suffix}").write_bytes(gzip.compress(raw, mtime=0) if suffix else raw)


def python2_batch(pixels, labels):
    """A pickle of planes [N, 3072] and labels as Python 2 and its numpy wrote it: the form of the official batches."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + b"M" + struct.pack("<H", len(pixels)) + b"M" + struct.pack("<H", pixels.shape[1]) + b"\x86"
        + b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89T" + struct.pack("<i", pixels.nbytes) + pixels.tobytes() + b"tb"
    )  # fmt: skip
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels](" + numbers + b"eu."


def write_cifar(folder, n=3):
    """A folder of batches of CIFAR-10's names and form."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (folder / name).write_bytes(python2_batch(rng.integers(0, 256, (n, 3072), np.uint8), range(n)))


def write_imagenet(folder, side=32, n=2):
    """The official .npz files of downsampled ImageNet, with n images each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in [f"train_data_batch_{i}" for i in range(1, 11)] + ["val_data"]:
        pixels = rng.integers(0, 256, (n, 3 * side * side), np.uint8)
        np.savez(folder / f"{name}.npz", data=pixels, labels=np.array([1, 1000] * n)[:n])


def write_images(folder, count, color, size=(20, 12)):
    """Images of one color."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", size, color).save(folder / f"{i}.png")


def write_uci(folder, rows=20, columns=5, splits=1):
    """A regression table of the UCI files' names and form; x[i, j] = i + j / 100, the splits drawn as theirs are."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [" ".join(f"{i + j / 100}" for j in range(columns)) for i in range(rows)]
    (folder / "data.txt").write_text("".join(f" {line}\n" for line in lines))
    rng = np.random.RandomState(1)
    for split in range(splits):
        order = rng.permutation(rows)
        for part, indices in (("train", order[: -(rows // 10)]), ("test", order[-(rows // 10) :])):
            (folder / f"index_{part}_{split}.txt").write_text("".join(f"{i}\n" for i in indices))


def write_california(folder, rows=20):
    """housing.csv of that name and form; x[i, j] = i + j / 100, the coasts in turn, no bedrooms in row 3."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = "longitude,latitude,housing_median_age,total_rooms,total_bedrooms,population,households,median_income"
    lines = [f"{columns},median_house_value,ocean_proximity"]
    for i in range(rows):
        words = [f"{i + j / 100}" for j in range(9)] + [("INLAND", "NEAR BAY", "<1H OCEAN")[i % 3]]
        words[4] = "" if i == 3 else words[4]
        lines.append(",".join(words))
    (folder / "housing.csv").write_text("\n".join(lines) + "\n")


def write_adult(folder, sizes=(12, 6)):
    """adult.data and adult.test of those names and form; ages are row numbers, sexes take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, n, stop in zip(("adult.data", "adult.test"), sizes, ("", ".")):
        rows = [
            f"{i}, {('Private', '?', 'Never-worked')[i % 3]}, 77516, Bachelors, 13, Never-married, Sales, Husband, "
            f"White, {('Male', 'Female')[i % 2]}, 2174, 0, 40, ?, {('<=50K', '>50K')[i % 4 == 1]}{stop}"
            for i in range(n)
        ]
        (folder / name).write_text("|1x3 Cross validator\n" * bool(stop) + "\n".join(rows) + "\n\n")


def write_agaricus(folder):
    """Files of those names and form, with three features and three and two rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "featmap.txt").write_text("0\tcap=flat\ti\n1\todor=none\ti\n2\todor=foul\ti\n")
    (folder / "agaricus.txt.train").write_text("1 1:1 3:1\n0 2:1\n0\n")
    (folder / "agaricus.txt.test").write_text("0 1:1 2:1\n1 3:1\n")


def write_small(folder):
    """longley.csv of that name and form; x[i, j] = i + j / 10."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join(f"{i + j / 10}" for j in range(7)) for i in range(16)]
    (folder / "longley.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def section():
    """A function: name, dir, fields -> the data section of a config, as the programs pass it."""

    def make(name, dir="unused", **fields):
        return config_dict.FrozenConfigDict(base.update(base.data(name), dir=str(dir), **fields))

    return make


@pytest.fixture(scope="session")
def write():
    """The functions above that write files: write.mnist(folder), ..."""
    return types.SimpleNamespace(
        idx=idx,
        mnist=write_mnist,
        python2_batch=python2_batch,
        cifar=write_cifar,
        imagenet=write_imagenet,
        images=write_images,
        uci=write_uci,
        california=write_california,
        adult=write_adult,
        agaricus=write_agaricus,
        small=write_small,
    )


@pytest.fixture(scope="session")
def real():
    """A function: name -> the folder that holds a folder of that name with real files; skips where there is none."""

    def folder(name):
        if not (REAL / name).is_dir():
            pytest.skip(f"no real {name} here")
        return REAL

    return folder


@pytest.fixture
def site(tmp_path):
    """(folder, address) of a web server on this machine that serves the files of the folder."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
