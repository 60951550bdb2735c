"""The tables with a target: words become numbers or columns, what is missing stays so, and damage is named."""

import hashlib

import numpy as np
import pytest

from research import data
from research.data import tables
from research.errors import UserError

WRITERS = {"california_housing": "california", "adult": "adult", "agaricus": "agaricus"}


def rows(source):
    batch = source.gather(np.arange(source.size))
    return batch["x"], batch["y"]


@pytest.fixture
def load(section, write, tmp_path):
    """A function: name, seed -> the small table of that name."""

    def run(name, seed=0):
        getattr(write, WRITERS[name])(tmp_path / name)
        return data.load(section(name, tmp_path, seed=seed))

    return run


def test_california(load):
    dataset = load("california_housing")
    assert dataset.feature_names[4] == "total_bedrooms"
    assert dataset.feature_names[8:] == tuple(f"ocean_proximity={coast}" for coast in tables.COASTS)
    x, y = (np.concatenate(part) for part in zip(*map(rows, dataset[:2])))
    order = x[:, 0].argsort()
    x, y = x[order], y[order]
    expected = np.arange(20)[:, None] + np.arange(9) / 100
    expected[3, 4] = np.nan
    np.testing.assert_allclose(x[:, :8], expected[:, :8], rtol=1e-6)
    np.testing.assert_allclose(y, expected[:, 8], rtol=1e-6)
    np.testing.assert_array_equal(x[:, 8:].argmax(axis=1), np.array([1, 3, 0])[np.arange(20) % 3])
    np.testing.assert_array_equal(x[:, 8:].sum(axis=1), 1)


def test_the_seed_decides_what_is_held_out_of_california_alone(load):
    for name, same in (("california_housing", False), ("adult", True), ("agaricus", True)):
        first, again, other = (rows(load(name, seed).test)[1].tolist() for seed in (0, 0, 5))
        assert first == again and (first == other) == same


def test_adult(load):
    dataset = load("adult")
    for source, n in zip(dataset[:2], (12, 6)):
        x, y = rows(source)
        np.testing.assert_array_equal(x[:, 0], np.arange(n))
        np.testing.assert_array_equal(x[:, 1], np.array([1, np.nan, 0])[np.arange(n) % 3])  # Never-worked, Private
        np.testing.assert_array_equal(x[:, 9], 1 - np.arange(n) % 2)  # Female, Male
        assert np.isnan(x[:, 13]).all() and (x[:, 2] == 77516).all()
        np.testing.assert_array_equal(y, np.arange(n) % 4 == 1)
    assert dataset.feature_names[9] == "sex" and dataset.categorical == (1, 3, 5, 6, 7, 8, 9, 13)
    assert load("agaricus").categorical == ()


def test_agaricus(load):
    dataset = load("agaricus")
    assert dataset.feature_names == ("cap=flat", "odor=none", "odor=foul")
    for source, x, y in zip(
        dataset[:2], ([[1, 0, 1], [0, 1, 0], [0, 0, 0]], [[1, 1, 0], [0, 0, 1]]), ([1, 0, 0], [0, 1])
    ):
        found = rows(source)
        assert (found[0].tolist(), found[1].tolist()) == (x, y)


