"""The small tables: words become numbers, targets are found, each class stays in training, and damage is named."""

import hashlib

import numpy as np
import pytest

from research import data
from research.data import small
from research.errors import UserError


def path_of(folder, table, change=lambda cells: cells):
    """A file of a table's form in the folder: numbers row + column / 10, words, classes in turn."""
    rows, columns, kind, _ = small.TABLES[table]
    target = small.TARGETS.get(table, columns - 1)
    cells = [[f"{i + j / 10}" for j in range(columns)] for i in range(rows)]
    for i, row in enumerate(cells):
        for j in small.WORDS.get(table, ()):
            row[j] = f"'{'cab'[i % 3]}'"
        row[target] = f"{1 + i % 2}" if kind == "classes" else row[target]
    path = folder / f"{table}.csv"
    path.write_text("\n".join(",".join(row) for row in change(cells)) + "\n")
    return path


def rows(source):
    batch = source.gather(np.arange(source.size))
    return batch["x"], batch["y"]


@pytest.mark.parametrize("table", small.TABLES)
def test_every_table(tmp_path, section, table):
    total, columns, kind, _ = small.TABLES[table]
    path = path_of(tmp_path, table)
    x, y, names, categorical, found = small.read(path, table)
    kept = columns - 1 - len(small.DROPPED.get(table, ()))
    assert x.shape == (total, kept) and len(names) == kept and found == kind and x.dtype == y.dtype == np.float32
    place = np.array([int(name.removeprefix("column ")) for name in names])
    numbers = [i for i, c in enumerate(place) if c not in small.WORDS.get(table, ())]
    np.testing.assert_allclose(x[:, numbers], np.arange(total)[:, None] + place[numbers] / 10, rtol=1e-5)
    for i in set(range(kept)) - set(numbers):
        assert i in categorical
        np.testing.assert_array_equal(x[:, i], np.array([2, 0, 1])[np.arange(total) % 3])
    target = small.TARGETS.get(table, columns - 1)
    np.testing.assert_allclose(y, np.arange(total) % 2 if kind == "classes" else np.arange(total) + target / 10, 1e-5)
    dataset = data.load(section("small_tabular", tmp_path, table=table))
    assert dataset.categorical == categorical
    assert dataset.shape == (kept,) and abs(dataset.test.size - total / 10) < 1
    assert sorted(np.concatenate([rows(part)[0][:, 0] for part in dataset[:2]])) == sorted(x[:, 0])


def test_what_is_missing_is_nan(tmp_path):
    def change(cells):
        cells[3][2], cells[4][1], cells[5][2] = "?", "?", "'nan'"
        return cells

    x = small.read(path_of(tmp_path, "german", change), "german")[0]
    assert np.argwhere(np.isnan(x)).tolist() == [[3, 2], [4, 1], [5, 2]]


def test_each_class_of_two_rows_stays_in_training_and_the_seed_decides_the_rest(tmp_path, section):
    def change(cells):
        for i, row in enumerate(cells):
            row[-1] = "rare" if i in (7, 200) else f"{i % 3}"
        return cells

    path_of(tmp_path, "wheat-seeds", change)
    held = []
    for seed in range(12):
        (_, y), (out, truth) = map(
            rows, data.load(section("small_tabular", tmp_path, table="wheat-seeds", seed=seed))[:2]
        )
        assert set(y) == {0, 1, 2, 3} and len(truth) == 21
        assert (np.bincount(truth.astype(int), minlength=3)[:3] >= 6).all()
        held.append(tuple(out[:, 0]))
    assert len(set(held)) == 12
    again = data.load(section("small_tabular", tmp_path, table="wheat-seeds", seed=3)).test
    assert tuple(rows(again)[0][:, 0]) == held[3]


DAMAGES = {  # of iris: what becomes of its cells, what the sentence says
    "a row less": (lambda cells: cells[1:], "has 149 rows of 5 columns, and should have 150 rows of 5 columns"),
    "a column more": (lambda cells: [[*row, "1"] for row in cells], "has 150 rows of 6 columns"),
    "a short row": (lambda cells: [*cells[:9], cells[9][1:], *cells[10:]], "has 4 columns in row 9.*and 5 in others"),
    "a word": (lambda cells: [*cells[:9], ["big", *cells[9][1:]], *cells[10:]], "'big' in row 9, column 0"),
    "infinity": (lambda cells: [*cells[:9], ["inf", *cells[9][1:]], *cells[10:]], "'inf' in row 9, column 0"),
    "no target": (lambda cells: [*cells[:9], [*cells[9][:4], "?"], *cells[10:]], "no target in row 9"),
    "empty": (lambda cells: [], "has 0 rows of 0 columns"),
    "not text": (lambda cells: [["\u00e9"]], "is not plain text"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(tmp_path, damage):
    change, sentence = DAMAGES[damage]
    path = path_of(tmp_path, "iris", change)
    with pytest.raises(UserError, match=sentence) as caught:
        small.read(path, "iris")
    assert str(caught.value).startswith(str(path)) and "downloaded again." in str(caught.value)


def test_an_unknown_table_and_no_network(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="data.table is 'irises'; did you mean 'iris'"):
        small.read(tmp_path, "irises")
    monkeypatch.setattr(small, "SITE", "http://127.0.0.1:1/")  # a port that nothing listens to
    with pytest.raises(UserError, match="download failed .*refused"):
        small.read(tmp_path, "iris")


REAL = {  # kind, classes, missing values, categorical columns
    "auto_imports": ("numbers", None, 51, 10),
    "breast-cancer": ("classes", 2, 9, 8),
    "ecoli": ("classes", 8, 0, 0),
    "glass": ("classes", 6, 0, 0),
    "horse-colic": ("classes", 2, 1605, 16),
    "sonar": ("classes", 2, 0, 0),
}


@pytest.mark.parametrize("table", REAL)
def test_real_tables(real, table):
    _, y, _, categorical, kind = found = small.read(real(small.NAME), table)
    classes = len(set(y.tolist())) if kind == "classes" else None
    assert (kind, classes, np.isnan(found[0]).sum(), len(categorical)) == REAL[table]


def test_real_files_are_those_of_the_checksums(real):
    for table, (*_, checksum) in small.TABLES.items():
        content = (real(small.NAME) / small.NAME / f"{table}.csv").read_bytes()
        assert checksum == f"sha256:{hashlib.sha256(content).hexdigest()}"
