"""Laws of every data set, and what is particular to each."""

import shutil
import tarfile

import jax
import numpy as np
import pytest
from ml_collections import config_dict

from research import data
from research.data import imagenet, npz, synthetic
from research.data.image_folder import read_image
from research.errors import UserError
from tests.data import shard_files

TOYS = ("8gaussians", "two_moons", "checkerboard", "pinwheel", "spirals", "rings", "swiss_roll")


def labelled_arrays(folder, n=12):
    """An .npz of a user: train and test, labels, uint8."""
    x = np.random.default_rng(0).integers(0, 256, (n, 4, 4, 1), np.uint8)
    np.savez(folder / "data.npz", train_x=x, test_x=x[::-1], train_y=np.arange(n) % 3, test_y=np.arange(n) % 3)


def images(write, folder):
    for name, color in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
        write.images(folder / "train" / name, 3, color)
    write.images(folder / "test" / "red", 2, (255, 0, 0))


FILES = {  # name -> (function that writes small files of the real form, more fields of the config)
    "mnist": (lambda w, d: w.mnist(d / "mnist"), {}),
    "fashion_mnist": (lambda w, d: w.mnist(d, suffix=""), {}),
    "cifar10": (lambda w, d: w.cifar(d / "cifar10" / "cifar-10-batches-py"), {}),
    "imagenet32": (lambda w, d: w.imagenet(d / "imagenet32", 32), {}),
    "imagenet64": (lambda w, d: w.imagenet(d / "imagenet64", 64), {}),
    "uci_regression": (lambda w, d: w.uci(d / "uci_regression" / "power-plant"), {}),
    "california_housing": (lambda w, d: w.california(d / "california_housing"), {}),
    "adult": (lambda w, d: w.adult(d), {}),
    "agaricus": (lambda w, d: w.agaricus(d / "agaricus"), {}),
    "small_tabular": (lambda w, d: w.small(d / "small_tabular"), {"table": "longley"}),
    "libsvm": (
        lambda w, d: (
            (d / "train.libsvm").write_text("1 0:2\n0 1:3\n") and shutil.copy(d / "train.libsvm", d / "test.libsvm")
        ),
        {},
    ),
    "npz": (lambda w, d: labelled_arrays(d), {}),
    "image_folder": (images, {"image_size": 8}),
    "shards": (lambda w, d: shard_files.pictures(d), {}),
    "synthetic": (lambda w, d: None, {"shape": (5, 5, 3), "levels": 256, "num_classes": 4, "size": 40}),
}
EXPECTED = {  # name -> shape, num_classes, levels, sizes of train and test
    "digits": ((8, 8, 1), 10, 17, 1437, 360),
    "mnist": ((28, 28, 1), 10, 256, 12, 6),
    "fashion_mnist": ((28, 28, 1), 10, 256, 12, 6),
    "cifar10": ((32, 32, 3), 10, 256, 15, 3),
    "imagenet32": ((32, 32, 3), 1000, 256, 20, 2),
    "imagenet64": ((64, 64, 3), 1000, 256, 20, 2),
    "uci_regression": ((5,), None, None, 18, 2),
    "california_housing": ((13,), None, None, 18, 2),
    "adult": ((14,), None, None, 12, 6),
    "agaricus": ((3,), None, None, 3, 2),
    "friedman": ((10,), None, None, 100, 100),
    "friedman_classes": ((10,), None, None, 100, 100),
    "small_tabular": ((6,), None, None, 14, 2),
    "libsvm": ((2,), None, None, 2, 2),
    "npz": ((4, 4, 1), 3, 256, 12, 12),
    "image_folder": ((8, 8, 3), 2, 256, 6, 2),
    "shards": ((5, 4, 3), 2, 256, 24, 24),
    "synthetic": ((5, 5, 3), 4, 256, 40, 40),
    **{
        name: ((2,), classes, None, 100, 10000) for name, classes in zip(TOYS, (8, 2, None, 5, 2, 4, None), strict=True)
    },
}


