"""Laws of the batches: every example once an epoch, exact resume, the same batch however many processes share it."""

import itertools
import time

import grain
import numpy as np
import pytest

from research import data
from research.data.source import from_arrays
from research.errors import UserError


def counting(n):
    """A Source whose x tells the index."""
    return from_arrays(np.arange(n))


def take(iterator, count):
    return np.stack([batch["x"] for batch in itertools.islice(iterator, count)])


@pytest.mark.parametrize("n, batch_size", [(10, 5), (10, 4), (7, 3), (5, 12), (1, 3)])
def test_every_index_comes_once_an_epoch(n, batch_size):
    stream = take(data.iterate(counting(n), batch_size, 0), 3 * n).ravel()[: 3 * n].reshape(3, n)
    assert (np.sort(stream, axis=1) == np.arange(n)).all()


def test_epochs_and_seeds_differ():
    first, second = take(data.iterate(counting(50), 50, 0), 2)
    other = take(data.iterate(counting(50), 50, 1), 1)[0]
    assert len({tuple(order) for order in (first, second, other, range(50))}) == 4


def test_a_seed_repeats():
    runs = [take(data.iterate(counting(20), 6, 3), 8) for _ in range(2)]
    np.testing.assert_array_equal(*runs)


def test_next_to_seed_and_epoch_are_not_confused():
    late, early = take(data.iterate(counting(30), 30, 0), 2)[1], take(data.iterate(counting(30), 30, 1), 1)[0]
    assert not np.array_equal(late, early)


def test_each_place_gets_each_index_equally_often():
    n, rounds = 8, 4000
    orders = take(data.iterate(counting(n), n, 0), rounds)
    counts = np.stack([np.bincount(orders[:, place], minlength=n) for place in range(n)])
    # A count is binomial(4000, 1/8): standard deviation 20.9, so 5 of it over 64 counts is a chance in 30 thousand.
    assert np.abs(counts - rounds / n).max() < 5 * np.sqrt(rounds / n * (1 - 1 / n))


@pytest.mark.parametrize("consumed", [0, 1, 7, 23])
def test_resume_goes_on_with_the_same_batches(consumed):
    iterator = data.iterate(counting(17), 4, 5)
    take(iterator, consumed) if consumed else None
    state = iterator.get_state()
    fresh = data.iterate(counting(17), 4, 5)
    next(fresh)
    fresh.set_state(state)
    np.testing.assert_array_equal(take(fresh, 9), take(iterator, 9))


def test_resume_from_a_checkpoint_on_disk(tmp_path):
    import orbax.checkpoint as ocp

    iterator, fresh = (data.iterate(counting(17), 4, 5) for _ in range(2))
    take(iterator, 6)
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(0, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(iterator)))
        manager.wait_until_finished()
        manager.restore(0, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(fresh)))
    np.testing.assert_array_equal(take(fresh, 5), take(iterator, 5))


@pytest.mark.parametrize("process_count", [1, 2, 4])
def test_shards_side_by_side_are_the_batch_of_one_process(process_count):
    whole = take(data.iterate(counting(30), 8, 0), 10)
    shards = [
        take(data.iterate(counting(30), 8, 0, process_index=p, process_count=process_count), 10)
        for p in range(process_count)
    ]
    np.testing.assert_array_equal(np.concatenate(shards, axis=1), whole)


def test_resume_on_another_number_of_processes():
    one = data.iterate(counting(30), 8, 0)
    take(one, 5)
    halves = [data.iterate(counting(30), 8, 0, process_index=p, process_count=2) for p in range(2)]
    for half in halves:
        half.set_state(one.get_state())
    np.testing.assert_array_equal(np.concatenate([take(h, 6) for h in halves], axis=1), take(one, 6))


def test_labels_stay_with_their_x(vectors):
    everything = vectors.gather(np.arange(vectors.size))
    label = {x.tobytes(): k for x, k in zip(everything["x"], everything["condition"])}
    for batch in itertools.islice(data.iterate(vectors, 10, 0), 20):
        assert [label[x.tobytes()] for x in batch["x"]] == batch["condition"].tolist()


def test_a_batch_is_gathered_at_once_and_may_be_written_to():
    calls = []
    source = data.Source(9, lambda indices: calls.append(indices) or {"x": indices * 2})
    batch = next(data.iterate(source, 4, 0))
    batch["x"] += 1
    assert all(indices.dtype == np.int64 and indices.shape == (4,) for indices in calls)


@pytest.mark.parametrize("n, batch_size, sizes", [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 9, [3]), (0, 2, [])])
def test_epochs_goes_once_in_order(n, batch_size, sizes):
    batches = [batch["x"] for batch in data.epochs(counting(n), batch_size)]
    assert [len(b) for b in batches] == sizes
    assert np.concatenate([*batches, []]).tolist() == list(range(n))


MISTAKES = {
    "no batch": (8, {"batch_size": 0}, "batch_size is 0"),
    "negative batch": (8, {"batch_size": -4}, "batch_size is -4"),
    "indivisible": (8, {"batch_size": 6, "process_count": 4}, "multiple of 4"),
    "empty": (0, {"batch_size": 6}, "training set is empty"),
    "seed": (8, {"batch_size": 6, "seed": -1}, "seed is -1"),
}


@pytest.mark.parametrize("n, fields, match", MISTAKES.values(), ids=MISTAKES)
def test_mistakes(n, fields, match):
    with pytest.raises(UserError, match=match):
        data.iterate(counting(n), **({"seed": 0} | fields))


def test_an_error_while_gathering_arrives_as_it_is():
    def gather(indices):
        raise UserError("file 3 cannot be read.")

    with pytest.raises(UserError) as caught:
        next(data.iterate(data.Source(9, gather), 4, 0))
    assert str(caught.value) == "file 3 cannot be read."


def test_it_keeps_up(section):
    iterator = data.iterate(data.load(section("digits")).train, 128, 0)
    take(iterator, 20)
    start = time.process_time()  # of this process alone, as the machine may be busy
    take(iterator, 300)
    assert (time.process_time() - start) / 300 < 1 / 300
