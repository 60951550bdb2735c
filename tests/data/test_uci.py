"""The UCI regression tables: rows go where the index files say, wherever the files lie, and downloads are checked."""

import hashlib
import shutil

import numpy as np
import pytest

from research import data
from research.data import uci
from research.errors import UserError

PARTS = ("train", "test")
SIZES = {  # of each official table: rows to train, rows to test, columns
    "bostonHousing": (455, 51, 14),
    "concrete": (927, 103, 9),
    "energy": (691, 77, 9),
    "power-plant": (8611, 957, 5),
    "wine-quality-red": (1439, 160, 12),
    "yacht": (277, 31, 7),
}


def rows(source):
    return source.gather(np.arange(source.size))["x"]


def indices(folder, split):
    return [np.array((folder / f"index_{part}_{split}.txt").read_text().split(), int) for part in PARTS]


@pytest.mark.parametrize("split", [0, 1, 2])
def test_rows_are_those_of_the_split_in_its_order(section, write, tmp_path, split):
    write.uci(tmp_path / "yacht", rows=30, columns=7, splits=3)
    dataset = data.load(section("uci_regression", tmp_path, table="yacht", split=split))
    expected = indices(tmp_path / "yacht", split)
    assert len(expected[1]) == 3
    for source, index in zip(dataset[:2], expected):
        np.testing.assert_array_equal(rows(source), (index[:, None] + np.arange(7) / 100).astype(np.float32))


def test_tabs_blank_lines_and_exponents_are_read(tmp_path):
    (tmp_path / "data.txt").write_text("\t1.0 \t-2e1\n\n3  .5\t\r\n\n")
    found = uci.read_table(tmp_path / "data.txt", 2)
    np.testing.assert_array_equal(found, [[1, -20], [3, 0.5]])
    assert found.dtype == np.float32


def test_the_seed_decides_nothing(section, write, tmp_path):
    write.uci(tmp_path / "power-plant")
    a, b = (data.load(section("uci_regression", tmp_path, seed=seed)) for seed in (0, 1))
    np.testing.assert_array_equal(rows(a.train), rows(b.train))


def test_the_last_column_may_be_the_target(section, write, tmp_path):
    write.uci(tmp_path / "power-plant")
    both = [data.load(section("uci_regression", tmp_path, target=target)) for target in (False, True)]
    assert both[1].shape == (4,) and len(both[1].feature_names) == 4
    for whole, source in zip(both[0][:2], both[1][:2]):
        batch = source.gather(np.arange(source.size))
        np.testing.assert_array_equal(np.column_stack([batch["x"], batch["y"]]), rows(whole))


PLACES = ["uci_regression/power-plant", "uci_regression/power-plant/data", "power-plant", "power-plant/data"]


@pytest.mark.parametrize("place", range(len(PLACES)))
def test_files_are_found_in_any_place_and_the_first_goes_first(section, write, tmp_path, place):
    for i in range(place, len(PLACES)):  # a table of its own size in this place and in all that come after
        write.uci(tmp_path / PLACES[i], rows=10 * (i + 1))
    assert data.load(section("uci_regression", tmp_path)).train.size == 9 * (place + 1)


@pytest.fixture
def served(write, site, monkeypatch):
    """The folder of a web server with a table of 40 rows, two splits and true checksums."""
    folder, address = site
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write.uci(folder / "energy" / "data", rows=40, splits=2)
    raw = (folder / "energy" / "data" / "data.txt").read_bytes()
    monkeypatch.setattr(uci, "URL", address)
    monkeypatch.setitem(uci.TABLES, "energy", (40, 5, f"sha256:{hashlib.sha256(raw).hexdigest()}"))
    return folder / "energy" / "data"


def test_download_of_one_split(section, served, tmp_path, capsys):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "data.txt").write_text("of another data set")
    dataset = data.load(section("uci_regression", tmp_path / "new", table="energy", split=1))
    np.testing.assert_array_equal(rows(dataset.test)[:, 0], indices(served, 1)[1])
    here = {path.name: path.read_bytes() for path in (tmp_path / "new" / "uci_regression" / "energy").iterdir()}
    assert here == {n: (served / n).read_bytes() for n in ("data.txt", "index_train_1.txt", "index_test_1.txt")}
    assert capsys.readouterr().err.count("downloading") == 3
    shutil.rmtree(served)  # found from now on, with no use for the site
    data.load(section("uci_regression", tmp_path / "new", table="energy", split=1))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["data.txt", "index_train_0.txt", "index_test_0.txt"])
def test_another_file_than_the_official_one_is_not_kept(section, served, tmp_path, name):
    (served / name).write_bytes((served / name).read_bytes().replace(b"7", b"8", 1))
    with pytest.raises(UserError, match=f"energy/data/{name} arrived with the checksum"):
        data.load(section("uci_regression", tmp_path / "new", table="energy"))
    assert not (tmp_path / "new" / "uci_regression" / "energy" / name).exists()


@pytest.mark.parametrize("name", ["index_train_0.txt", "index_test_0.txt"])
def test_two_splits_do_not_mix(section, write, tmp_path, name):
    folder = tmp_path / "power-plant"
    write.uci(folder, rows=100, splits=2)
    shutil.copy(folder / name.replace("0", "1"), folder / name)
    with pytest.raises(UserError, match="should name each of 100 rows once"):
        data.load(section("uci_regression", tmp_path))


def test_every_table_of_this_file_is_one_of_the_loader():
    assert set(SIZES) == set(uci.TABLES)
    for table, (train, test, columns) in SIZES.items():
        assert uci.TABLES[table][:2] == (train + test, columns)
        assert uci.held_out(train + test) == test


@pytest.mark.parametrize("table", SIZES)
def test_real_files_are_those_of_the_checksums(real, table):
    folder, (count, _, checksum) = real("uci_regression") / "uci_regression" / table, uci.TABLES[table]

    def digest(name):
        return f"sha256:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}"

    assert digest("data.txt") == checksum
    for split in (0, 1, 19):
        for part in PARTS:
            assert digest(f"index_{part}_{split}.txt") == uci.index_checksum(count, split, part)


@pytest.mark.parametrize("table", SIZES)
def test_real_tables(section, real, table):
    tables = [data.load(section("uci_regression", real("uci_regression"), table=table, split=s)) for s in (0, 7, 19)]
    for dataset in tables:
        assert (dataset.train.size, dataset.test.size, *dataset.shape) == SIZES[table]
        assert (dataset.num_classes, dataset.levels) == (None, None)
    whole = [np.concatenate([rows(source) for source in dataset[:2]]) for dataset in tables]
    assert not np.array_equal(whole[0], whole[1])
    for other in whole[1:]:  # the same rows in another order
        np.testing.assert_array_equal(*(x[np.lexsort(x.T)] for x in (whole[0], other)))


def test_a_real_row(section, real):
    """The power plant's first row is in the training part of the split 0, with its target last."""
    dataset = data.load(section("uci_regression", real("uci_regression")))
    first = np.array([8.34, 40.77, 1010.84, 90.01, 480.48], np.float32)
    index = indices(real("uci_regression") / "uci_regression" / "power-plant", 0)
    source, position = next((s, np.flatnonzero(i == 0)) for s, i in zip(dataset[:2], index) if (i == 0).any())
    np.testing.assert_array_equal(source.gather(position)["x"], first[None])