@pytest.fixture(scope="module")
def datasets(section, write, tmp_path_factory):
    """Every data set by name, from small files."""
    result = {}
    for name in data.LOADERS:
        folder = tmp_path_factory.mktemp(name)
        make, fields = FILES.get(name, (lambda w, d: None, {"size": 100}))
        make(write, folder)
        result[name] = data.load(section(name, folder, **fields))
    return result


@pytest.mark.parametrize("name", data.LOADERS)
def test_what_is_said_of_a_data_set_is_true(datasets, name):
    dataset = datasets[name]
    assert (*dataset[2:5], dataset.train.size, dataset.test.size) == EXPECTED[name]
    for source in dataset[:2]:
        batch = source.gather(np.arange(source.size))
        assert batch["x"].shape == (source.size, *dataset.shape)
        assert batch["x"].dtype == (np.float32 if dataset.levels is None else np.uint8)
        assert type(batch["x"]) is np.ndarray
        assert dataset.levels is None or batch["x"].max() < dataset.levels
        said = {"condition": dataset.num_classes, "y": dataset.feature_names}
        assert set(batch) == {"x"} | {key for key, value in said.items() if value is not None}
        if "y" in batch:
            assert batch["y"].shape == (source.size,) and batch["y"].dtype == np.float32
            assert np.isfinite(batch["y"]).all() and len(dataset.feature_names) == dataset.shape[0]
        if dataset.num_classes is not None:
            assert batch["condition"].dtype == np.int32
            assert batch["condition"].min() >= 0 and batch["condition"].max() < dataset.num_classes
    assert (dataset.entropy is not None) == (dataset.log_prob is not None) == (name in TOYS)


@pytest.mark.parametrize("name", data.LOADERS)
def test_gathering_a_permutation_permutes(datasets, name):
    source = datasets[name].train
    order = np.random.default_rng(0).permutation(source.size)
    straight, permuted = source.gather(np.arange(source.size)), source.gather(order)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[order], b), straight, permuted)
    assert not np.array_equal(straight["x"], permuted["x"])


@pytest.mark.parametrize("name", ["digits", "8gaussians", "synthetic"])
def test_train_and_test_share_no_example(section, name):
    dataset = data.load(section(name, size=10000))  # as many as the toy sets have for testing
    x = [{row.tobytes() for row in s.gather(np.arange(s.size))["x"]} for s in dataset[:2]]
    assert not x[0] & x[1] and len(x[0]) == dataset.train.size


@pytest.mark.parametrize("name", ["digits", "pinwheel", "synthetic"])
def test_seed_decides_generated_data_only(section, name):
    def rows(seed):
        return [s.gather(np.arange(20))["x"] for s in data.load(section(name, size=20, seed=seed))[:2]]

    jax.tree.map(np.testing.assert_array_equal, rows(1), rows(1))
    assert np.array_equal(rows(1)[0], rows(2)[0]) == np.array_equal(rows(1)[1], rows(2)[1]) == (name == "digits")


def test_the_test_points_of_a_toy_do_not_depend_on_how_many_train(section):
    few, many = (data.load(section("spirals", size=size)).test.gather(np.arange(10))["x"] for size in (1, 77))
    np.testing.assert_array_equal(few, many)


def test_synthetic_classes_have_their_own_mean(section):
    batch = data.load(section("synthetic", shape=(6,), num_classes=3, size=3000)).train.gather(np.arange(3000))
    means = np.stack([batch["x"][batch["condition"] == k].mean(axis=0) for k in range(3)])
    assert np.linalg.norm(means[:, None] - means, axis=-1)[~np.eye(3, dtype=bool)].min() > 0.5
    within = batch["x"] - means[batch["condition"]]
    np.testing.assert_allclose(within.std(), 1, atol=0.03)


@pytest.mark.parametrize("zero", [0, None])
def test_synthetic_without_levels_or_classes(zero):
    config = config_dict.ConfigDict({"shape": (3,), "levels": zero, "num_classes": zero, "size": 4, "seed": 0})
    dataset = synthetic.load(config)
    assert (dataset.num_classes, dataset.levels) == (None, None)
    assert dataset.train.gather(np.arange(4))["x"].dtype == np.float32


