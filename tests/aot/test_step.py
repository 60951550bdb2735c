"""What is compiled with nothing in memory is what a run compiles, to the letter: with CPU devices in a TPU's place."""

import contextlib
import importlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from configs import base
from research import data, experiment, loop, mesh
from research.aot import report, step, tables
from research.aot.topologies import CHIPS, Topology
from research.errors import UserError
from research.nets import cost


def here(count=8):
    """The CPU's devices as if they were a topology."""
    return Topology("cpu", 1, CHIPS["v5e"], jax.devices()[:count])


def tiny(name, **mesh_sizes):
    config = importlib.import_module(f"configs.{name}").get_config("tiny")
    base.update(config.mesh, **mesh_sizes)
    return config


def of_a_run(config, devices):
    """The text of the step that loop.run jits, lowered with what it calls it with."""
    built = experiment.build(config)
    with jax.enable_x64(True) if built.program.x64 else contextlib.nullcontext():
        _, shardings, function = loop.prepare(built.program, devices, built.config)
        state = jax.jit(built.program.init, out_shardings=shardings)(jax.random.key(0))
        batch = built.program.batch or next(data.iterate(built.dataset.fitted[0], config.data.batch_size, 0))
        return function.lower(state, mesh.batch_placer(devices)(batch)).as_text()


@pytest.mark.parametrize(
    "name, sizes",
    [
        ("rectified_flow_toy2d", {"data": 4, "fsdp": 2, "fsdp_min_size": 64}),
        ("rectified_flow_toy2d", {"data": 1}),
        ("gbdt_oblivious_1b_rows", {"data": 4}),
        ("gbdt_oblivious_1b_rows", {"data": 1}),
        ("adaboost_adult", {"data": 1}),
    ],
)
def test_the_program_is_the_runs_own(name, sizes):
    config = tiny(name, **sizes)
    lowered = step.lower(config, here())
    mine, its = lowered.lowered.as_text(), of_a_run(config, mesh.make(config.mesh))
    if lowered.mesh.size == 1:  # a run leaves the batch's device to jit
        mine, its = (re.sub(r" \{sdy.sharding = #sdy.sharding<@empty_mesh, [^>]*>\}", "", x) for x in (mine, its))
    assert mine == its


def test_rows_that_are_not_there_make_the_program_of_that_many(monkeypatch):
    config = tiny("gbdt_oblivious_1b_rows", data=4)
    config.data.size = 100
    whole, dataset = step.lower(config, here()), tables.load(config.data)
    monkeypatch.setattr(tables, "load", lambda _: dataset._replace(train=dataset.train._replace(size=40)))
    few = step.lower(config, here())
    assert (few.rows, few.state["score"]) == (whole.rows, whole.state["score"]) == (100, 100)
    texts = [re.sub(r"dense<[^>]*>", "", x.lowered.as_text()) for x in (few, whole)]  # borders are those of 40 rows
    assert texts[0] == texts[1]


def test_a_thousand_million_rows_take_no_memory():
    config = importlib.import_module("configs.gbdt_oblivious_1b_rows").get_config()
    config.model.update({"depth": 2, "num_trees": 1000})
    lowered = step.lower(config, here())
    assert lowered.rows == 10**9 and lowered.state["score"] == 4 * 10**9 // 8  # a device's share, in f32
    assert "tensor<10x1000000000xui8>" in lowered.lowered.as_text()


def test_rows_that_do_not_divide_are_more(monkeypatch):
    config = tiny("gbdt_oblivious_1b_rows", data=4)
    config.data.size = 103
    monkeypatch.setattr(tables, "SAMPLE", 40)
    lowered = step.lower(config, here())
    assert lowered.rows == 104 and lowered.note == "104 rows: 103 do not divide over 4 devices"
    assert lowered.state["score"] == 4 * 104 // 4
    assert step.lower(config, here(), data=1).rows == 103


def test_a_batch_that_does_not_divide_is_made_larger():
    config = tiny("rectified_flow_toy2d", data=-1)
    config.data.batch_size = 12
    lowered = step.lower(config, here())
    assert lowered.rows == 16 and lowered.note == "batch of 16: 12 does not divide over 8 devices"
    assert step.lower(config, here(4)).note == "" and step.lower(config, here(4), data=1).rows == 12


@pytest.mark.parametrize(
    "size, devices, parts, expected", [(12, 8, 1, 16), (12, 4, 3, 12), (10, 4, 6, 12), (1, 1, 1, 1)]
)
def test_batches_that_divide(size, devices, parts, expected):
    assert tables.divisible(size, devices, parts) == expected


def test_meshes():
    config = tiny("rectified_flow_toy2d")
    assert dict(step.lower(config, here(), data=2, fsdp=4).mesh.shape) == {"data": 2, "fsdp": 4}
    with pytest.raises(UserError, match="4 x 4 needs 16 devices; 8 are here"):
        step.lower(config, here(), data=4, fsdp=4)
    with pytest.raises(UserError, match="mesh.fsdp is 2; trees"):
        step.lower(tiny("gbdt_oblivious_1b_rows"), here(), fsdp=2)


