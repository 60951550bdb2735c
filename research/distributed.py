"""Several processes that are one run: how they find each other, take turns, and how one's arrays become whole."""

import contextlib
import itertools
import os
import socket
import time

import jax
import numpy as np
from jax._src import cloud_tpu_init, distributed
from jax.experimental import multihost_utils

from research.errors import UserError

ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
PATIENCE = 300  # seconds to wait for process 0, as JAX does
_turns = itertools.count()  # all processes take the same turns in the same order


def variables(address, count, index):
    """The environment by which `start` knows process `index` of `count`, which meet at `address`, "host:port"."""
    return {ADDRESS: address, COUNT: str(count), INDEX: str(index)}


def start(heartbeat=100):
    """Joins the other processes of this run, before any device is touched; does nothing where it is alone.

    They are found by the variables above, else by JAX itself among the tasks of a SLURM step or the hosts of a TPU.
    heartbeat: seconds after which a process that is silent counts as dead, which ends the others.
    Raises UserError for variables that are not whole, a port that is taken, and where nobody answers.
    """
    if jax.distributed.is_initialized():
        return
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if os.environ.get(COUNT, "1") != "1":
        jax.distributed.initialize(**_given(os.environ), heartbeat_timeout_seconds=heartbeat)
    elif tasks > 1 or cloud_tpu_init.running_in_cloud_tpu_vm:
        jax.distributed.initialize(heartbeat_timeout_seconds=heartbeat)
    else:
        return
    # A CPU program with several collectives runs them in any order once it comes out of the compile cache.
    if jax.default_backend() == "cpu":
        jax.config.update("jax_enable_compilation_cache", False)


def _given(environ):
    """What jax.distributed.initialize takes, from the variables; JAX would end the process where they are wrong."""
    address, count, index = (environ.get(name, "") for name in (ADDRESS, COUNT, INDEX))
    host, _, port = address.rpartition(":")
    numbers = port.isdigit() and count.isdigit() and index.isdigit()
    if not (host and numbers and int(port) < 2**16 and int(index) < int(count)):
        raise UserError(
            f"{ADDRESS}='{address}', {COUNT}='{count}' and {INDEX}='{index}' must be host:port, a number of processes "
            "and a number below it; set all three, or none to run alone."
        )
    if index == "0":
        _check_free(int(port))
    else:
        _check_there(host, int(port))
    own = {"coordinator_address": address, "num_processes": int(count), "process_id": int(index)}
    return {**own, "cluster_detection_method": "deactivate"}


def _check_free(port):
    """Another run of JAX would share its port with this one, and both would wait for ever."""
    with socket.socket() as here:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just ended is no hindrance
        try:
            here.bind(("", port))
            here.listen()
        except OSError as error:
            raise UserError(f"port {port} cannot be had: {error.strerror}; choose another for {ADDRESS}.") from error


def _check_there(host, port):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((host, port), timeout=5).close()
        except OSError as error:
            if time.monotonic() > end:
                raise UserError(
                    f"process 0 did not answer at {host}:{port} for {PATIENCE} s ({error}); see whether it runs."
                ) from error
            time.sleep(0.2)


@contextlib.contextmanager
def in_turn():
    """The block runs in process 0 first and, when that has ended, in the others."""
    client, key = distributed.global_state.client, f"turn/{next(_turns)}"
    while jax.process_index() and not _is_set(client, key):
        time.sleep(0.1)
    yield
    if client and not jax.process_index():
        client.key_value_set(key, "")


def _is_set(client, key):
    try:
        client.key_value_try_get(key)
    except jax.errors.JaxRuntimeError as error:
        if "NOT_FOUND" not in str(error):
            raise
        return False
    return True


def whole(tree):
    """Host arrays of a tree of arrays that may be spread over the devices of several processes."""

    def fetch(x):
        here = x.is_fully_addressable or x.is_fully_replicated
        return np.asarray(x) if here else multihost_utils.process_allgather(x, tiled=True)

    return jax.tree.map(fetch, tree)
