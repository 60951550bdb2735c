"""Processes that each read their own shards of a table: the trees of one process, also where their number changes."""

import dataclasses
import json
import os
import socket

import jax
import numpy as np
import pytest

from configs import base
from research.errors import UserError
from research.programs import streaming
from tests.processes import FORKS
from tests.programs import shards

pytestmark = pytest.mark.cluster
FIELDS = {"objective": "logistic", "depth": 3, "block": 1}
CASES = {  # of what trees are, options
    "oblivious": (base.gbdt_oblivious, {"random_strength": 1.0, "bagging_temperature": 1.0, "leaf_method": "newton"}),
    "by level": (base.gbdt, {"subsample": 0.6, "colsample_bynode": 0.7}),
}


def drive(index, count, port, path, num_trees, kept):
    """One process of `count`; leaves the trees of each case."""
    os.dup2(os.open(path / f"{count}-{index}.err", os.O_CREAT | os.O_WRONLY), 2)
    jax.config.update("jax_num_cpu_devices", 4 // count)
    if count > 1:
        address = f"127.0.0.1:{port}"
        jax.distributed.initialize(address, num_processes=count, process_id=index, heartbeat_timeout_seconds=10)
    found = {}
    for case, (of, fields) in CASES.items():
        config = base.update(of(), num_trees=num_trees, **FIELDS, **fields)
        grown = streaming.fit(str(path / "shards"), config, path / kept / case, rows=128)
        fields = {field.name: getattr(grown, field.name) for field in dataclasses.fields(grown)}
        found[case] = {name: np.asarray(x).tolist() for name, x in fields.items()}
    with pytest.raises(UserError, match="has 0 shards of 'valid'"):
        streaming.fit(str(path / "shards"), config, path / "none", split="valid")
    (path / f"{kept}-{num_trees}-{count}-{index}").write_text(json.dumps(found))
    if count > 1:
        jax.distributed.shutdown()  # waits for the others


def run(count, path, num_trees, kept):
    """What each of `count` processes leaves."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [FORKS.Process(target=drive, args=(i, count, port, path, num_trees, kept)) for i in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    return [(path / f"{kept}-{num_trees}-{count}-{i}").read_text() for i in range(count)]


def test_processes_grow_the_trees_of_one(tmp_path):
    shards.write(str(tmp_path / "shards"))
    found = run(1, tmp_path, 3, "one") + run(2, tmp_path, 3, "two")
    run(2, tmp_path, 2, "both")
    found += run(1, tmp_path, 3, "both")  # goes on from the trees of two processes
    assert len(found) == 4 and len(set(found)) == 1
