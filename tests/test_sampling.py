"""Samples come in batches that repeat, split over devices, and are kept as shards; bad ones name the step."""

import json
import os
import signal
import types

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from research import data, evaluation, sampling
from research.contracts import Model, Samples
from research.errors import UserError

W = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)


def experiment(sample, levels=None):
    """An Experiment of three classes, as far as sampling looks at it."""
    config = {"data": {"num_classes": 3, "levels": levels}, "model": {"name": "fake"}, "sampler": {"name": "euler"}}
    config = ml_collections.ConfigDict(config | {"mesh": {"data": -1}})
    dataset = types.SimpleNamespace(source=None, shape=(2,))
    return types.SimpleNamespace(config=config, dataset=dataset, model=Model(None, None, sample, None))


def walk(params, key, n, condition=None, *, scale=1.0, trajectory=False):
    """Four noisy steps through a small net, shifted by the label."""
    x = jax.random.normal(key, (n, 2)) + (0 if condition is None else condition[:, None])
    for i in range(4):
        x = x + 0.1 * jnp.tanh(x @ params) @ params.T + scale * jax.random.normal(jax.random.fold_in(key, i), x.shape)
    return Samples(x, None, jnp.float32(4))


@pytest.fixture
def small(monkeypatch):
    """Batches of at most 96."""
    monkeypatch.setattr(sampling, "SAMPLING_BATCH", 96)


@pytest.fixture
def one_device(monkeypatch):
    monkeypatch.setattr(sampling, "SPLIT_FROM", 10**9)


@pytest.mark.parametrize(
    "number, size, count", [(1, 1, 1), (1024, 1024, 1), (1025, 513, 2), (50000, 1021, 49), (2 * 10**6, 1024, 1954)]
)
def test_sizes(number, size, count):
    assert sampling.sizes(number) == (size, count)


def test_a_batch_is_the_model_at_its_own_key(small, one_device):
    """The rule that saved samples rest on: sizes, keys and labels of the batches, bit for bit."""
    condition = np.arange(200, dtype=np.int32) % 3
    x, nfe = evaluation.sample(experiment(walk), W, 200, condition, 5, scale=0.5)
    for i in range(3):  # 67, 67 and 66 of 67 drawn
        labels, key = np.resize(condition[67 * i : 67 * i + 67], 67), jax.random.fold_in(jax.random.key(5), i)
        wanted = jax.jit(lambda *a: walk(a[0], a[1], 67, a[2], scale=0.5).x)(W, key, labels)
        np.testing.assert_array_equal(x[67 * i : 67 * i + 67], wanted[: min(67, 200 - 67 * i)])
    assert x.shape == (200, 2) and nfe == 4


def test_batches_start_anywhere(small):
    whole = list(sampling.batches(experiment(walk), W, 200, None, 3))
    later = list(sampling.batches(experiment(walk), W, 200, None, 3, 1))
    assert [len(x) for x, _ in whole] == [67, 67, 66] and len(later) == 2
    for (a, _), (b, _) in zip(whole[1:], later):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("number", [200, 64])  # batches of 67, which eight devices do not divide, and of 64
def test_rows_are_split_over_the_devices_and_stay_the_same(small, monkeypatch, number):
    seen = []

    def sample(params, key, n, condition=None):
        out = walk(params, key, n, condition)
        jax.debug.inspect_array_sharding(jnp.tanh(out.x), callback=lambda s: seen.append(s.shard_shape((n, 2))))
        return out

    condition = np.arange(number, dtype=np.int32) % 3
    split = evaluation.sample(experiment(sample), jax.device_put(W, jax.devices()[0]), number, condition)
    assert jax.device_count() == 8 and set(seen) == {(9 if number == 200 else 8, 2)}
    monkeypatch.setattr(sampling, "SPLIT_FROM", 10**9)
    alone = evaluation.sample(experiment(walk), W, number, condition)
    np.testing.assert_allclose(split[0], alone[0], rtol=1e-5, atol=1e-5)
    assert split[1] == alone[1]


def test_few_rows_stay_on_one_device():
    seen = []

    def sample(params, key, n, condition=None):
        jax.debug.inspect_array_sharding(jax.random.normal(key, (n, 2)), callback=seen.append)
        return walk(params, key, n)

    evaluation.sample(experiment(sample), W, 63)
    assert all(len(s.device_set) == 1 for s in seen)


# Shards ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def draws(built, stop=None, act=None, log=None):
    """A draw(start) of 200 samples that calls act() before batch `stop`."""

    def draw(start):
        for i, part in enumerate(sampling.batches(built, W, 200, None, 7, start), start):
            if i == stop:
                act()
            if log is not None:
                log.append(i)
            yield part

    return draw


def die():
    raise Killed


