"""The benchmark of data counts what it says: rows of each way of reading, splits of the peer, hours of the plan."""

import types

import numpy as np
import pytest

from configs import base
from research import data
from research.benchmarks import data as bench
from research.errors import UserError


@pytest.fixture
def small(monkeypatch):
    for name, value in {"ROWS": 3000, "SHARD": 1000, "GROUP": 100, "BATCH": 50, "SINGLE": 5, "ROUNDS": 1}.items():
        monkeypatch.setattr(bench, name, value)


def test_ways_of_reading_and_their_ratios(small, monkeypatch):
    monkeypatch.setattr(bench, "turns", lambda ways: {name: float(way()) for name, way in ways.items()})
    found = bench.reading()
    ways = ("in_order", "scan", "scan_checked", "scan_alone", "shuffled")
    assert found["rows_per_second"] == dict.fromkeys(ways, 3000) | {"one_by_one": 5}
    assert found["in_order_over_scan"] == 1 and found["shuffled_over_one_by_one"] == 600


def test_the_rate_is_the_median_after_a_first_turn(monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", 3)
    clock = iter([0, 9, 9, 10, 10, 12, 12, 16])
    monkeypatch.setattr(bench, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    assert bench.turns({"way": lambda: 8}) == {"way": 4}  # of 8 / 9, then 8, 4 and 2


def test_shards_are_a_data_set(small, tmp_path):
    bench.write_shards(tmp_path, 3000, 4)
    found = data.load(base.update(base.data("shards"), dir=str(tmp_path)))
    assert (found.train.size, found.test.size, found.shape) == (3000, 1000, (4,))


def test_pandas_makes_the_same_splits_and_codes(tmp_path):
    pd = pytest.importorskip("pandas")
    from research.benchmarks.data_peers import by_pandas

    bench.write_csv(tmp_path / "table.csv", 2000, 2)
    by_pandas.prepare(tmp_path / "table.csv", tmp_path / "out", target="y", bins=3, rows_per_shard=400)
    parts = {name: pd.read_parquet(tmp_path / "out" / name) for name in ("train", "valid", "test")}
    assert sum(map(len, parts.values())) == 2000 and abs(len(parts["train"]) - 1600) < 80
    counts = np.bincount(parts["train"]["x0"], minlength=4)
    assert len(list((tmp_path / "out" / "train").iterdir())) == 4 and counts.max() - counts.min() <= 2
    raw = pd.read_csv(tmp_path / "table.csv").set_index("y")["x0"]
    for part in parts.values():  # codes ascend with the numbers
        numbers = raw.loc[[raw.index[np.abs(raw.index - y).argmin()] for y in part["y"]]].to_numpy()
        order = np.argsort(numbers)
        assert (np.diff(part["x0"].to_numpy()[order].astype(int)) >= 0).all()


def test_the_plan_is_arithmetic():
    measured = {20_000: {"csv_bytes": 4e6, "spark": 10.0}, bench.ROWS: {"csv_bytes": 404e6, "spark": 30.0}}
    found = bench.plan(measured)
    assert found["csv_bytes_per_second_and_core"] == 400e6 / 20 / 2
    assert found["rows"] == 10 * 10**12 * bench.ROWS // 404e6
    assert found["hours"]["compute"] == pytest.approx(1e13 / 1e7 / 512 / 3600)
    assert found["hours"]["reading"] == pytest.approx(2e13 / 0.5e9 / 64 / 3600)
    assert found["hours_at_least"] == max(found["hours"].values())


def test_a_part_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv(bench.ONLY, "readin")
    with pytest.raises(UserError, match="did you mean 'reading'"):
        bench.main()
