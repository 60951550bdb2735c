"""Shards: any rows are those of the table, however they are read; epochs are exact; what is broken is one sentence."""

import concurrent.futures
import io
import itertools
import pathlib

import numpy as np
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet

from configs import base
from research import data, uri
from research.data import groups, lanes, manifest
from research.errors import UserError
from research.programs import boosting
from research.trees import binning
from tests.data import shard_files


@pytest.fixture
def load(section):
    return lambda folder: data.load(section("shards", dir=folder))


@pytest.fixture(params=["", "memory://"])
def folder(request, tmp_path):
    return f"{request.param}{tmp_path}"


def take(iterator, count):
    return np.stack([batch["y"] for batch in itertools.islice(iterator, count)]).astype(int)


def test_any_rows_are_those_of_the_table(folder, load):
    x, y = shard_files.numbers(folder)
    found = load(folder)
    rng = np.random.default_rng(1)
    for indices in (np.arange(500), rng.permutation(500), rng.integers(0, 500, 77), np.array([499]), np.arange(40, 50)):
        batch = found.train.gather(indices)
        np.testing.assert_array_equal(batch["x"], x[indices])
        np.testing.assert_array_equal(batch["y"], y[indices])
        assert batch["x"].dtype == batch["y"].dtype == np.float32 and batch["x"].flags.writeable
    assert (found.train.size, found.shape, found.feature_names, found.borders) == (500, (3,), ("c0", "c1", "c2"), None)


def test_only_columns_and_groups_that_are_asked_for_are_read(tmp_path, load, monkeypatch):
    shard_files.numbers(tmp_path)
    read, wanted = [], parquet.ParquetFile.read_row_group

    def read_row_group(file, i, columns=None, **options):
        read.append((i, columns))
        return wanted(file, i, columns, **options)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", read_row_group)
    found = load(tmp_path)
    assert read == []
    found.train.gather(np.array([17, 18, 250, 20, 499]))  # row groups 1 of shard 0, 3 of shard 2, 6 of shard 4
    assert sorted(read) == [(i, ["c0", "c1", "c2", "y"]) for i in (1, 3, 6)]
    found.train.gather(np.array([16, 499]))
    assert len(read) == 3
    assert found.train.gather.groups.read == {1: 1, 17: 1, 34: 1} and "36 rows read" in found.train.gather.groups.say()


def test_groups_that_are_not_used_are_let_go(tmp_path, load, monkeypatch):
    monkeypatch.setattr(groups, "ROWS_KEPT", 40)
    _, y = shard_files.numbers(tmp_path)
    found = load(tmp_path).train
    np.testing.assert_array_equal(found.gather(np.arange(500))["y"], y)
    assert len(found.gather.groups.kept) <= 5 and max(found.gather.groups.read.values()) == 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("missing", ["min", "max", "learn", "forbid"])
def test_codes_come_back_through_the_borders(tmp_path, load, missing, side, bits):
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=300), rng.integers(0, 4, 300), np.ones(300), rng.normal(size=300)], 1)
    if missing != "forbid":
        x[::9, 0] = x[3, 1] = x[::5, 2] = np.nan
    borders = binning.find(x, count=254 if bits == 8 else 280, missing=missing)._replace(side=side)
    codes = binning.apply(borders, x)
    assert codes.dtype.itemsize * 8 == bits
    names = list("abcd")
    columns = [
        shard_files.column(name, borders=[float(v) for v in own if np.isfinite(v)], has_missing=has)
        for name, own, has in zip(names, borders.values, borders.has_missing)
    ]
    table = pa.table({name: own.view(f"i{bits // 8}") for name, own in zip(names, codes)} | {"y": np.zeros(300, "f")})
    fields = {"bins": 280, "missing": missing, "side": side}
    shard_files.write(tmp_path, {"train": table, "test": table}, columns, **fields)
    found = load(tmp_path)
    batch = found.train.gather(np.arange(300))
    np.testing.assert_array_equal(binning.apply(found.borders, batch["x"]), codes)
    np.testing.assert_array_equal(np.isnan(batch["x"]), np.isnan(x))
    assert not np.isinf(batch["x"]).any()