def names(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


IDENTITY = {"step": 6, "seed": 7}


def test_a_killed_run_goes_on_to_the_same_bits(small, tmp_path):
    built, folder, log = experiment(walk), tmp_path / "new" / "x.shards", []
    whole = evaluation.sample(built, W, 200, None, 7)
    for stop in (0, 1, 2):
        with pytest.raises(Killed):
            sampling.in_shards(folder, IDENTITY, 3, draws(built, stop, die, log))
        assert names(folder) == [f"{i:05}.npz" for i in range(stop)] + ["identity.json"][:stop]
    x, nfe = sampling.in_shards(folder, IDENTITY, 3, draws(built, log=log))
    np.testing.assert_array_equal(x, whole[0])
    assert nfe == whole[1] and x.dtype == whole[0].dtype and log == [0, 1, 2]  # each batch was drawn once
    again = sampling.in_shards(folder, IDENTITY, 3, draws(built, 0, die))  # all there: nothing is drawn
    np.testing.assert_array_equal(again[0], whole[0])


@pytest.mark.parametrize("harm", ["missing", "cut"])
def test_a_shard_that_is_lost_is_drawn_again(small, tmp_path, harm):
    built = experiment(walk)
    whole = sampling.in_shards(tmp_path, IDENTITY, 3, draws(built))
    shard = tmp_path / "00001.npz"
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2]) if harm == "cut" else shard.unlink()
    again = sampling.in_shards(tmp_path, IDENTITY, 3, draws(built))
    np.testing.assert_array_equal(again[0], whole[0])
    assert shard.read_bytes() == data


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_batch(small, tmp_path, number):
    built = experiment(walk)
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(sampling.Stopped, match="stopped after batch 2") as stop:
        sampling.in_shards(tmp_path, IDENTITY, 3, draws(built, 1, lambda: os.kill(os.getpid(), number)))
    assert stop.value.signal == number and names(tmp_path) == ["00000.npz", "00001.npz", "identity.json"]
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    x, _ = sampling.in_shards(tmp_path, IDENTITY, 3, draws(built))
    np.testing.assert_array_equal(x, evaluation.sample(built, W, 200, None, 7)[0])