def test_samples():
    lowered = step.lower(tiny("rectified_flow_digits"), here(), "sample")
    assert lowered.what == "sample" and lowered.rows == 32 and set(lowered.state) == {"params"}
    assert lowered.flops > 0 and "tensor<32xi32>" in lowered.lowered.as_text()  # of each class equally many
    with pytest.raises(UserError, match="has no samples"):
        step.lower(tiny("gbdt_oblivious_1b_rows"), here(), "sample")
    with pytest.raises(UserError, match="trained by its gradient"):
        step.lower(tiny("rectified_flow_digits"), here(), "boosting")


def test_a_loop_without_an_end_has_no_flops():
    assert step.count(lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x + x, x), jnp.ones(2)) is None


def test_flops_of_all_devices():
    devices = mesh.make(base.mesh())
    rows = PartitionSpec("data")
    product = jax.shard_map(lambda x: x @ jnp.ones((5, 7)), mesh=devices, in_specs=rows, out_specs=rows)
    assert cost.flops(product, jnp.ones((16, 5))) == 2 * 16 * 5 * 7


def test_bytes_of_a_state_are_a_devices():
    split = step.lower(tiny("rectified_flow_toy2d", data=1, fsdp=8, fsdp_min_size=0), here()).state
    whole = step.lower(tiny("rectified_flow_toy2d", data=8), here()).state
    assert whole["opt"] > 2 * whole["ema"] and 1 / 8 < split["ema"] / whole["ema"] < 0.5


@pytest.mark.parametrize("name", ["digits", "friedman", "friedman_classes", "8gaussians"])
def test_data_by_shape_are_those_that_are_loaded(name):
    config = base.update(base.data(name), size=50)
    mine, real = tables.load(config), data.load(config)
    assert mine._replace(train=None, test=None, log_prob=None) == real._replace(train=None, test=None, log_prob=None)
    assert tables.rows(config, mine) == real.train.size


@pytest.mark.parametrize(
    "fields", [{"name": "mnist"}, {"name": "imagenet64"}, {"name": "adult"}, {"name": "uci_regression", "target": True}]
)
def test_data_that_are_not_there_have_a_shape(fields):
    found = tables.load(base.update(base.data("digits"), dir="nowhere", **fields))
    batch = found.train.gather(np.arange(7))
    assert batch["x"].shape == (7, *found.shape) and len(found.train.gather(np.arange(found.train.size))["x"]) > 7
    assert ("condition" in batch) == (found.num_classes is not None) and ("y" in batch) == bool(found.feature_names)
    assert batch["x"].dtype == (np.uint8 if found.levels else np.float32)


KNOWN = {  # what is read of a report
    **{"what": "train", "state_per_device": {"params": 2**30}, "hbm_per_device": 16 * 2**30, "devices": 8},
    "mesh": {"data": 4, "fsdp": 2},
}
HBM = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (43.24G) exceeds "
    "available HBM (15.75G)."
)
FUSION = (
    "RESOURCE_EXHAUSTED: E1001: CompileTimeScopedVmemOom:\nRan out of memory in memory space vmem while allocating on "
    "stack for %fusion.16 = (u32[2]{0:T(128)S(1)}) fusion(%get-tuple-element.2), kind=kLoop. Scoped allocation with "
    "size 8.72M and limit 6.40M exceeded scoped vmem limit by 2.32M.\nSee https://openxla.org"
)
VMEM = (
    "RESOURCE_EXHAUSTED: Allocation (size=268435456) would exceed memory (size=134217728) :: #allocation2 [space=vmem] "
    ":: kernel.1"
)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({}, "set net.remat=True"),
        ({"state_per_device": {"opt": 9 * 2**30}}, "--mesh=fsdp=4 splits the weights further"),
        ({"what": "boosting"}, "fewer rows"),
        ({"what": "sample"}, "lower sampler.num_samples"),
    ],
)
def test_too_little_hbm_is_a_sentence_and_a_report(changes, words):
    error = report.mistake(ValueError(HBM), KNOWN | changes, here())
    assert isinstance(error, report.TooLarge) and "needs 43.24 GiB of HBM a device and 15.75 are there" in str(error)
    assert words in str(error) and error.report["fits"] is False
    assert error.report["bytes_per_device"]["total"] == round(43.24 * 2**30) and error.report["collectives"] is None


def test_other_errors_of_the_compiler_are_sentences():
    vmem = str(report.mistake(ValueError(VMEM), KNOWN, here()))
    assert "a kernel (kernel.1) takes more VMEM than a chip of cpu has: 256 MiB of 128; give it smaller blocks" in vmem
    own = str(report.mistake(ValueError(FUSION), KNOWN, here()))
    assert own.startswith(
        "fusion.16, which the compiler made itself, takes 8.72 MiB of VMEM, and a chip of cpu has 6.40"
    )
    assert "\n" not in own and "take another chip" in own
    other = report.mistake(ValueError("UNIMPLEMENTED: no such thing\nmore"), KNOWN, here())
    assert str(other) == "the compiler for cpu says: UNIMPLEMENTED: no such thing"