@pytest.mark.parametrize("has", [False, True])
@pytest.mark.parametrize("own, side", [([0, 1], "left"), ([0.5, 1.5], "left"), ([1, 2], "right")])
def test_categories_are_places_in_the_vocabulary(tmp_path, load, own, side, has):
    codes = np.array([1, 2, 3, 0] if has else [0, 1, 2, 2], np.int8)
    columns = [shard_files.column("a", kind="category", vocabulary=["x", "y", "z"], has_missing=has, borders=own)]
    table = pa.table({"a": codes, "y": np.array([0, 1, 1, 0], "f")})
    splits = {"train": table, "test": table}
    shard_files.write(tmp_path, splits, columns, bins=3, classes=["no", "yes"], side=side)
    found = load(tmp_path)
    batch = found.train.gather(np.arange(4))
    np.testing.assert_array_equal(batch["x"][:, 0], [0, 1, 2, np.nan if has else 2])
    np.testing.assert_array_equal(binning.apply(found.borders, batch["x"])[0], codes)
    assert found.categorical == (0,) and found.num_classes == 2
    assert batch["condition"].tolist() == [0, 1, 1, 0] and batch["condition"].dtype == np.int32


@pytest.mark.parametrize("shape", [(5, 4, 3), (6, 6, 1)])
def test_images_are_decoded(folder, load, shape):
    x, labels = shard_files.pictures(folder, shape=shape)
    found = load(folder)
    indices = np.random.default_rng(0).permutation(24)
    batch = found.train.gather(indices)
    np.testing.assert_array_equal(batch["x"], x[indices])
    np.testing.assert_array_equal(batch["condition"], labels[indices])
    assert (found.shape, found.levels, found.num_classes, batch["x"].dtype) == (shape, 256, 2, np.uint8)


