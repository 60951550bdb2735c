"""Pairs of ends: read back as they were drawn, held out apart, and refused where they do not fit."""

import json

import numpy as np
import pytest

from configs import base
from research import data
from research.data import pairs
from research.errors import UserError


def write(folder, sizes=(40, 40, 20), shape=(2,), condition=True, count=None):
    """Shards whose x, noise and condition all tell the row's number."""
    folder.mkdir(exist_ok=True)
    (folder / "identity.json").write_text(json.dumps({"num_samples": sum(sizes) if count is None else count}))
    start = 0
    for i, size in enumerate(sizes):
        row = np.arange(start, start + size)
        x = np.broadcast_to(row.reshape(-1, *[1] * len(shape)), (size, *shape)).astype(np.float32)
        labels = {"condition": row % 3} if condition else {}
        np.savez(folder / f"{i:05}.npz", x=x, noise=-x, nfe=7.0, **labels)
        start += size
    return folder


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


def test_pairs_of_two_sets_are_partners(tmp_path):
    for file in write(tmp_path).glob("*.npz"):
        with np.load(file) as old:
            np.savez(file, **{"source" if name == "noise" else name: old[name] for name in old.files})
    batch = pairs.load(tmp_path, (2,))[0].gather(np.array([7, 50]))
    assert set(batch) == {"x", "partner", "condition"}
    np.testing.assert_array_equal(batch["partner"], -batch["x"])


def test_shards_that_lie_beyond_the_count_are_not_read(tmp_path):
    train, held = pairs.load(write(tmp_path, count=80), (2,))
    assert train.size + held.size == 80


def remove(folder):
    (folder / "00001.npz").unlink()


def truncate(folder):
    file = folder / "00002.npz"
    file.write_bytes(file.read_bytes()[:-300])


def unknown(folder):
    (folder / "identity.json").write_text("{}")


DAMAGES = {"shard 1 of": remove, "shard 2 of": truncate, "holds no pairs; draw them by launch.reflow": unknown}


@pytest.mark.parametrize("message", DAMAGES)
def test_damage_is_named(tmp_path, message):
    DAMAGES[message](write(tmp_path))
    with pytest.raises(UserError, match=message):
        pairs.load(tmp_path, (2,))


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
