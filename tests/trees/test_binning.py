"""Borders are those of the peers and of hand-made columns, codes count the borders below, and mistakes are named."""

import json
import pathlib

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from sklearn.datasets import load_diabetes

from research.errors import UserError
from research.trees import binning, blocks, kinds, sketch

PEERS = json.loads((pathlib.Path(__file__).parents[1] / "peers" / "borders.json").read_text())
X = load_diabetes().data[:, PEERS["columns"]].astype(np.float32)
SPARSE = X.copy()
SPARSE[tuple(np.transpose(PEERS["holes"]))] = np.nan
TOP = np.finfo(np.float32).max


def column(*values):
    return np.array(values, np.float32)[:, None]


def borders(values, kind="quantile", **options):
    return binning.find(column(*values), kind, **options).values[0].tolist()


def same(a, b):
    assert a[1:] == b[1:]
    for ours, theirs in zip(a.values, b.values, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("case", PEERS["cases"], ids=lambda c: f"{c['kind']}-{c['count']}-{c['missing']}")
def test_borders_are_those_of_the_peers(case):
    x = X if case["missing"] == "forbid" else SPARSE
    weight = np.array(PEERS["weights"]) if case.get("weighted") else None
    found = binning.find(x, case["kind"], case["count"], weight, case["missing"])
    for ours, theirs in zip(found.values, case["borders"], strict=True):
        if case["kind"] == "xgboost":  # theirs start below all values and end above all
            ours = ours[:-1] if case["missing"] == "learn" else ours
            np.testing.assert_array_equal(ours, np.array(theirs[1:-1], np.float32))
        else:  # from a text file, with the ends of float32 for infinity
            np.testing.assert_allclose(np.clip(ours, -TOP, TOP), theirs, rtol=2e-7, atol=1e-9)


def test_borders_by_hand():
    assert borders([3, 1, 2, 2]) == [1.5, 2.5]
    assert borders([0, 0, 0, 0, 0, 0, 1, 2, 3, 4], count=1) == [0.5]  # the median is 0, with the least value
    assert borders([1, 2, 3, 4], count=1) == [2.5]
    assert borders([1, 2, 3, 4], count=1, weight=[1, 1, 1, 9]) == [3.5]
    assert borders([0, 1, 10], "uniform", count=4) == [2, 4, 6, 8]
    assert borders([1, 2, 4, 8], "exact", count=1) == [1.5, 3, 6]
    assert borders([0, 0, 0, 1, 2, 3, 4, 5], "greedy_log_sum", count=1) == [1.5]  # 4 | 4
    assert borders([0, 0, 0, 0, 0, 1, 2, 3], "greedy_log_sum", count=1) == [0.5]  # 5 | 3: the only place beside zeros
    assert borders([1, 2, 4], "xgboost") == [2, 4]


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_column_of_one_value_has_no_borders(kind):
    found = binning.find(np.stack([np.full(9, 4.0), np.arange(9)], axis=1), kind)
    assert found.counts[0] == 0 < found.counts[1]
    assert not binning.apply(found, [[-1e9, 0], [1e9, 0], [np.nan, 0]])[0].any()


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("count", [1, 7, 300])
def test_borders_ascend_part_the_data_and_are_few(kind, count):
    for x in (X, X.astype(np.float32) * 1e-38, np.round(X * 50)):
        found = binning.find(x, kind, count)
        for f, values in enumerate(found.values):
            assert kind == "exact" or len(values) <= count
            assert (np.diff(values) > 0).all() and np.isfinite(values).all() and values.dtype == np.float32
            codes = np.unique(binning.apply(found, x)[f])
            assert codes[0] == 0 and codes[-1] == len(values)
            assert kind == "uniform" or len(codes) == len(values) + 1  # no bin is empty


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("count", [3, 40])
def test_a_weight_is_a_number_of_copies_and_the_order_of_rows_is_nothing(kind, count):
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = binning.find(X, kind, count, weight)
    same(weighted, binning.find(np.repeat(X, weight, axis=0), kind, count))
    same(weighted, binning.find(X[::-1], kind, count, weight[::-1]))


@pytest.mark.parametrize("kind", ["quantile", "greedy_log_sum", "exact", "xgboost"])
def test_a_monotone_map_of_the_data_leaves_the_codes(kind):
    x = np.round(X * 30)
    codes = [binning.apply(binning.find(z, kind, 20), z) for z in (x, np.exp(x), 3 * x - 7)]
    np.testing.assert_array_equal(codes[0], codes[1])
    np.testing.assert_array_equal(codes[0], codes[2])


@pytest.mark.parametrize("side", ["left", "right"])
def test_codes_count_the_borders_below(side):
    found = binning.given([[1, 2, 3], [], [0]], side)
    x = np.array([[0.5, 9, -1], [1, 9, 0], [2.5, 9, -0.0], [3, 9, 1]], np.float32)
    compare = np.greater if side == "left" else np.greater_equal
    expected = [compare(x[:, f, None], values).sum(axis=1) for f, values in enumerate(found.values)]
    np.testing.assert_array_equal(binning.apply(found, x), expected)
    assert found.counts.tolist() == [3, 0, 1] and found.bins == 4


def test_rounding_puts_a_border_below_the_upper_neighbour():
    low = np.float32(1)
    for _ in range(20):
        high = np.nextafter(low, np.float32(2))
        found = binning.find(column(low, high))
        assert binning.apply(found, column(low, high)).tolist() == [[0, 1]]
        low = high


NAN = np.nan
MODES = {  # missing: borders of [1, 2, NaN] and [1, 2, 3], the codes of NaN, 1, 9 in each
    "min": ([-np.inf, 1.5], [1.5, 2.5], [0, 1, 2], [0, 0, 2]),
    "max": ([1.5, np.inf], [1.5, 2.5], [2, 0, 1], [2, 0, 2]),
    "learn": ([1.5, np.inf], [1.5, 2.5, np.inf], [3, 0, 1], [3, 0, 2]),
}


@pytest.mark.parametrize("missing", MODES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_missing_values_have_a_place_of_their_own(missing, side):
    found = binning.find(np.array([[1, 1], [2, 2], [NAN, 3]]), missing=missing)._replace(side=side)
    first, second, *codes = MODES[missing]
    assert [values.tolist() for values in found.values] == [first, second]
    assert found.has_missing == (True, False)
    assert binning.apply(found, [[NAN, NAN], [1, 1], [9, 9]]).tolist() == codes
    same(binning.given(found.values, side, missing), found._replace(has_missing=(True, missing == "learn")))


def test_an_empty_column_parts_what_is_missing_from_the_rest():
    for missing, codes in (("min", [0, 1]), ("max", [1, 0]), ("learn", [1, 0])):
        found = binning.find(column(NAN, NAN), missing=missing)
        assert binning.apply(found, column(NAN, 5)).tolist() == [codes]


def test_codes_are_as_small_as_they_can_be():
    x = np.arange(1000.0)[:, None]
    assert binning.apply(binning.find(x, count=255), x).dtype == np.uint8
    codes = binning.apply(binning.find(x, "exact"), x)
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes[0], np.arange(1000))
    with pytest.raises(UserError, match="column 0 has 70000 values; choose a kind"):
        binning.find(np.arange(70000.0)[:, None], "exact")


# Streams


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_blocks_give_what_the_whole_table_gives(kind):
    weight = np.random.default_rng(0).integers(1, 4, len(X))
    whole = binning.find(SPARSE, kind, 30, weight, "learn")
    parts = np.array_split(np.arange(len(X)), 7)
    same(binning.find(((SPARSE[i], weight[i]) for i in parts), kind, 30, missing="learn"), whole)
    codes = binning.apply(whole, (SPARSE[i] for i in parts))
    np.testing.assert_array_equal(codes, binning.apply(whole, SPARSE))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A folder of two Parquet files, of several row groups, with a label and weights among the columns."""
    folder = tmp_path_factory.mktemp("shards")
    for i, rows in enumerate((slice(300), slice(300, None))):
        table = {f"f{f}": pyarrow.array(x, from_pandas=True) for f, x in enumerate(SPARSE[rows].T)}  # NaN as null
        table |= {"y": np.arange(len(X))[rows], "w": np.arange(len(X))[rows] % 3}
        pyarrow.parquet.write_table(pyarrow.table(table), folder / f"{i}.parquet", row_group_size=64)
    return folder


def test_parquet_files(shards):
    names = ("f3", "f0")
    found = binning.find(shards, count=20, names=names, weight="w")
    x = SPARSE[:, [3, 0]]
    same(found, binning.find(x, count=20, names=names, weight=np.arange(len(X)) % 3))
    np.testing.assert_array_equal(binning.apply(found, shards), binning.apply(found, x))
    files = [str(shards / "1.parquet"), shards / "0.parquet"]
    np.testing.assert_array_equal(binning.apply(found, files)[:, -300:], binning.apply(found, x[:300]))
    assert binning.find(shards, weight="w").names == ("f0", "f1", "f2", "f3", "f4", "y")


def test_the_error_of_a_long_stream_is_bounded_and_its_bits_are_fixed():
    rng = np.random.default_rng(0)
    x, weight, size = rng.normal(size=50000).astype(np.float32), rng.uniform(0.1, 3, 50000), 200
    x[::5] = 1  # a heavy value keeps its weight

    def run():
        levels = []
        for i in np.array_split(np.arange(len(x)), 100):
            levels = sketch.add(levels, sketch.summarise(x[i], weight[i]), size)
        assert sum(len(held[0]) for held in levels if held) <= size * 7
        return sketch.total(levels)

    values, weights = run()
    for a, b in zip(run(), (values, weights)):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(weights.sum(), weight.sum())
    assert (values.min(), values.max()) == (x.min(), x.max())
    off = np.array([weights[values <= v].sum() - weight[x <= v].sum() for v in values]) / weight.sum()
    assert 0.3 / size < np.abs(off).max() < 3 / size < (2 + np.log2(100)) / (size - 1)  # measured: 2.2 / size
    assert weights[values == 1] > weight[::5].sum()


def test_pruning_keeps_the_ends_and_the_weight():
    for n in (5, 11, 100, 1000):
        weight = np.random.default_rng(n).uniform(size=n)
        values, weights = sketch.prune(sketch.summarise(np.arange(n, dtype=np.float32), weight), 10)
        assert min(n, 7) <= len(values) <= 10 and (values[0], values[-1]) == (0, n - 1)
        np.testing.assert_allclose(weights.sum(), weight.sum())
        np.testing.assert_allclose(np.cumsum(weights), np.cumsum(weight)[values.astype(int)])


# Frames


class Frame:
    """As much of a pandas frame as is needed, where there is no pandas."""

    def __init__(self, table):
        self.columns, self.iloc = list(table), self
        self.arrays = list(table.values())

    def __getitem__(self, place):
        array = self.arrays[place[1]]

        class Series:
            dtype = array.dtype

            def to_numpy(self, dtype, na_value=None):
                return array.astype(dtype)

        return Series()


def frames():
    yield Frame
    try:
        import pandas
    except ImportError:
        return
    yield pandas.DataFrame


@pytest.mark.parametrize("frame", list(frames()))
def test_frames_have_names_that_are_checked(frame):
    table = {"age": np.array([1, 2, 3]), "sex": np.array([True, False, False]), "bmi": np.array([NAN, 1, 2])}
    found = binning.find(frame(table))
    x = np.stack(list(table.values()), axis=1)
    assert found.names == ("age", "sex", "bmi")
    same(found._replace(names=None), binning.find(x))
    np.testing.assert_array_equal(binning.apply(found, frame(table)), binning.apply(found, x))
    swapped = frame({name: table[name] for name in ("age", "bmi", "sex")})
    with pytest.raises(UserError, match="column 1 of the table is 'bmi' and should be 'sex'"):
        binning.apply(found, swapped)
    with pytest.raises(UserError, match="has 2 columns; it should have 3, age, sex, bmi"):
        binning.apply(found, frame({name: table[name] for name in ("age", "sex")}))
    text = frame(table | {"sex": np.array([0, None, "F"], object)})
    with pytest.raises(UserError, match="row 2, column 'sex' of the table holds 'F', not a number"):
        binning.find(text)


def test_pandas_numbers_of_its_own():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"a": pandas.array([1, None, 3], "Int64"), "b": pandas.array([True, False, None], "boolean")}
    )
    found = binning.find(frame)
    assert [values.tolist() for values in found.values] == [[-np.inf, 2], [-np.inf, 0.5]]
    with pytest.raises(UserError, match="row 0, column 'a' of the table holds 'x'"):
        binning.find(pandas.DataFrame({"a": pandas.Categorical(["x", "y"])}))


# Mistakes

GOOD = np.array([[1.0, 2], [3, 4]])
MISTAKES = {  # what is called, what its sentence says
    "no rows": (lambda: binning.find(np.zeros((0, 3))), "the table has no rows"),
    "no columns": (lambda: binning.find(np.zeros((3, 0))), "has 0 columns; it should have at least one"),
    "no blocks": (lambda: binning.find(iter([])), "the table has no rows"),
    "one axis": (lambda: binning.find([1, 2]), r"has shape \[2\]; it should be \[rows, columns\]"),
    "ragged": (lambda: binning.find([[1, 2], [3]]), r"the table is not \[rows, columns\]"),
    "text": (lambda: binning.find([["1", "2"]]), "row 0, column 0 of the table holds .*'1'"),
    "text in a block": (
        lambda: binning.find(iter([GOOD, np.array([[1, 2], [3, "b"]], object)])),
        "row 3, column 1 of the table holds 'b', not a number",
    ),
    "complex": (lambda: binning.find([[1j]]), "row 0, column 0 of the table holds .*1j"),
    "infinite": (lambda: binning.find([[1, 2], [3, -np.inf]]), "row 1, column 1 of the table is infinite"),
    "infinite in a block": (
        lambda: binning.find(iter([GOOD, GOOD * np.inf])),
        "row 2, column 0 of the table is infinite",
    ),
    "too large": (lambda: binning.find([[1, 2], [1e39, 3]], names=["a", "b"]), "row 1, column 'a' .* infinite"),
    "forbidden": (
        lambda: binning.find(iter([GOOD, GOOD * NAN]), missing="forbid"),
        "row 2, column 0 of the table is missing",
    ),
    "forbidden later": (
        lambda: binning.apply(binning.find(GOOD, missing="forbid"), [[1, NAN]]),
        "row 0, column 1 of the table is missing",
    ),
    "negative weight": (lambda: binning.find(GOOD, weight=[1, -1]), r"weight of row 1 is -1\.0; it must be 0 or more"),
    "NaN weight": (lambda: binning.find(iter([GOOD, (GOOD, [NAN, 1])])), "weight of row 2 is nan"),
    "few weights": (lambda: binning.find(GOOD, weight=[1]), r"weights have shape \[1\]; there are 2 rows"),
    "no weight": (lambda: binning.find(GOOD, weight=[0, 0]), "all weights are 0"),
    "kind": (lambda: binning.find(GOOD, "quantiles"), "kind is 'quantiles'; did you mean 'quantile'"),
    "missing": (lambda: binning.find(GOOD, missing="mean"), "missing is 'mean'"),
    "count": (lambda: binning.find(GOOD, count=0), "count of borders is 0"),
    "names": (lambda: binning.find(GOOD, names=["a"]), "has 2 columns; it should have 1"),
    "width": (lambda: binning.apply(binning.find(GOOD), [[1, 2, 3]]), "has 3 columns; it should have 2"),
    "width of a block": (lambda: binning.find(iter([GOOD, GOOD[:, :1]])), "has 1 columns; it should have 2"),
    "order of borders": (lambda: binning.given([[1, 2], [2, 2]]), "borders of column 1 do not ascend"),
    "NaN border": (lambda: binning.given([[1, NAN]]), "borders of column 0 do not ascend"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake):
    call, sentence = MISTAKES[mistake]
    with pytest.raises(UserError, match=sentence):
        call()


def test_mistakes_in_parquet_files(shards, tmp_path):
    with pytest.raises(UserError, match="has no column 'f9'"):
        binning.find(shards, names=["f0", "f9"])
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        binning.find(tmp_path / "absent.parquet")
    with pytest.raises(UserError, match=r"holds no \.parquet file"):
        binning.find(tmp_path)
    pyarrow.parquet.write_table(pyarrow.table({"a": [1.0, 2.0], "b": ["u", "v"]}), tmp_path / "text.parquet")
    with pytest.raises(UserError, match="row 0, column 'b' of the table holds 'u'"):
        binning.find(tmp_path)


def test_reading_never_holds_more_than_a_block(shards, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 50)
    found = list(blocks.read(shards, names=("f1",)))
    assert [block.start for block in found[:3]] == [0, 50, 100]
    assert max(len(block.x) for block in found) == 50
