"""Missing and damaged files: one sentence that names the file and says what to do, and nothing written."""

import codecs
import gzip
import hashlib
import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from research import data
from research.data import cifar10, files, mnist, uci
from research.errors import UserError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
BATCH = "cifar-10-batches-py/data_batch_3"


class System:
    """What a hostile pickle holds: unpickling it would run a command."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


def change(path, function):
    """Replaces a file's bytes by a function of them."""
    path.write_bytes(function(path.read_bytes()))


def damaged_mnist(name, function):
    """A maker of MNIST's files, plain, of which one is changed."""

    def make(write, folder):
        write.mnist(folder, suffix="")
        change(folder / name, function)

    return "mnist", make


def damaged_cifar(function):
    def make(write, folder):
        write.cifar(folder / "cifar-10-batches-py")
        change(folder / BATCH, lambda raw: function(write, raw))

    return "cifar10", make


def truncated_gzip(write, folder):
    write.mnist(folder)
    change(folder / f"{IMAGES}.gz", lambda raw: raw[:-40])


def corrupt_gzip(write, folder):
    write.mnist(folder)
    change(folder / f"{LABELS}.gz", lambda raw: raw[:15] + b"\xff\xff\xff" + raw[18:])


def missing_batch(write, folder):
    write.cifar(folder / "cifar-10-batches-py")
    (folder / BATCH).unlink()


def archive(write, folder, keep=6):
    write.cifar(folder / "x")
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as tar:
        for path in sorted((folder / "x").iterdir())[:keep]:
            tar.add(path, f"cifar-10-batches-py/{path.name}")


