"""One run on one device and on eight: the same losses; and a checkpoint of one goes on with the other."""

import numpy as np
import pytest

from configs import base, rectified_flow_digits
from research import data, experiment, loop
from research.metrics_writer import read

STEPS = 100


def config(**mesh):
    made = rectified_flow_digits.get_config("tiny")
    made.net.name = "mlp"
    made.data.batch_size = 32
    made.train.update({"num_steps": STEPS, "log_every": 1, "eval_every": 0, "checkpoint_every": 50})
    base.update(made.mesh, **mesh)
    return made


@pytest.fixture(scope="module")
def built():
    return experiment.build(config())


def run(built, made, path, program=None):
    iterator = data.iterate(built.dataset.train, made.data.batch_size, made.data.seed)
    state = loop.run(program or built.program, iterator, made, path)
    return state, np.array([r["loss"] for r in read(path / "metrics.jsonl") if "loss" in r])


@pytest.fixture(scope="module")
def single(built, tmp_path_factory):
    return run(built, config(data=1), tmp_path_factory.mktemp("single"))


@pytest.mark.parametrize("mesh", [{"data": 8}, {"data": 1, "fsdp": 8, "fsdp_min_size": 64}], ids=["data", "fsdp"])
def test_eight_devices_agree_with_one(built, single, tmp_path, mesh):
    state, losses = run(built, config(**mesh), tmp_path)
    assert len(losses) == STEPS
    np.testing.assert_allclose(losses, single[1], rtol=1e-5)
    kernel = state["params"]["params"]["blocks"]["feed_forward"]["in"]["kernel"]
    assert len({str(shard.index) for shard in kernel.addressable_shards}) == mesh.get("fsdp", 1)


class Killed(BaseException):
    pass


def test_a_run_moves_between_device_counts(built, single, tmp_path):
    def die(state, key):
        raise Killed

    with pytest.raises(Killed):
        wide = config(data=2, fsdp=4, fsdp_min_size=64)
        wide.train.eval_every = 60
        run(built, wide, tmp_path, built.program._replace(evaluate=die))
    state, losses = run(built, config(data=1), tmp_path)
    assert state["step"] == STEPS and len(losses) == STEPS
    np.testing.assert_allclose(losses, single[1], rtol=1e-5)