def test_digits_are_those_of_scikit_learn(datasets):
    from sklearn.datasets import load_digits

    rows = np.concatenate([s.gather(np.arange(s.size))["x"] for s in datasets["digits"][:2]])
    assert sorted(r.tobytes() for r in rows) == sorted(r.astype(np.uint8).tobytes() for r in load_digits().images)


def test_plain_and_zipped_idx_are_the_same(section, write, tmp_path):
    write.mnist(tmp_path / "plain", suffix="")
    write.mnist(tmp_path / "zipped")
    rows = [data.load(section("mnist", tmp_path / kind)).train.gather(np.arange(12)) for kind in ("plain", "zipped")]
    jax.tree.map(np.testing.assert_array_equal, *rows)


def test_cifar_planes_become_channels(section, write, tmp_path):
    write.cifar(tmp_path / "cifar-10-batches-py")
    planes = np.arange(3072).astype(np.uint8)[None]
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(write.python2_batch(planes, [7]))
    batch = data.load(section("cifar10", tmp_path)).test.gather(np.array([0]))
    assert batch["condition"] == 7
    for row, column, channel in ((0, 1, 0), (1, 0, 2), (31, 31, 1)):
        assert batch["x"][0, row, column, channel] == (1024 * channel + 32 * row + column) % 256


def test_cifar_archive_is_read_like_the_folder_and_not_extracted(section, write, tmp_path):
    write.cifar(tmp_path / "a" / "cifar-10-batches-py")
    (tmp_path / "b").mkdir()
    with tarfile.open(tmp_path / "b" / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a" / "cifar-10-batches-py", "cifar-10-batches-py")
    a, b = (data.load(section("cifar10", tmp_path / kind)).train.gather(np.arange(15)) for kind in "ab")
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert len(list((tmp_path / "b").iterdir())) == 1


def test_imagenet_is_converted_once_and_mapped(section, write, tmp_path, capsys):
    folder = tmp_path / "imagenet32"
    write.imagenet(folder, n=3)
    with np.load(folder / "train_data_batch_10.npz") as file:
        last = file["data"][-1].reshape(3, 32, 32).transpose(1, 2, 0)
    first = data.load(section("imagenet32", tmp_path)).train.gather(np.arange(30))
    assert "converting" in capsys.readouterr().err
    np.testing.assert_array_equal(first["x"][-1], last)
    assert first["condition"].tolist() == [0, 999, 0] * 10
    assert isinstance(np.load(folder / "train_x.npy", mmap_mode="r"), np.memmap)
    for path in folder.glob("*.npz"):  # no longer needed
        path.unlink()
    again = data.load(section("imagenet32", tmp_path)).train.gather(np.arange(30))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert sorted(p.name for p in folder.iterdir()) == ["test_x.npy", "test_y.npy", "train_x.npy", "train_y.npy"]
    assert capsys.readouterr().err == ""


def test_an_npy_header_has_room_for_any_size(tmp_path):
    with open(tmp_path / "x.npy", "wb") as file:
        imagenet._write_header(file, 0, 64)
        room = file.tell()
        file.seek(0)
        imagenet._write_header(file, 10**9, 64)
        assert file.tell() == room


def test_a_tenth_of_x_is_held_out_by_seed(section, tmp_path):
    np.savez(tmp_path / "my.npz", x=np.arange(40.0).reshape(20, 2), y=np.arange(20))

    def parts(seed):
        return [s.gather(np.arange(s.size)) for s in data.load(section("npz", tmp_path / "my.npz", seed=seed))[:2]]

    train, test = parts(0)
    assert (len(train["x"]), len(test["x"])) == (18, 2)
    assert sorted([*train["condition"], *test["condition"]]) == list(range(20))
    np.testing.assert_array_equal(train["x"][:, 0], 2 * train["condition"])  # labels stay with their rows
    assert test["condition"].tolist() == parts(0)[1]["condition"].tolist() != parts(1)[1]["condition"].tolist()


def test_floats_are_continuous(section, tmp_path):
    np.savez(tmp_path / "data.npz", train_x=np.ones((3, 2)), test_x=np.zeros((1, 2)))
    dataset = data.load(section("npz", tmp_path))
    assert (dataset.shape, dataset.levels, dataset.num_classes) == ((2,), None, None)
    assert dataset.train.gather(np.arange(3))["x"].dtype == np.float32


def test_image_folders_have_the_classes_of_their_subfolders(datasets):
    train = datasets["image_folder"].train.gather(np.arange(6))
    assert sorted(train["condition"]) == [0, 0, 0, 1, 1, 1]
    assert (train["x"] == np.array([[0, 0, 255], [255, 0, 0]])[train["condition"]][:, None, None]).all()
    assert datasets["image_folder"].test.gather(np.arange(2))["condition"].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["image_folder", "npz"])
