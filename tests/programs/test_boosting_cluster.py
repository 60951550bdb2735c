"""Two processes that grow one table's trees: the bits of one process."""

import json
import os
import socket

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from configs import gbdt_oblivious_california
from research import experiment, loop
from tests.processes import FORKS

pytestmark = pytest.mark.cluster


def drive(index, count, port, path):
    """One process of `count`, on 4 devices together; leaves the numbers of its state."""
    os.dup2(os.open(path / f"{index}.err", os.O_CREAT | os.O_WRONLY), 2)
    jax.config.update("jax_num_cpu_devices", 4 // count)
    if count > 1:
        address = f"127.0.0.1:{port}"
        jax.distributed.initialize(address, num_processes=count, process_id=index, heartbeat_timeout_seconds=10)
    config = gbdt_oblivious_california.get_config("tiny")
    config.update_from_flattened_dict({"mesh.data": -1, "model.subsample": 0.7})
    built = experiment.build(config)
    state = loop.run(built.program, built.program.batch, built.config, path)
    # scores lie where their rows do: whole again in each process
    found = [np.asarray(multihost_utils.process_allgather(x, tiled=True)).tolist() for x in jax.tree.leaves(state)]
    (path / f"state-{index}").write_text(json.dumps(found))


def test_two_processes_grow_the_trees_of_one(tmp_path):
    states = []
    for count in (1, 2):
        path = tmp_path / str(count)
        path.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes = [FORKS.Process(target=drive, args=(index, count, port, path)) for index in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        states += [(path / f"state-{index}").read_text() for index in range(count)]
    assert len(states) == 3 and len(set(states)) == 1