def truncated_archive(write, folder):
    archive(write, folder)
    change(folder / "cifar-10-python.tar.gz", lambda raw: raw[: len(raw) // 2])


def cifar_npz(**arrays):
    x, y = np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, int)
    arrays = {"train_images": x, "train_labels": y, "test_images": x, "test_labels": y} | arrays
    return "cifar10", lambda write, folder: np.savez(folder / "cifar10_mine.npz", **arrays)


def arrays(**arrays):
    """A maker of data.npz."""
    return "npz", lambda write, folder: np.savez(folder / "data.npz", **arrays)


def npy_as_npz(write, folder):
    np.save(folder / "x.npy", X)
    (folder / "x.npy").rename(folder / "data.npz")


def imagenet(**arrays):
    def make(write, folder):
        write.imagenet(folder / "imagenet32")
        np.savez(folder / "imagenet32" / "train_data_batch_4.npz", **arrays)

    return "imagenet32", make


def incomplete_imagenet(write, folder):
    write.imagenet(folder / "imagenet64", side=64, n=1)
    (folder / "imagenet64" / "train_data_batch_7.npz").unlink()


def damaged_imagenet_map(write, folder):
    (folder / "imagenet32").mkdir()
    for name in ("train_x", "train_y", "test_x", "test_y"):
        np.save(folder / "imagenet32" / f"{name}.npy", np.zeros((2, 32, 32, 3) if name[-1] == "x" else 2, np.uint8))
    change(folder / "imagenet32" / "train_x.npy", lambda raw: raw[:-100])


def text_as_png(write, folder):
    write.images(folder / "cats", 3, (0, 0, 0))
    (folder / "cats" / "zz.png").write_text("no image")


def truncated_png(write, folder):
    write.images(folder / "cats", 3, (0, 0, 0))
    change(folder / "cats" / "1.png", lambda raw: raw[:-30])


def train_without_test(write, folder):
    write.images(folder / "train" / "cats", 3, (0, 0, 0))


def class_only_in_test(write, folder):
    write.images(folder / "train" / "cats", 3, (0, 0, 0))
    write.images(folder / "test" / "dogs", 3, (0, 0, 0))


def one_image(write, folder):
    write.images(folder, 1, (0, 0, 0))


def damaged_uci(name, function):
    """A maker of a table of 20 rows and its first split, of which one file is changed."""

    def make(write, folder):
        write.uci(folder / "power-plant")
        change(folder / "power-plant" / name, function)

    return "uci_regression", make


def swapped_split(write, folder):
    write.uci(folder / "power-plant")
    train, test = (folder / "power-plant" / f"index_{part}_0.txt" for part in ("train", "test"))
    train.rename(folder / "x")
    test.rename(train)
    (folder / "x").rename(test)


TRAIN, TEST = "index_train_0.txt", "index_test_0.txt"  # of write.uci: 18 rows, and rows 11 and 5
X, Y = np.ones((12, 3), np.float32), np.arange(12)
BAD = np.where(np.arange(12)[:, None] == 5, np.nan, X)
MISTAKES = {  # what: (data.name, maker of files), pattern of the sentence
    "truncated gzip": (("mnist", truncated_gzip), f"{IMAGES}.gz is not a whole gzip file"),
    "corrupt gzip": (("mnist", corrupt_gzip), f"{LABELS}.gz is not a whole gzip file"),
    "truncated idx": (damaged_mnist(IMAGES, lambda b: b[:-5]), rf"{IMAGES} has 9403 bytes .* \(12, 28, 28\)"),
    "idx too long": (damaged_mnist(LABELS, lambda b: b + b"x"), f"{LABELS} has 13 bytes"),
    "wrong magic": (damaged_mnist(IMAGES, lambda b: b"\x00\x00\x0d\x03" + b[4:]), f"{IMAGES} starts with 00000d03"),
    "html, not idx": (damaged_mnist(LABELS, lambda b: b"<html>404</html>"), f"{LABELS} starts with 3c68746d"),
    "empty idx": (damaged_mnist(LABELS, lambda b: b""), f"{LABELS} starts with"),
    "labels as images": (damaged_mnist(IMAGES, lambda b: b"\x00\x00\x08\x01\x00\x00\x00\x00"), IMAGES),
    "other image size": (
        damaged_mnist(IMAGES, lambda b: b[:4] + b"\x00\x00\x00\x0c\x00\x00\x00\x0e\x00\x00\x00\x38" + b[16:]),
        r"images of shape \(12, 14, 56\)",
    ),
    "fewer labels": (damaged_mnist(LABELS, lambda b: b[:7] + b"\x05" + b[8:13]), f"{LABELS} has 5 labels"),
    "label 200": (damaged_mnist(LABELS, lambda b: b[:-1] + b"\xc8"), f"{LABELS} has 12 labels up to 200"),
    "os.system in a pickle": (damaged_cifar(lambda w, b: pickle.dumps({"data": System()})), "it asks for .*system"),
    "open in a pickle": (damaged_cifar(lambda w, b: pickle.dumps(open)), r"it asks for (_?io)\.open"),
    "empty batch": (damaged_cifar(lambda w, b: b""), f"{BATCH} is not a CIFAR-10 batch"),
    "truncated batch": (damaged_cifar(lambda w, b: b[:2000]), f"{BATCH} is not a CIFAR-10 batch"),
    "batch without labels": (damaged_cifar(lambda w, b: pickle.dumps({"data": 1})), r"not a CIFAR-10 batch \('labels'"),
    "batch of a list": (damaged_cifar(lambda w, b: pickle.dumps([1])), "not a CIFAR-10 batch"),
    "CIFAR-100's labels": (
        damaged_cifar(lambda w, b: w.python2_batch(np.zeros((2, 3072), np.uint8), [3, 99])),
        f"{BATCH} should hold",
    ),
    "batch of other pixels": (
        damaged_cifar(lambda w, b: w.python2_batch(np.zeros((2, 300), np.uint8), [3, 9])),
        f"{BATCH} should hold",
    ),
    "missing batch": (("cifar10", missing_batch), "has no data_batch_3"),
    "truncated archive": (("cifar10", truncated_archive), r"python\.tar\.gz is not a whole \.tar\.gz"),
    "archive without test": (("cifar10", lambda w, d: archive(w, d, keep=5)), "has no test_batch in it"),
    "cifar npz with floats": (cifar_npz(test_images=np.zeros((2, 32, 32, 3))), "test_images or test_labels of"),
    "cifar npz of a short array": (cifar_npz(train_labels=np.zeros(1, int)), "train_images or train_labels of"),
    "npz missing": (("npz", lambda w, d: None), r"data\.npz does not exist"),
    "npz is text": (("npz", lambda w, d: (d / "data.npz").write_text("hello")), "not an .npz of plain arrays"),
    "npz of objects": (arrays(x=np.array([[System()]], dtype=object)), "not an .npz of plain arrays"),
    "npz is empty": (("npz", lambda w, d: (d / "data.npz").write_bytes(b"")), "not an .npz of plain arrays"),
    "npz is an npy": (("npz", npy_as_npz), "not an .npz of plain arrays"),
    "NaN": (arrays(train_x=BAD, test_x=X), "'train_x' .* NaN or infinity in 1 of 12 rows"),
    "shapes differ": (arrays(train_x=X, test_x=X[:, :2]), r"train_x and test_x .*\[12, 3\] and float32 \[12, 2\]"),
    "dtypes differ": (arrays(train_x=X, test_x=X.astype(np.uint8)), r"differ: float32 \[12, 3\] and uint8"),
    "no test_x": (arrays(train_x=X), "no array 'test_x', only train_x"),
    "one axis": (arrays(x=X[:, 0]), r"'x' .* float32 \[12\]; it needs .* two axes"),
    "no example": (arrays(train_x=X[:0], test_x=X), r"'train_x' .* \[0, 3\]; it needs at least one example"),
    "wide integers": (arrays(x=X.astype(int)), "'x' .* int64 .* store integers 0..255 as uint8"),
    "labels too short": (arrays(x=X, y=Y[:5]), r"'y' .* int64 \[5\]; it needs 12 integers"),
    "labels are floats": (arrays(x=X, y=Y / 2), "'y' .* needs 12 integers"),
    "negative label": (arrays(train_x=X, test_x=X, train_y=Y, test_y=Y - 1), "'test_y' .* integers from 0"),
    "labels for train only": (arrays(train_x=X, test_x=X, train_y=Y), "labels for one of train_x and test_x"),
    "nothing to hold out": (arrays(x=X[:1]), "has 1 examples"),
    "imagenet missing": (("imagenet64", lambda w, d: None), "no train_data_batch_1.npz; .* 64x64 .* val_data.npz"),
    "imagenet incomplete": (("imagenet64", incomplete_imagenet), "no train_data_batch_7.npz"),
    "imagenet of 64 as 32": (
        imagenet(data=np.zeros((2, 3 * 64 * 64), np.uint8), labels=np.array([1, 2])),
        r"batch_4.npz should have .* \[N, 3072\] .* data is uint8 \[2, 12288\]",
    ),
    "imagenet label 0": (imagenet(data=np.zeros((1, 3072), np.uint8), labels=np.array([0])), "labels .* in 1..1000"),
    "imagenet without labels": (imagenet(data=np.zeros((1, 3072), np.uint8)), "batch_4.npz has no array 'labels'"),
    "imagenet map cut short": (("imagenet32", damaged_imagenet_map), "train_x.npy .* is damaged .* delete both"),
    "uci with a column less": (damaged_uci("data.txt", lambda b: b.replace(b" 3.01", b"")), "data.txt has 4 .* row 3,"),
    "uci with columns more": (damaged_uci("data.txt", lambda b: b.replace(b"\n", b"", 1)), "data.txt has 10 .* row 0"),
    "uci table is html": (damaged_uci("data.txt", lambda b: b"<html>404</html>"), "data.txt holds more .*'<html>404"),
    "uci table in UTF-16": (damaged_uci("data.txt", lambda b: b"\xff\xfe" + b), "data.txt holds more .* 0xff"),
    "uci table is empty": (damaged_uci("data.txt", lambda b: b"\n"), "data.txt is empty"),
    "uci with NaN": (damaged_uci("data.txt", lambda b: b.replace(b" 3.01", b" nan")), "data.txt has NaN .* row 3,"),
    "uci beyond float32": (damaged_uci("data.txt", lambda b: b.replace(b" 3.01", b" -1e39")), "infinity in 1 of 20"),
    "uci index too high": (damaged_uci(TRAIN, lambda b: b + b"20\n"), rf"{TRAIN} names row 20, .*data.txt .* 0..19"),
    "uci index below 0": (damaged_uci(TEST, lambda b: b"-1\n" + b), f"{TEST} names row -1,"),
    "uci index a fraction": (damaged_uci(TEST, lambda b: b + b"1.5\n"), f"{TEST} holds more than whole .*'1.5'"),
    "uci train in test": (damaged_uci(TEST, lambda b: b + b"3\n"), f"{TRAIN} and .*{TEST} .* row 3 2 times"),
    "uci row left out": (damaged_uci(TEST, lambda b: b[b.index(b"\n") :]), f"{TEST} .* each of 20 .* 0 times"),
    "uci table cut short": (damaged_uci("data.txt", lambda b: b[: b.index(b" 19.0")]), f"{TRAIN} names row 19"),
    "uci split swapped": (("uci_regression", swapped_split), f"{TEST} names 18 of 20 rows and should name 2,"),
    "no folder": (("image_folder", lambda w, d: d.rmdir()), "cannot be read as a folder"),
    "no images": (("image_folder", lambda w, d: (d / "a.txt").write_text("")), "has no images"),
    "text as png": (("image_folder", text_as_png), "zz.png cannot be read as an image"),
    "truncated png": (("image_folder", truncated_png), "1.png cannot be read as an image"),
    "train without test": (("image_folder", train_without_test), "test cannot be read as a folder"),
    "class only in test": (("image_folder", class_only_in_test), "dogs is not a class of the training images"),
    "one image": (("image_folder", one_image), "has 1 examples"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """What the environment says of proxies is not for servers of this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sentence(caught):
    """The message of a UserError, once it is seen to be one sentence on one line."""
    message = str(caught.value)
    assert "\n" not in message and message[-1] in ".?" and ". " not in message, message
    return message


@pytest.mark.parametrize("what", MISTAKES)
def test_damaged_files(what, section, write, tmp_path, monkeypatch):
    (name, make), pattern = MISTAKES[what]
    folder = tmp_path / "files"
    folder.mkdir()
    monkeypatch.chdir(folder if what != "no folder" else tmp_path)
    make(write, folder)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=pattern) as caught:
        dataset = data.load(section(name, folder, image_size=4))
        for source in dataset[:2]:
            source.gather(np.arange(source.size))
    assert str(tmp_path) in sentence(caught)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("fields, match", [
    ({"name": "rings", "seed": -1}, r"data\.seed is -1"),
    ({"name": "synthetic", "size": 0}, r"data\.size is 0"),
    ({"name": "synthetic", "levels": 1000}, r"data\.levels is 1000"),
    ({"name": "image_folder", "image_size": 0}, r"data\.image_size is 0"),
    ({"name": "uci_regression", "table": "yatch"}, r"data\.table is 'yatch'; did you mean 'yacht'\?"),
    ({"name": "uci_regression", "split": 20}, r"data\.split is 20; power-plant has the splits 0..19"),
    ({"name": "uci_regression", "split": -1}, r"data\.split is -1"),
    ({"name": "nothing"}, r"data\.name is 'nothing'"),
])  # fmt: skip
def test_wrong_fields(section, fields, match):
    with pytest.raises(UserError, match=match) as caught:
        data.load(section(**fields))
    sentence(caught)


def serve_mnist(write, folder, monkeypatch, address, alter=None):
    """Puts MNIST's files behind `address` with their true checksums, then changes one file."""
    write.mnist(folder)
    checksums = {
        key: (name, f"sha256:{hashlib.sha256((folder / f'{name}.gz').read_bytes()).hexdigest()}", "md5:0")
        for key, (name, *_) in mnist.FILES.items()
    }
    monkeypatch.setattr(mnist, "FILES", checksums)
    monkeypatch.setattr(mnist, "SITES", {"mnist": address, "fashion_mnist": address})
    if alter:
        alter(folder)


def test_download(section, write, site, tmp_path, monkeypatch, capsys):
    folder, address = site
    serve_mnist(write, folder, monkeypatch, address)
    dataset = data.load(section("mnist", tmp_path / "new"))
    assert (dataset.train.size, dataset.test.size) == (12, 6)
    assert address in capsys.readouterr().err
    here, there = contents(tmp_path / "new" / "mnist"), contents(folder)
    assert {p.name: raw for p, raw in here.items()} == {p.name: raw for p, raw in there.items()}
    for path in there:  # found from now on, with no use for the site
        path.unlink()
    data.load(section("mnist", tmp_path / "new"))
    assert capsys.readouterr().err == ""


DOWNLOADS = {  # what is wrong with the site: (function of its folder, pattern)
    "altered file": (lambda d: change(d / f"{IMAGES}.gz", lambda b: b + b"\0"), "arrived with the checksum sha256:"),
    "other file": (lambda d: change(d / f"{IMAGES}.gz", lambda b: gzip.compress(b"x")), "arrived with the checksum"),
    "no such file": (lambda d: (d / f"{IMAGES}.gz").unlink(), "download failed .*404"),
}


@pytest.mark.parametrize("alter, pattern", DOWNLOADS.values(), ids=DOWNLOADS)
def test_failed_download(section, write, site, tmp_path, monkeypatch, alter, pattern):
    folder, address = site
    serve_mnist(write, folder, monkeypatch, address, alter)
    with pytest.raises(UserError, match=pattern) as caught:
        data.load(section("mnist", tmp_path / "new"))
    _, checksum, _ = mnist.FILES["train", "images"]
    for part in (f"{address}{IMAGES}.gz", checksum, str(tmp_path / "new" / "mnist"), "data.dir"):
        assert part in sentence(caught)
    assert not contents(tmp_path / "new")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "uci_regression"])
def test_no_network(section, tmp_path, monkeypatch, name):
    closed = "http://127.0.0.1:1/"  # a port that nothing listens to
    monkeypatch.setattr(mnist, "SITES", {"mnist": closed, "fashion_mnist": closed})
    monkeypatch.setattr(cifar10, "URL", f"{closed}{cifar10.ARCHIVE}")
    monkeypatch.setattr(uci, "URL", closed)
    with pytest.raises(UserError, match=r"download failed .*refused") as caught:
        data.load(section(name, tmp_path / "new"))
    assert closed in sentence(caught) and str(tmp_path / "new" / name) in sentence(caught)
    assert not (tmp_path / "new").exists()


def test_a_file_found_is_not_held_to_the_checksum(section, write, tmp_path):
    write.mnist(tmp_path)
    path = files.fetch(tmp_path, "mnist", f"{IMAGES}.gz", "http://127.0.0.1:1/", "md5:0")
    assert path == tmp_path / f"{IMAGES}.gz"


def test_the_subfolder_goes_first(tmp_path):
    (tmp_path / "a").mkdir()
    for folder in (tmp_path, tmp_path / "a"):
        (folder / "f").touch()
    assert files.find(tmp_path, "a", ["g", "f"]) == tmp_path / "a" / "f"
    assert files.find(tmp_path, "b", ["g", "f"]) == tmp_path / "f"
    assert files.find(tmp_path, "b", ["g"]) is None


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_batches_pickled_by_python_3_are_read_too(protocol):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), np.uint8)
    x, labels = cifar10.read_batch(pickle.dumps({b"data": pixels, "labels": [1, 2]}, protocol), "here")
    np.testing.assert_array_equal(x, pixels.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1))
    assert labels.tolist() == [1, 2]


def test_only_one_codec_is_at_hand():
    class Encode:
        def __reduce__(self):
            return codecs.encode, ("ÿ", "utf-8")

    assert cifar10._Unpickler(io.BytesIO(pickle.dumps(Encode(), 2))).load() == b"\xff"
