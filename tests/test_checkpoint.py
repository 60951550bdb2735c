"""Checkpoints: what is damaged is found and stepped over, and bits come back on any number of devices."""

import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import checkpoint, mesh
from research.errors import UserError


def state_of(value):
    return {
        "w": jnp.arange(24.0).reshape(8, 3) * value,
        "half": jnp.full((4,), value, jnp.bfloat16),
        "n": jnp.int32(value),
        "flag": jnp.array([True, False]),
    }


def abstract_of(state):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


@pytest.fixture
def saved(tmp_path):
    """Checkpoints 1, 2, 3."""
    with checkpoint.open_manager(tmp_path, keep_last=3) as manager:
        for step in (1, 2, 3):
            checkpoint.save(manager, step, state_of(step))
        checkpoint.wait(manager)
    return tmp_path


def restore(path, state=None):
    said = []
    with checkpoint.open_manager(path) as manager:
        step, state = checkpoint.restore(manager, abstract_of(state or state_of(0)), say=said.append)
        checkpoint.discard_after(manager, step)
    return step, state, said


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


def data_files(path, step):
    files = [f for f in (path / "checkpoints" / str(step) / "state").rglob("*") if f.is_file()]
    return sorted(files, key=lambda f: -f.stat().st_size)


def test_round_trip(saved):
    step, state, said = restore(saved)
    assert (step, said) == (3, [])
    assert equal(state, state_of(3))
    assert jax.tree.map(lambda x: x.dtype, state) == jax.tree.map(lambda x: x.dtype, state_of(3))


def test_a_donated_state_is_already_safe(tmp_path):
    """The buffers may be overwritten the moment that save returns."""
    bump = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    state = {"w": jnp.zeros((512, 512))}
    with checkpoint.open_manager(tmp_path, keep_last=9) as manager:
        for step in range(1, 6):
            state = bump(state)
            checkpoint.save(manager, step, state)
        for _ in range(20):
            state = bump(state)
        checkpoint.wait(manager)
        for step in range(1, 6):
            found = checkpoint._restore_step(manager, step, abstract_of({"w": jnp.zeros((512, 512))}), None)
            assert (found["w"] == step).all()


def truncate(path):
    for file in data_files(path, 3):
        os.truncate(file, file.stat().st_size // 2)


def remove_data(path):
    for file in data_files(path, 3):
        if "d" in file.parts[-2:]:
            file.unlink()


def empty_meta(path):
    for file in (path / "checkpoints" / "3" / "meta").rglob("*"):
        if file.is_file():
            os.truncate(file, 0)


def remove_state(path):
    shutil.rmtree(path / "checkpoints" / "3" / "state")


def flip_every_file(path):
    for file in data_files(path, 3):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # threads of the failed read
@pytest.mark.parametrize("damage", [truncate, remove_data, empty_meta, remove_state, flip_every_file])
def test_a_damaged_newest_is_stepped_over(saved, damage):
    damage(saved)
    step, state, said = restore(saved)
    assert step == 2
    assert equal(state, state_of(2))
    assert len(said) == 1 and "checkpoint 3 is damaged" in said[0] and "\n" not in said[0]
    assert os.listdir(saved / "damaged_checkpoints")  # kept to look at, and out of the way
    with checkpoint.open_manager(saved, keep_last=3) as manager:
        checkpoint.save(manager, 3, state_of(3))
    assert restore(saved)[0] == 3


def test_silent_change_of_one_value_is_found(saved):
    """What zstd and tensorstore would read without complaint: another checkpoint's arrays under this one's name."""
    shutil.rmtree(saved / "checkpoints" / "3" / "state")
    shutil.copytree(saved / "checkpoints" / "2" / "state", saved / "checkpoints" / "3" / "state")
    step, _, said = restore(saved)
    assert step == 2
    assert "checksum" in said[0]


def test_fingerprint_sees_any_one_change():
    state = state_of(3)
    base = jax.device_get(checkpoint.fingerprint(state))
    for i, leaf in enumerate(jax.tree.leaves(state)):
        changed = [*jax.tree.leaves(state)]
        changed[i] = leaf.ravel().at[-1].set(leaf.ravel()[-1] == 0).reshape(leaf.shape)
        other = jax.device_get(checkpoint.fingerprint(jax.tree.unflatten(jax.tree.structure(state), changed)))
        assert [base[name] != other[name] for name in base] == [j == i for j in range(len(base))]


def test_all_damaged_is_an_error(saved):
    for step in (1, 2, 3):
        shutil.rmtree(saved / "checkpoints" / str(step) / "state")
    with pytest.raises(UserError, match="every checkpoint"):
        restore(saved)


def test_another_format_or_another_net_is_one_sentence(saved):
    with pytest.raises(UserError, match=r"w is \[8, 3\] there and \[8, 4\] here"):
        restore(saved, {**state_of(0), "w": jnp.zeros((8, 4))})
    with pytest.raises(UserError, match="extra is None there"):
        restore(saved, {**state_of(0), "extra": jnp.zeros(1)})
    for file in (saved / "checkpoints").rglob("*"):
        if (
            file.is_file()
            and "meta" in file.parts
            and file.read_bytes().startswith(b"{")
            and b'"format"' in file.read_bytes()
        ):
            file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 99}))
    with pytest.raises(UserError, match="has format 99, this code reads 1"):
        restore(saved)


def test_restores_onto_another_number_of_devices(tmp_path):
    value = {"w": np.arange(64.0, dtype=np.float32).reshape(16, 4)}

    class Config:
        fsdp_min_size = 1

    def placed(data, fsdp):
        Config.data, Config.fsdp = data, fsdp
        return mesh.shard(jax.eval_shape(lambda: jax.tree.map(jnp.asarray, value)), mesh.make(Config), Config)

    wide = placed(1, 8)
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 1, jax.tree.map(lambda x, a: jax.device_put(x, a.sharding), value, wide))
        for narrow in (placed(1, 1), placed(2, 4), placed(1, 2)):
            step, state = checkpoint.restore(manager, narrow)
            assert step == 1 and (np.asarray(state["w"]) == value["w"]).all()
            assert state["w"].sharding == narrow["w"].sharding


def test_no_checkpoint_yet(tmp_path):
    assert restore(tmp_path)[:2] == (0, None)
