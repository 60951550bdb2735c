"""Text of index:value is read as scikit-learn's and as it is written, and lines that are none are named."""

import numpy as np
import pytest
from sklearn import datasets

from research import data
from research.data import libsvm
from research.errors import UserError

TEXT = "1 0:2.5 3:-1e3 # a comment\n\n# no row\n-1.5 qid:7 1:0\n0\n2 2:nan 1:4\n"
MISSING = np.nan
X = [[2.5, MISSING, MISSING, -1e3], [MISSING, 0, MISSING, MISSING], [MISSING] * 4, [MISSING, 4, MISSING, MISSING]]


@pytest.fixture
def file(tmp_path):
    """A function: text -> the path of a file that holds it."""

    def write(text, name="table.libsvm"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_rows_are_as_written(file):
    x, y, w = libsvm.read(file(TEXT))
    np.testing.assert_array_equal(x, np.float32(X))
    np.testing.assert_array_equal(y, np.float32([1, -1.5, 0, 2]))
    assert w is None and x.dtype == y.dtype == np.float32


def test_what_is_absent_may_be_zero_and_columns_more(file):
    x, _, _ = libsvm.read(file(TEXT), columns=6, absent=0)
    wanted = np.pad(np.nan_to_num(np.float32(X)), ((0, 0), (0, 2)))
    wanted[3, 2] = np.nan  # which is written
    np.testing.assert_array_equal(x, wanted)


@pytest.mark.parametrize(
    "text, first, columns", [("1 1:5 2:6\n", "auto", 2), ("1 0:5 2:6\n", "auto", 3), ("1 1:5\n", 1, 1)]
)
def test_the_first_index(file, text, first, columns):
    x, *_ = libsvm.read(file(text), first=first)
    assert x.shape == (1, columns) and x[0, 0] == 5
    assert libsvm.read(file("1 1:5\n"))[0].shape == (1, 2)  # XGBoost's reading: as written


def test_weights_follow_labels(file):
    x, y, w = libsvm.read(file("1:0.5 0:1\n0:2 1:3\n"))
    np.testing.assert_array_equal(y, [1, 0])
    np.testing.assert_array_equal(w, [0.5, 2])
    np.testing.assert_array_equal(x, np.float32([[1, np.nan], [np.nan, 3]]))


def test_both_ways_read_the_same(file, monkeypatch):
    rng = np.random.default_rng(0)
    x = np.where(rng.random((500, 9)) < 0.3, rng.normal(size=(500, 9)), 0)
    x[:, 8], y = 1, rng.normal(size=500)
    datasets.dump_svmlight_file(x, y, str(path := file("")), comment="numbers")
    fast = libsvm.read(path, absent=0)
    calls = []
    monkeypatch.setattr(libsvm, "_fast", lambda lines: calls.append(len(lines)))
    slow = libsvm.read(path, absent=0)
    assert calls and fast[2] is slow[2] is None
    for one, other, wanted in zip(fast, slow, (x, y)):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, wanted.astype(np.float32))


@pytest.mark.parametrize("text", [TEXT, "1:0.5 0:1 2:3\n0:2 1:3\n# half\n\n5:6 2:2\n"])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_blocks_are_parts_of_the_whole(file, text, rows):
    found = list(libsvm.blocks(path := file(text), rows=rows))
    assert max(len(x) for x, *_ in found) <= rows
    for part, whole in zip(zip(*found), libsvm.read(path)):
        np.testing.assert_array_equal(np.concatenate(part), whole)


MISTAKES = {  # text, what the sentence says
    "a word": ("1 0:2\n1 0:2 size:3\n", "line 2 has 'size:3', which should be index:value"),
    "no colon": ("1 0:2\n\n1 4\n", "line 3 has '4', which should be"),
    "a negative index": ("1 -1:2\n", "line 1 has '-1:2'"),
    "no value": ("1 0:\n", "line 1: the value of 0 is '', which is no number"),
    "a value": ("1 0:1\n1 0:1 2:big\n", "line 2: the value of 2 is 'big'"),
    "too large": ("1 0:1e39\n", "line 1: the value of 0 is '1e39', which is no number of float32"),
    "a label": ("1 0:1\nyes 0:1\n", "line 2: the label is 'yes'"),
    "a label of nan": ("nan 0:1\n", "line 1: the label is 'nan'"),
    "an infinite label": ("inf 0:1\n", "line 1: the label is 'inf'"),
    "no label": ("1 0:1\n0:1 1:2\n", "line 2 has a weight, and lines above have none"),
    "a weight": ("1:heavy 0:1\n", "line 1: the weight is 'heavy'"),
    "one weight": ("1:2 0:1\n1 0:1\n", "line 2 has no weight, and lines above have one"),
    "twice": ("1 0:1 0:2\n", "line 1 has an index twice"),
    "empty": ("# nothing\n", "has no rows"),
    "no column": ("1\n0\n", "has no column"),
    "not ascii": ("1 \u00e9:1\n", "line 1 has "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("rows", [1, 100])
def test_mistakes_are_named(file, mistake, rows):
    text, sentence = MISTAKES[mistake]
    with pytest.raises(UserError, match=sentence) as caught:
        list(libsvm.blocks(path := file(text), rows=rows))
    assert str(path) in str(caught.value)


def test_mistakes_of_a_whole_file_are_named(file, tmp_path, section):
    with pytest.raises(UserError, match="line 2 has the index 3; of 2 columns they go from 0"):
        libsvm.read(file("1 1:3\n1 0:1 3:1\n1 3:1\n"), columns=2)
    with pytest.raises(UserError, match="line 4 has the index 0; of 1 columns they go from 1"):
        libsvm.read(file("10 1:10\n\n1 1:1 # 0:1\n1 1:2 00:1\n"), first=1)
    with pytest.raises(UserError, match=r"absent.libsvm cannot be read .*; name the file"):
        libsvm.read(tmp_path / "absent.libsvm")
    with pytest.raises(UserError, match="has weights, which a run does not take"):
        data.load(section("libsvm", file("1:2 0:1\n0:1 0:1\n")))


def test_a_data_set_of_two_files_has_the_columns_of_both(file, section, tmp_path):
    file("1 0:1\n0 2:1\n", "train.libsvm"), file("1 5:1\n", "test.libsvm")
    dataset = data.load(section("libsvm", tmp_path))
    assert (dataset.shape, dataset.train.size, dataset.test.size) == ((6,), 2, 1)
    assert dataset.test.gather(np.arange(1))["x"][0, 5] == 1


def test_the_seed_decides_what_is_held_out_of_one_file(file, section):
    path = file("".join(f"{i} 0:{i}\n" for i in range(40)))
    held = [tuple(data.load(section("libsvm", path, seed=seed)).test.gather(np.arange(4))["y"]) for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]