@pytest.mark.parametrize("n, batch_size", [(500, 8), (500, 12), (130, 64), (33, 48), (500, 7), (17, 40)])
def test_each_row_comes_once_an_epoch(tmp_path, load, n, batch_size):
    shard_files.numbers(tmp_path, n)
    stream = take(data.iterate(load(tmp_path).train, batch_size, 0), -(-3 * n // batch_size)).ravel()[: 3 * n]
    assert (np.sort(stream.reshape(3, n), axis=1) == np.arange(n)).all()
    assert len({tuple(epoch) for epoch in stream.reshape(3, n)}) == 3


@pytest.mark.parametrize("processes", [2, 4])
def test_batches_do_not_depend_on_the_number_of_processes(tmp_path, load, processes):
    shard_files.numbers(tmp_path, 1000)
    whole, count = take(data.iterate(load(tmp_path).train, 16, 3), 100), 16 // processes
    for p in range(processes):
        part = data.iterate(load(tmp_path).train, 16, 3, process_index=p, process_count=processes)
        np.testing.assert_array_equal(take(part, 100), whole[:, p * count : (p + 1) * count])


def test_processes_read_groups_of_their_own(tmp_path, load):
    shard_files.numbers(tmp_path, 1000)  # 10 shards of 7 groups, 16 lanes
    read = []
    for p in range(4):
        train = load(tmp_path).train
        iterator = data.iterate(train, 16, 0, process_index=p, process_count=4)
        indices = take(iterator, 62).ravel()  # an epoch but for 8 rows
        read.append(set(np.searchsorted(train.gather.groups.starts, indices, "right") - 1))
    # A process has 250 rows of 70 groups: 17.5, and one more at each end.
    assert sum(map(len, read)) <= 70 + 4 and set.union(*read) == set(range(70))


def test_few_groups_are_open_at_once():
    sizes = np.full(4096, 100)
    order = lanes.permutation(sizes, 4, np.random.default_rng(0), 4096 * 100, 64, 0)
    assert lanes.plan(sizes, 4, 64) == (64, 4)
    which = order // 100
    for start in range(0, len(order) - 6400, 6400):
        assert len(set(which[start : start + 6400])) <= 64 * 6
    assert len(set(which[:6400])) > 64 * 1.5


def test_lanes_and_windows_fit_into_memory():
    for rows, row_bytes, batch_size, expected in [
        (8192, 84, 128, (64, 4)),
        (8192, 84, 96, (32, 8)),
        (8192, 84, 7, (1, 256)),
        (8192, 4000, 128, (8, 1)),
        (8192, 10**6, 128, (1, 1)),
        (8192, 1000, 2, (2, 16)),
    ]:
        assert lanes.plan(np.full(1000, rows), row_bytes, batch_size) == expected
    assert lanes.plan(np.full(5, 10), 4, 64) == (4, 64)


def test_rows_of_a_group_are_spread():
    """Of rows that lie side by side on disk few come into one batch, and a lane's order is not that of the disk."""
    order = lanes.permutation(np.full(64, 50), 4, np.random.default_rng(0), 3200, 32, 0)
    assert order.dtype == np.int32
    per_batch = [len(set(batch // 50)) for batch in order.reshape(-1, 32)]
    assert np.mean(per_batch) > 24
    lane = order.reshape(-1, 32)[:, 0]
    assert abs(np.corrcoef(np.arange(len(lane)), lane % 50)[0, 1]) < 0.4


@pytest.mark.parametrize("consumed", [1, 30, 33, 70])
def test_resume_within_an_epoch_goes_on_with_the_same_batches(tmp_path, load, consumed):
    shard_files.numbers(tmp_path)
    iterator, fresh = (data.iterate(load(tmp_path).train, 16, 5) for _ in range(2))
    take(iterator, consumed)
    fresh.set_state(iterator.get_state())
    np.testing.assert_array_equal(take(fresh, 40), take(iterator, 40))


def test_valid_stands_in_for_a_test_set_that_is_empty(tmp_path, load):
    x, _ = shard_files.numbers(tmp_path, 50)
    table = pa.table({"c0": x[:9, 1]})
    for splits, size in [
        ({"train": table, "valid": table[:4], "test": table[:0]}, 4),
        ({"train": table, "valid": table[:4], "test": table[:5]}, 5),
    ]:
        shard_files.write(tmp_path / str(size), splits, [shard_files.column("c0")], target=None)
        assert load(tmp_path / str(size)).test.size == size
    shard_files.write(tmp_path / "none", {"train": table}, [shard_files.column("c0")], target=None)
    with pytest.raises(UserError, match="no rows to valid"):
        load(tmp_path / "none")
    assert load(tmp_path / "4").feature_names is None and set(load(tmp_path / "4").train.gather(np.arange(2))) == {"x"}


def damage(folder, change):
    path = uri.join(folder, "train/00002.parquet")
    content = bytearray(uri.read(path))
    uri.write(path, bytes(change(content)))


def flip(content):
    """One bit of a page's values, which its checksum knows."""
    meta = parquet.read_metadata(io.BytesIO(bytes(content))).row_group(1).column(1)
    content[meta.data_page_offset + meta.total_compressed_size // 2] ^= 1
    return content


BROKEN = {
    "a flipped bit": (flip, "00002.parquet is damaged in row group 1 .*(CRC|crc)"),
    "cut short": (lambda content: content[:-100], "00002.parquet has [0-9,]+ bytes and should have"),
    "no footer": (lambda content: content[:-8] + b"\0" * 8, "00002.parquet is damaged"),
    "another file": (lambda content: content[:0] + content[::-1], "00002.parquet is damaged"),
}


@pytest.mark.parametrize("change, match", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_one_sentence(folder, load, change, match):
    _, y = shard_files.numbers(folder)
    damage(folder, change)
    found = load(folder).train
    with pytest.raises(UserError, match=f"{match}.*make the shards again by launch.prepare"):
        found.gather(np.arange(500))
    np.testing.assert_array_equal(found.gather(np.arange(200))["y"], y[:200])  # the others can be read


def test_a_missing_file_is_one_sentence(folder, load):
    shard_files.numbers(folder)
    fs, path = uri.filesystem(uri.join(folder, "train/00002.parquet"))
    fs.rm_file(path)
    with pytest.raises(UserError, match="00002.parquet is gone, which the manifest lists"):
        load(folder).train.gather(np.arange(500))


def test_a_manifest_of_other_files_is_one_sentence(tmp_path, load):
    shard_files.numbers(tmp_path)
    found = manifest.read(tmp_path)
    found["splits"]["train"][0]["groups"] = [50, 50]
    manifest.write(tmp_path, found)
    with pytest.raises(UserError, match="00000.parquet has other row groups"):
        load(tmp_path).train.gather(np.arange(5))
    shard_files.numbers(tmp_path)
    found = manifest.read(tmp_path)
    manifest.write(tmp_path, found | {"columns": [*found["columns"], shard_files.column("height")]})
    with pytest.raises(UserError, match="00000.parquet has no column 'height'"):
        load(tmp_path).train.gather(np.arange(5))


def test_codes_beyond_the_borders_are_one_sentence(tmp_path, load):
    table = pa.table({"a": np.array([0, 3, 1], np.int8)})
    columns = [shard_files.column("a", borders=[0.5])]
    shard_files.write(tmp_path, {"train": table, "test": table}, columns, target=None, bins=1)
    with pytest.raises(UserError, match="00000.parquet is damaged in row group 0 .*3 is out of bounds"):
        load(tmp_path).train.gather(np.arange(3))


def test_an_image_that_is_none_is_one_sentence(tmp_path, load):
    shard_files.pictures(tmp_path)
    found = manifest.read(tmp_path)
    found["image"]["shape"] = [9, 9, 3]
    manifest.write(tmp_path, found)
    with pytest.raises(UserError, match=r"is \[5, 4, 3\] and not \[9, 9, 3\]"):
        load(tmp_path).train.gather(np.arange(5))
    table = pa.table({"image": [b"no image"] * 3, "label": np.zeros(3, np.int32)})
    image = {"shape": [5, 4, 3], "classes": ["a"]}
    shard_files.write(tmp_path, {"train": table, "test": table}, [], kind="images", target=None, image=image)
    with pytest.raises(UserError, match="cannot be decoded"):
        load(tmp_path).train.gather(np.arange(3))


class Flaky(MemoryFileSystem):
    """A file system whose server is away for the next `failures` of its answers."""

    failures = 0

    def cat_file(self, path, *, start, end, **kwargs):  # s3fs has another argument before them
        if Flaky.failures:
            Flaky.failures -= 1
            raise ConnectionResetError("Connection reset by peer")
        return super().cat_file(path, start, end, **kwargs)


def test_a_server_that_comes_back_changes_nothing(tmp_path, load, monkeypatch):
    waits, folder = [], f"memory://{tmp_path}"
    _, y = shard_files.numbers(folder)
    monkeypatch.setattr(uri.time, "sleep", waits.append)
    monkeypatch.setattr(uri, "filesystem", lambda where: (Flaky(), "/" + where.partition("://")[2].lstrip("/")))
    found = load(folder).train
    Flaky.failures = 3
    np.testing.assert_array_equal(found.gather(np.arange(500))["y"], y)
    assert len(waits) == 3
    found, Flaky.failures = load(folder).train, 10**6
    with pytest.raises(UserError, match="reading memory://.*parquet failed for 15.5 s .*check that the server runs"):
        found.gather(np.arange(5))
    Flaky.failures = 0  # a failure is not kept
    np.testing.assert_array_equal(found.gather(np.arange(5))["y"], y[:5])


def test_threads_share_what_was_read(tmp_path, load):
    _, y = shard_files.numbers(tmp_path, 2000)
    train, rng = load(tmp_path).train, np.random.default_rng(0)
    asked = [rng.integers(0, 2000, 64) for _ in range(200)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for indices, batch in zip(asked, pool.map(train.gather, asked)):
            np.testing.assert_array_equal(batch["y"], y[indices])
    assert max(train.gather.groups.read.values()) == 1


def test_trees_grow_on_stored_codes_as_on_the_values(tmp_path, load):
    """Boosting on codes takes the manifest's borders: the same trees as on values that were binned by them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=400)).astype(np.float32)
    borders = binning.find(x, count=31)
    columns = [shard_files.column(n, borders=v.tolist()) for n, v in zip("abc", borders.values)]
    table = pa.table({n: c.view(np.int8) for n, c in zip("abc", binning.apply(borders, x))} | {"y": y})
    shard_files.write(tmp_path, {"train": table, "test": table[:50]}, columns, bins=31)
    found = load(tmp_path)
    fields = base.gbdt_oblivious()
    fields.borders, fields.border_count = "quantile", 31
    batch = found.train.gather(np.arange(400))
    used = boosting.borders_of(found, batch["x"], fields)
    np.testing.assert_array_equal(binning.apply(used, batch["x"]), binning.apply(borders, x))
    fields.borders = "xgboost"
    with pytest.raises(UserError, match="borders of side 'left', the model asks for 'min' and 'right'"):
        boosting.borders_of(found, batch["x"], fields)


def test_paths_with_a_tilde(tmp_path, load, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shard_files.numbers(pathlib.Path(tmp_path, "s"), 20)
    assert load("~/s").train.gather(np.arange(3))["y"].tolist() == [0, 1, 2]


def test_a_set_that_grows_does_so_between_epochs_and_resumes_exactly(tmp_path, load, monkeypatch):
    """Rows in the order of the epochs that the state tells: each once an epoch; a resumed run repeats what was."""
    monkeypatch.setattr(data.shards, "LOOK_EVERY", -1)
    shard_files.numbers(tmp_path, 100)
    iterator, batches, states = data.iterate(load(tmp_path).train, 8, 0), [], []
    for size in (100, 200, 200, 347):
        shard_files.numbers(tmp_path, size)
        for _ in range(40):
            states.append(iterator.get_state())
            batches.append(next(iterator)["y"].astype(int))
    stream, spans = np.concatenate(batches), iterator.get_state()["spans"]
    assert [span[2] for span in spans] == [100, 200, 347] and spans[0][:2] == [0, 0]
    for (first, start, size), (last, stop, _) in itertools.pairwise(spans):
        assert stop - start == (last - first) * size
        for begin in range(start, stop, size):
            np.testing.assert_array_equal(np.sort(stream[begin : begin + size]), np.arange(size))
    for i in (0, 11, 50, 85, 159):
        fresh = data.iterate(load(tmp_path).train, 8, 0)
        fresh.set_state(states[i])
        known = min(sum(states[i]["spans"][-1][1:]) // 8, 160)  # of what was not decided then the set says now
        if known > i:
            np.testing.assert_array_equal(take(fresh, known - i), batches[i:known])
    whole = data.iterate(load(tmp_path).train, 8, 0)
    whole.set_state(iterator.get_state() | data.iterate(load(tmp_path).train, 8, 0).inner.get_state())
    np.testing.assert_array_equal(take(whole, 160), batches)


def test_of_several_processes_a_set_stays_as_it_was(tmp_path, load, monkeypatch):
    monkeypatch.setattr(data.shards, "LOOK_EVERY", -1)
    shard_files.numbers(tmp_path, 100)
    halves = [data.iterate(load(tmp_path).train, 8, 0, process_index=p, process_count=2) for p in range(2)]
    shard_files.numbers(tmp_path, 200)
    stream = np.concatenate([take(half, 100) for half in halves], axis=1).ravel()
    for begin in range(0, 800, 100):
        np.testing.assert_array_equal(np.sort(stream[begin : begin + 100]), np.arange(100))
    again, alone = (data.iterate(load(tmp_path).train, 8, 0, process_count=p) for p in (2, 1))
    for iterator in (again, alone):
        iterator.set_state(halves[0].get_state())
    rest = take(halves[0], 30)
    np.testing.assert_array_equal(take(again, 30), rest)
    np.testing.assert_array_equal(take(alone, 1)[:, :4], rest[:1])
    assert [span[2] for span in alone.get_state()["spans"]][:1] == [100]
    assert all(span[0] >= 8 for span in alone.get_state()["spans"][1:])  # what is over was of 100 rows


def test_a_set_that_shrank_or_changed_is_one_sentence(tmp_path, load, monkeypatch):
    monkeypatch.setattr(data.shards, "LOOK_EVERY", -1)
    shard_files.numbers(tmp_path, 200)
    iterator = data.iterate(load(tmp_path).train, 50, 0)
    state = iterator.get_state()
    shard_files.numbers(tmp_path, 100)
    with pytest.raises(UserError, match="trained on 200 rows, and there are 100 now"):
        data.iterate(load(tmp_path).train, 50, 0).set_state(state)
    with pytest.raises(UserError, match="has other files than when this began"):
        take(iterator, 9)