def test_a_signal_in_the_last_batch_is_too_late(small, tmp_path):
    built = experiment(walk)
    x, _ = sampling.in_shards(tmp_path, IDENTITY, 3, draws(built, 2, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert len(x) == 200


def test_shards_of_other_samples_are_left_alone(small, tmp_path):
    with pytest.raises(Killed):
        sampling.in_shards(tmp_path, IDENTITY, 3, draws(experiment(walk), 1, die))
    before = names(tmp_path)
    with pytest.raises(UserError, match=r"step is 6 there, 9 here; finish those, or remove that folder"):
        sampling.in_shards(tmp_path, IDENTITY | {"step": 9}, 3, draws(experiment(walk)))
    (tmp_path / "identity.json").unlink()
    with pytest.raises(UserError, match="no readable identity.json"):
        sampling.in_shards(tmp_path, IDENTITY, 3, draws(experiment(walk)))
    assert names(tmp_path) == before[:1]


def test_what_a_kill_in_the_first_write_leaves_is_no_obstacle(small, tmp_path):
    (tmp_path / ".identity.json.0f").touch()
    assert len(sampling.in_shards(tmp_path, IDENTITY, 3, draws(experiment(walk)))[0]) == 200


def test_the_identity_knows_all_that_chooses_the_samples():
    built, three = experiment(walk), np.full(200, 2)
    args = {"step": 6, "num_samples": 200, "condition": three, "seed": 0, "options": {"sampler": "ddim", "eta": 0.5}}
    base = sampling.identity(built, **args)
    assert json.loads(json.dumps(base)) == base == sampling.identity(built, **args)
    others = {
        "step": [7],
        "num_samples": [300],
        "condition": [None, np.full(200, 1), np.arange(200) % 2, np.arange(200) % 3],
        "seed": [1],
        "options": [{}, {"sampler": "ddim"}, {"sampler": "ddim", "eta": 0.25}, {"sampler": "ddpm", "eta": 0.5}],
    }
    found = [base]
    for name, values in others.items():
        found += [sampling.identity(built, **args | {name: value}) for value in values]
    built.config.model.name = "other"
    found.append(sampling.identity(built, **args))
    assert len({json.dumps(one, sort_keys=True) for one in found}) == len(found)
    built.config.model.name, built.config.mesh.data = "fake", 4  # where it runs is not what it draws
    assert sampling.identity(built, **args) == base


# Samples that are not finite --------------------------------------------------------------------------------------


def broken(step, levels=None, row=None, times=True):
    """An Experiment whose samples turn to NaN at a step of ten, all or one row of them; integers hide it."""
    grid = np.linspace(1.0, 0.0, 11)

    def sample(params, key, n, condition=None, *, trajectory=False, sampler=None):
        x, path = jax.random.normal(key, (n, 2)), []
        for i in range(11):
            lost = (jnp.arange(n) == row)[:, None] if row is not None else True
            path.append(jnp.where((i >= step) & lost, jnp.nan, x))
        x, calls = path[-1], jnp.where(jnp.isfinite(path[-1]).all(), 10.0, jnp.nan)
        x = jnp.nan_to_num(x).astype(jnp.uint8) if levels else x
        return Samples(x, jnp.stack(path) if trajectory else None, calls, jnp.asarray(grid) if times else None)

    return experiment(sample, levels)


@pytest.mark.parametrize("levels", [None, 16])
@pytest.mark.parametrize("condition", [None, 1])
def test_bad_samples_name_the_step_and_its_time(levels, condition):
    labels = None if condition is None else np.full(100, condition, np.int32)
    words = r"of sampler 'ddim' are not finite from step 3 of 10 on \(t = 0\.7\): give it more steps"
    with pytest.raises(UserError, match=words):
        evaluation.sample(broken(3, levels), W, 100, labels, sampler="ddim")
    with pytest.raises(UserError, match=r"sampler 'euler' are not finite from step 10 of 10 on \(t = 0\)"):
        evaluation.sample(broken(10, levels), W, 100, labels)


def test_one_bad_row_is_found_where_memory_allows(monkeypatch):
    with pytest.raises(UserError, match="from step 4 of 10"):
        evaluation.sample(broken(4, 16, row=70), W, 100)
    monkeypatch.setattr(sampling, "PATH_BYTES", 11 * 2 * 4 * 20)  # the first twenty rows
    with pytest.raises(UserError, match=r"^the samples are not finite; give"):
        evaluation.sample(broken(4, 16, row=70), W, 100)
    with pytest.raises(UserError, match="from step 4 of 10"):
        evaluation.sample(broken(4, 16, row=19), W, 100)


def strict(params, key, n, condition=None, **others):
    if others:
        raise UserError("it takes no options")
    return Samples(jnp.full((n, 2), jnp.nan), None, jnp.float32(1))


def without(params, key, n, condition=None):
    return Samples(jnp.full((n, 2), jnp.nan), None, jnp.float32(1))


@pytest.mark.parametrize(
    "built",
    [broken(3, times=False), broken(0), experiment(strict), experiment(without)],
    ids=["no times", "no start", "strict", "without"],
)
def test_where_no_step_can_be_told_the_sentence_is_general(built):
    with pytest.raises(UserError, match=r"^the samples are not finite; give"):
        evaluation.sample(built, W, 100)


def test_an_adaptive_solver_that_gave_up_is_not_run_again():
    calls = []

    def sample(params, key, n, condition=None, *, sampler=None, trajectory=False):
        calls.append(trajectory)
        return Samples(jnp.zeros((n, 2)), None, jnp.nan)

    with pytest.raises(UserError, match=r"^the samples are not finite; give the sampler more steps, a looser rtol"):
        evaluation.sample(experiment(sample), W, 100, sampler="diffrax")
    assert calls == [False]


def test_a_bad_batch_is_not_kept(small, tmp_path):
    with pytest.raises(UserError, match="not finite from step 2"):
        sampling.in_shards(tmp_path / "s", IDENTITY, 3, lambda start: sampling.batches(broken(2, 16), W, 200))
    assert not (tmp_path / "s").exists()


def moved(params, key, n, condition=None, *, source, rounded=True):
    """Samples that are their own starts."""
    return Samples(source, None, jnp.float32(1))


def test_samples_of_a_transport_start_from_other_examples_each(small):
    built = experiment(moved)
    test, train = (np.arange(a, b, dtype=np.float32)[:, None] for a, b in ((0, 150), (150, 1000)))
    built.dataset.source = data.from_arrays(train), data.from_arrays(test)
    first, other = (evaluation.sample(built, W, 400, None, seed)[0][:, 0] for seed in (0, 1))
    np.testing.assert_array_equal(first, np.arange(400))  # of the test set, then of the training set
    assert len(np.unique(other)) == 400 and not np.array_equal(first, other)
    pairs = [part for part, _ in sampling.batches(built, W, 200, ends=True)]
    np.testing.assert_array_equal(np.concatenate([part["source"][:, 0] for part in pairs]), np.arange(150, 350))


def test_integers_start_with_the_noise_that_their_pairs_keep(small):
    built = experiment(moved, levels=17)
    whole = data.from_arrays(np.full((50, 2), 7, np.uint8))
    built.dataset.source = whole, whole
    (found, _), (again, _) = (next(sampling.batches(built, W, 50, ends=True)) for _ in range(2))
    assert 7 < found["source"].min() < 7.1 < 7.9 < found["source"].max() < 8
    np.testing.assert_array_equal(found["source"], again["source"])