def test_the_first_rows_of_files_that_lie_sorted_are_of_every_class(section, write, tmp_path, name):
    y = np.arange(3).repeat(20)
    for split in ("train", "test"):
        for label in range(3):
            write.images(tmp_path / split / str(label), 20, (80 * label, 0, 0))
    x = 80 * y[:, None, None, None].astype(np.uint8) * np.ones((4, 4, 3), np.uint8)
    np.savez(tmp_path / "data.npz", train_x=x, train_y=y, test_x=x, test_y=y)
    for source in data.load(section(name, tmp_path, image_size=4))[:2]:
        batch = source.gather(np.arange(60))
        assert set(batch["condition"][:15]) == {0, 1, 2} and np.bincount(batch["condition"]).tolist() == [20] * 3
        np.testing.assert_array_equal(batch["x"][:, 0, 0, 0], 80 * batch["condition"])


def test_arrays_that_are_not_sorted_keep_their_order(datasets):
    assert datasets["npz"].train.gather(np.arange(12))["condition"].tolist() == [0, 1, 2] * 4


@pytest.mark.parametrize("classes", [["a", "b"], []], ids=["classes", "flat"])
def test_one_folder_of_images_is_split(section, write, tmp_path, classes):
    for name in classes or ["."]:
        write.images(tmp_path / name, 20 // len(classes or [0]), (1, 2, 3))
    (tmp_path / "README.txt").write_text("not an image, and not meant as one")
    dataset = data.load(section("image_folder", tmp_path, image_size=4))
    assert (dataset.train.size, dataset.test.size, dataset.num_classes) == (18, 2, len(classes) or None)


def test_an_image_is_cropped_to_its_centre_square(tmp_path):
    from PIL import Image

    wide = np.zeros((10, 60, 3), np.uint8)
    wide[:, 17:43] = [10, 200, 30]  # the centre square, and as much around it as the filter of the resizing reaches
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (read_image(tmp_path / "wide.png", 5) == [10, 200, 30]).all()
    Image.new("L", (7, 9), 77).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png", 4) == 77).all()


def test_real_mnist(section, real):
    dataset = data.load(section("mnist", real("mnist")))
    batch = dataset.train.gather(np.arange(60000))
    assert dataset.test.size == 10000
    assert np.bincount(batch["condition"]).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_allclose([batch["x"].mean(), batch["x"].std()], [33.3184, 78.5675], atol=1e-4)


def test_real_cifar(section, real):
    dataset = data.load(section("cifar10", real("cifar10")))
    counts = np.bincount(dataset.test.gather(np.arange(1017))["condition"])
    assert counts.tolist() == [105, 93, 100, 104, 92, 87, 114, 102, 110, 110]
    x = dataset.train.gather(np.arange(500))["x"].astype(float)
    # Neighbours are alike along rows and columns, and so are the channels of a pixel: no axis is astray.
    assert all(np.abs(np.diff(x, axis=axis)).mean() < 0.3 * x.std() for axis in (1, 2, 3))


def test_an_unknown_name_gets_the_nearest_and_all(section):
    with pytest.raises(UserError, match=r"'mnits'; did you mean 'mnist'\?"):
        data.load(section("mnits"))
    with pytest.raises(UserError, match=r"choose one of digits, .*, synthetic\."):
        data.load(section("xyz"))


def test_read_names_the_array_that_is_missing(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(2))
    shutil.copy(tmp_path / "a.npz", tmp_path / "b.npz")
    assert npz.read(tmp_path / "b.npz", ["x"])["x"].tolist() == [0, 0]
    with pytest.raises(UserError, match="no array 'z', only x"):
        npz.read(tmp_path / "a.npz", ["z"])
