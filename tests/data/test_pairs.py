"""Pairs of ends: read back as they were drawn, held out apart, and refused where they do not fit."""

import json

import numpy as np
import pytest

from configs import base
from research import data
from research.data import lanes, pairs
from research.errors import UserError


def write(folder, sizes=(40, 40, 20), shape=(2,), condition=True, count=None):
    """Shards whose x, noise and condition all tell the row's number."""
    folder.mkdir(exist_ok=True)
    identity = {"num_samples": sum(sizes) if count is None else count, "batch": sizes[0]}
    (folder / "identity.json").write_text(json.dumps(identity))
    start = 0
    for i, size in enumerate(sizes):
        row = np.arange(start, start + size)
        x = np.broadcast_to(row.reshape(-1, *[1] * len(shape)), (size, *shape)).astype(np.float32)
        labels = {"condition": row % 3} if condition else {}
        np.savez(folder / f"{i:05}.npz", x=x, noise=-x, nfe=7.0, **labels)
        start += size
    return folder


@pytest.fixture(params=["in memory", "on disk"])
def kept(request, monkeypatch):
    """Where the pairs of a test are, as if those on disk were too many to be read at once."""
    if request.param == "on disk":
        monkeypatch.setattr(pairs, "IN_MEMORY", 0)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("condition", [True, False])
def test_every_pair_is_there_once_and_whole(tmp_path, condition):
    train, held = pairs.load(write(tmp_path, condition=condition), (2,))
    assert (train.size, held.size) == (90, 10)
    rows = np.random.default_rng(0).permutation(90)
    batch = train.gather(rows)
    np.testing.assert_array_equal(batch["x"][:, 0], rows)
    np.testing.assert_array_equal(batch["noise"], -batch["x"])
    np.testing.assert_array_equal(held.gather(np.arange(10))["x"][:, 1], np.arange(90, 100))
    assert set(batch) == {"x", "noise"} | ({"condition"} if condition else set())
    if condition:
        np.testing.assert_array_equal(batch["condition"], rows % 3)
        assert batch["condition"].dtype == np.int32


@pytest.mark.usefixtures("kept")
def test_pairs_of_two_sets_are_partners(tmp_path):
    for file in write(tmp_path).glob("*.npz"):
        with np.load(file) as old:
            np.savez(file, **{"source" if name == "noise" else name: old[name] for name in old.files})
    batch = pairs.load(tmp_path, (2,))[0].gather(np.array([7, 50]))
    assert set(batch) == {"x", "partner", "condition"}
    np.testing.assert_array_equal(batch["partner"], -batch["x"])


@pytest.mark.usefixtures("kept")
def test_shards_that_lie_beyond_the_count_are_not_read(tmp_path):
    (write(tmp_path, count=80) / "00002.npz").unlink()
    train, held = pairs.load(tmp_path, (2,))
    assert (train.size, held.size) == (72, 8)
    np.testing.assert_array_equal(held.gather(np.arange(8))["x"][:, 0], np.arange(72, 80))


@pytest.mark.parametrize("processes", [1, 2])
def test_an_epoch_of_pairs_on_disk_has_each_once_and_reads_each_shard_about_once(tmp_path, monkeypatch, processes):
    write(tmp_path, sizes=(64,) * 40)
    monkeypatch.setattr(pairs, "IN_MEMORY", 0)
    monkeypatch.setattr(lanes, "MEMORY", 64 * 20 * 4)  # four shards
    monkeypatch.setattr(pairs, "CACHE", 4 * lanes.MEMORY)
    read, original = [], pairs._read
    monkeypatch.setattr(pairs, "_read", lambda folder, i: read.append(i) or original(folder, i))
    seen = []
    for process in range(processes):
        train, _ = pairs.load(tmp_path, (2,))
        batches = data.iterate(train, 64, seed=0, process_index=process, process_count=processes)
        seen.append(np.concatenate([next(batches)["x"][:, 0] for _ in range(36)]))  # 2304 rows are an epoch
    rows = np.concatenate(seen)
    np.testing.assert_array_equal(np.sort(rows), np.arange(2304))
    assert (np.diff(seen[0]) != 1).mean() > 0.9  # in no order
    assert len(read) <= processes * (36 + 20)  # 8 batches are read ahead, into the next epoch


def test_pairs_on_disk_and_in_memory_train_the_same_rows(tmp_path, monkeypatch):
    there = pairs.load(write(tmp_path), (2,))
    monkeypatch.setattr(pairs, "IN_MEMORY", 0)
    rows = np.random.default_rng(1).integers(10, size=50)
    for a, b in zip(there, pairs.load(tmp_path, (2,))):
        for name, x in a.gather(rows).items():
            np.testing.assert_array_equal(x, b.gather(rows)[name])


def remove(folder):
    (folder / "00001.npz").unlink()


def truncate(folder):
    file = folder / "00002.npz"
    file.write_bytes(file.read_bytes()[:-300])


def unknown(folder):
    (folder / "identity.json").write_text("{}")


DAMAGES = {"shard 1 of": remove, "shard 2 of": truncate, "holds no pairs; draw them by launch.reflow": unknown}


@pytest.mark.parametrize("message", DAMAGES)
def test_damage_is_named(tmp_path, monkeypatch, message):
    DAMAGES[message](write(tmp_path))
    with pytest.raises(UserError, match=message):
        pairs.load(tmp_path, (2,))
    monkeypatch.setattr(pairs, "IN_MEMORY", 0)  # damage shows when it is read
    with pytest.raises(UserError, match=message):
        pairs.load(tmp_path, (2,))[0].gather(np.arange(89))


def test_pairs_of_another_shape_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"have shape \(2,\), the data \(8, 8, 1\)"):
        pairs.load(write(tmp_path), (8, 8, 1))


def toy(**fields):
    return data.load(base.update(base.data("two_moons"), size=64, **fields))


def test_a_data_set_with_pairs_keeps_its_own_examples(tmp_path):
    dataset, plain = toy(pairs=str(write(tmp_path))), toy()
    rows = np.arange(8)
    np.testing.assert_array_equal(dataset.train.gather(rows)["x"], plain.train.gather(rows)["x"])
    assert [source.size for source in dataset.fitted] == [90, 10]
    assert [source.size for source in plain.fitted] == [64, 10000] and plain.pairs is None


def test_examples_bring_one_of_the_other_set():
    dataset, plain = toy(source="8gaussians"), toy()
    other = data.load(base.update(base.data("8gaussians"), size=64, seed=1))
    rows = np.array([5, 3, 60])
    batch = dataset.train.gather(rows)
    np.testing.assert_array_equal(batch["x"], plain.train.gather(rows)["x"])
    np.testing.assert_array_equal(batch["source"], other.train.gather(rows)["x"])
    assert batch["condition"].tolist() == plain.train.gather(rows)["condition"].tolist()
    assert dataset.source[1].size == 10000
    np.testing.assert_array_equal(dataset.source[1].gather(rows)["x"], other.test.gather(rows)["x"])


def test_a_set_to_itself_is_not_the_same_draws():
    batch = toy(source="two_moons").train.gather(np.arange(64))
    assert abs(np.corrcoef(batch["x"][:, 0], batch["source"][:, 0])[0, 1]) < 0.5


def test_sets_of_two_kinds_are_refused():
    with pytest.raises(UserError, match="data.source 'digits' has examples of shape"):
        toy(source="digits")
    with pytest.raises(UserError, match="data.name is '8gaussian'; did you mean '8gaussians'"):
        toy(source="8gaussian")
