"""How a process finds out that it is one of several, and what it says where it cannot find the others."""

import contextlib
import os
import socket
import threading
import types

import jax
import numpy as np
import pytest

from configs import base
from research import distributed, mesh, workdir
from research.errors import UserError


@pytest.fixture
def asked(monkeypatch):
    """What jax.distributed.initialize was asked for, in an environment that says nothing else."""
    calls = []
    for name in (*distributed.variables("", 0, 0), "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: calls.append(options))
    yield calls
    jax.config.update("jax_enable_compilation_cache", True)


def given(monkeypatch, address, count, index):
    for name, value in distributed.variables(address, count, index).items():
        monkeypatch.setenv(name, value)


@contextlib.contextmanager
def listening():
    """A port of this machine that somebody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def free():
    with listening() as port:
        return port


def test_one_process_is_left_alone(asked, monkeypatch):
    distributed.start()
    given(monkeypatch, "", 1, 0)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    distributed.start()
    assert asked == [] and jax.config.jax_enable_compilation_cache


def test_the_variables_say_who_it_is(asked, monkeypatch):
    port = free()
    given(monkeypatch, f"127.0.0.1:{port}", 3, 0)
    distributed.start(7)
    with listening() as port:
        given(monkeypatch, f"127.0.0.1:{port}", 3, 2)
        distributed.start(7)
    assert [(x["num_processes"], x["process_id"]) for x in asked] == [(3, 0), (3, 2)]
    assert asked[1]["coordinator_address"] == f"127.0.0.1:{port}"
    assert all(x["heartbeat_timeout_seconds"] == 7 for x in asked)
    assert not jax.config.jax_enable_compilation_cache  # of a CPU


@pytest.mark.parametrize("name", ["slurm", "tpu"])
def test_jax_itself_finds_tasks_of_slurm_and_hosts_of_a_tpu(name, asked, monkeypatch):
    if name == "slurm":
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    else:
        monkeypatch.setattr(distributed.cloud_tpu_init, "running_in_cloud_tpu_vm", True)
    distributed.start(9)
    assert asked == [{"heartbeat_timeout_seconds": 9}]


def test_it_joins_once(asked, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    distributed.start()
    assert asked == []


@pytest.mark.parametrize(
    "address, count, index",
    [
        ("", "2", "0"),
        ("host", "2", "0"),
        ("host:99999", "2", "0"),
        ("host:1", "two", "0"),
        ("host:1", "2", "2"),
        ("host:1", "2", ""),
    ],
)
def test_variables_that_are_not_whole(address, count, index, asked, monkeypatch):
    given(monkeypatch, address, count, index)
    with pytest.raises(UserError, match="must be host:port, a number of processes and a number below it"):
        distributed.start()
    assert asked == []


def test_a_port_that_is_taken_is_one_sentence(asked, monkeypatch):
    with listening() as port:
        given(monkeypatch, f"127.0.0.1:{port}", 2, 0)
        with pytest.raises(UserError, match=f"port {port} cannot be had: Address already in use; choose another"):
            distributed.start()
    distributed.start()  # it is free again
    assert len(asked) == 1


def test_nobody_at_the_address(asked, monkeypatch):
    monkeypatch.setattr(distributed, "PATIENCE", 0)
    given(monkeypatch, f"127.0.0.1:{free()}", 2, 1)
    with pytest.raises(UserError, match=r"process 0 did not answer at 127.0.0.1:\d+ for 0 s \(.*refused\)"):
        distributed.start()


class Store:
    """The key-value store of JAX's service, in little, in its place as `distributed` sees it."""

    def __init__(self, monkeypatch):
        self.values = set()
        state = types.SimpleNamespace(client=self)
        monkeypatch.setattr(distributed, "distributed", types.SimpleNamespace(global_state=state))

    def key_value_set(self, key, value):
        self.values.add(key)

    def key_value_try_get(self, key):
        if key not in self.values:
            raise jax.errors.JaxRuntimeError(f"NOT_FOUND: {key}")


def test_the_first_goes_first(monkeypatch):
    order = []
    Store(monkeypatch)

    def take(index, turn):
        monkeypatch.setattr(distributed, "_turns", iter([turn]))
        with distributed.in_turn():
            order.append((index, turn))

    who = threading.local()
    monkeypatch.setattr(jax, "process_index", lambda: getattr(who, "index", 0))

    def other():
        who.index = 1
        take(1, 5)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(0.3)
    assert order == [] and thread.is_alive()
    take(0, 4)  # another turn
    thread.join(0.3)
    assert order == [(0, 4)]
    take(0, 5)
    thread.join(20)
    assert order == [(0, 4), (0, 5), (1, 5)]


def test_a_first_that_fails_lets_nobody_pass(monkeypatch):
    store = Store(monkeypatch)
    with pytest.raises(UserError), distributed.in_turn():
        raise UserError("no data.")
    assert not store.values


def test_alone_there_is_nothing_to_wait_for():
    assert os.environ.get(distributed.COUNT) is None
    with distributed.in_turn():
        pass


def test_whole_arrays():
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put(np.arange(16.0), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x")))
    found = distributed.whole({"a": spread, "b": jax.numpy.ones(2)})
    assert all(type(x) is np.ndarray for x in found.values()) and (found["a"] == np.arange(16)).all()


def test_the_first_alone_writes_what_a_workdir_belongs_to(tmp_path, monkeypatch):
    config = base.config(train=base.train(), mesh=base.mesh())
    workdir.open_for(tmp_path, config)
    before = {file.name: (file.stat().st_mtime_ns, file.stat().st_ino) for file in tmp_path.iterdir()}
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    workdir.open_for(tmp_path, config)
    assert {file.name: (file.stat().st_mtime_ns, file.stat().st_ino) for file in tmp_path.iterdir()} == before
    with pytest.raises(UserError, match="process 1 does not see .*must be in a folder that all hosts share"):
        workdir._wait_for(tmp_path / "elsewhere", seconds=0)


def test_a_mesh_takes_the_devices_of_all_processes(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert mesh.make(base.mesh()).size == 8
    with pytest.raises(UserError, match="4 x 1 leaves some of the 8 devices of 2 processes out: set mesh.data=-1"):
        mesh.make(base.update(base.mesh(), data=4))