DAMAGES = {  # name, file, what becomes of it, pattern of the sentence
    "a column less": (
        "california_housing",
        "housing.csv",
        lambda s: s.replace("3.0,3.01", "3.01"),
        "has 9 columns in row 3",
    ),
    "a word": ("california_housing", "housing.csv", lambda s: s.replace("3.01", "far"), "row 3 .*'far'"),
    "infinity": ("california_housing", "housing.csv", lambda s: s.replace("3.01", "inf"), "infinity in row 3"),
    "no target": (
        "california_housing",
        "housing.csv",
        lambda s: s.replace("3.08", ""),
        "no median_house_value in row 3",
    ),
    "a coast": (
        "california_housing",
        "housing.csv",
        lambda s: s.replace("NEAR BAY", "LAKE"),
        "has 'LAKE' in row 1, column 9",
    ),
    "empty": ("california_housing", "housing.csv", lambda s: "", "is empty"),
    "not text": ("california_housing", "housing.csv", lambda s: "\u00e9", "is not plain text"),
    "a word of no training row": (
        "adult",
        "adult.test",
        lambda s: s.replace("Sales", "Selling"),
        "'Selling' in row 0, column 6",
    ),
    "a label": ("adult", "adult.data", lambda s: s.replace(">50K", "50K"), "'50K' in row 1, column 14"),
    "a word for a number": ("adult", "adult.data", lambda s: s.replace("77516", "many", 1), "row 0 .*'many'"),
    "a short row": ("adult", "adult.test", lambda s: s.replace(", White", "", 1), "has 14 columns in row 0"),
    "an index of none": (
        "agaricus",
        "agaricus.txt.test",
        lambda s: s.replace("2:1", "4:1"),
        "not of the form .* in row 0",
    ),
    "an index from 0": (
        "agaricus",
        "agaricus.txt.train",
        lambda s: s.replace("2:1", "0:1"),
        "not of the form .* in row 1",
    ),
    "a value": ("agaricus", "agaricus.txt.train", lambda s: s.replace("3:1", "3:2"), "not of the form .* in row 0"),
    "a class": ("agaricus", "agaricus.txt.train", lambda s: s.replace("1 1:1", "2 1:1"), "not of the form .* in row 0"),
    "a feature": ("agaricus", "featmap.txt", lambda s: s.replace("\todor=none", ""), "has 2 columns in row 1"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(section, write, tmp_path, damage):
    name, file, change, sentence = DAMAGES[damage]
    getattr(write, WRITERS[name])(tmp_path)
    path = tmp_path / file
    path.write_text(change(path.read_text()), encoding="utf-8")
    with pytest.raises(UserError, match=sentence) as caught:
        data.load(section(name, tmp_path))
    assert str(caught.value).startswith(str(path)) and "downloaded again." in str(caught.value)


@pytest.mark.parametrize("name", WRITERS)
def test_no_network(section, tmp_path, monkeypatch, name):
    closed = "http://127.0.0.1:1/"  # a port that nothing listens to
    monkeypatch.setitem(tables.FILES, name, {file: (closed + file, "sha256:0") for file in tables.FILES[name]})
    with pytest.raises(UserError, match="download failed .*refused"):
        data.load(section(name, tmp_path))


@pytest.mark.parametrize("name", WRITERS)
def test_real_files_are_those_of_the_checksums(real, name):
    for file, (_, checksum) in tables.FILES[name].items():
        assert checksum == f"sha256:{hashlib.sha256((real(name) / name / file).read_bytes()).hexdigest()}"


REAL = {  # rows to train and test, columns, missing values by column, the means of y
    "california_housing": (18576, 2064, 13, {4: 207}, 206855.8),
    "adult": (32561, 16281, 14, {1: 2799, 6: 2809, 13: 857}, 0.239282),
    "agaricus": (6513, 1611, 126, {}, 0.482029),
}


@pytest.mark.parametrize("name", REAL)
def test_real_tables(section, real, name):
    dataset = data.load(section(name, real(name)))
    train, test, columns, missing, mean = REAL[name]
    assert (dataset.train.size, dataset.test.size, dataset.shape) == (train, test, (columns,))
    x, y = (np.concatenate(part) for part in zip(*map(rows, dataset[:2])))
    counts = np.isnan(x).sum(axis=0)
    assert {int(i): int(counts[i]) for i in np.flatnonzero(counts)} == missing
    np.testing.assert_allclose(y.astype(float).mean(), mean, rtol=1e-6)
    if name == "agaricus":  # no smell is a mushroom that can be eaten, but for 120
        smells = x[:, dataset.feature_names.index("odor=none")] == 1
        assert (smells.sum(), y[smells].sum()) == (3528, 120)
