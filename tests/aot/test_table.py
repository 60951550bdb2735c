"""The table of all configs: what a rerun compiles again, and what is drawn of it."""

import importlib
import json

import jax
import pytest

from configs import base
from research.aot import page, report, table, topologies
from research.aot.topologies import CHIPS, Topology
from research.errors import UserError

DEVICES = {"small": 2, "large": 4}


def tiny(name, **fields):
    config = importlib.import_module(f"configs.{name}").get_config("tiny")
    base.update(config.mesh, **fields)
    return config


@pytest.fixture
def compiled(monkeypatch):
    """A list of the cells that were compiled, by a compiler that only pretends to."""
    made = []

    def make(config, topology, lowered):
        made.append((config.model.name, topology.name))
        found = report.known(config, topology, lowered) | {"fits": True, "compile_seconds": 1.0}
        if lowered.rows > 1000:
            raise report.TooLarge("too much", found | {"fits": False, "bytes_per_device": {"total": 3 * 2**30}})
        if config.seed == 9:
            raise UserError("the compiler says no")
        bound = {f"{name}_seconds": 1e-3 for name in ("compute", "hbm", "ici", "dcn")}
        found |= {"bytes_per_device": {"temporaries": 2**20, "total": 2**31}, "arithmetic_intensity": 2.0}
        found |= {"collectives": {"all-reduce": {"count": 1, "bytes": 2**30}}}
        return found | {"roofline_bound": bound | {"seconds": 1e-3, "limit": "ici", "efficiency": 0.5}}, None

    def describe(name, num_slices=1):
        count = DEVICES.get(name, 2)
        return Topology(f"v5e:{name}", num_slices, CHIPS["v5e"], jax.devices()[:count])

    monkeypatch.setattr(report, "make", make)
    monkeypatch.setattr(report, "versions", lambda: {"jax": "1", "libtpu": "2"})
    monkeypatch.setattr(topologies, "describe", describe)
    monkeypatch.setattr(topologies, "SOLD", dict.fromkeys(DEVICES))
    return made


def test_only_what_changed_is_compiled_again(compiled, tmp_path, capsys):
    path, configs = (
        tmp_path / "aot.json",
        {"rectified_flow_toy2d": tiny("rectified_flow_toy2d", fsdp=4, fsdp_min_size=9)},
    )
    table.fill(path, configs)
    assert compiled == [("rectified_flow", "v5e:small"), ("rectified_flow", "v5e:large")]
    before = path.read_bytes()
    cells = table.fill(path, configs)
    assert len(compiled) == 2 and path.read_bytes() == before and cells == json.loads(before)
    assert cells["rectified_flow_toy2d | small"]["note"] == "fsdp 2, not 4"
    assert cells["rectified_flow_toy2d | large"]["note"] == ""
    configs["rectified_flow_toy2d"].train.num_steps = 7  # a constant of the schedule
    table.fill(path, configs)
    assert len(compiled) == 4 and capsys.readouterr().err.count("1 s") == 4


def test_one_device_is_like_any_other_and_errors_are_kept(compiled, tmp_path):
    configs = {"toy": tiny("rectified_flow_toy2d", data=1), "wrong": tiny("spline_toy2d", data=1)}
    configs["wrong"].seed = 9
    for _ in range(2):
        cells = table.fill(tmp_path / "aot.json", configs)
        assert [topology for _, topology in compiled] == ["v5e:small"] * 2  # one for each config
    assert cells["toy | large"]["topology"] == "v5e:large" and cells["toy | small"]["devices"] == 1
    assert cells["wrong | large"]["error"] == "the compiler says no"


def test_the_page(compiled, tmp_path):
    large = tiny("rectified_flow_toy2d")
    large.data.batch_size = 2001
    configs = {"toy": tiny("rectified_flow_toy2d", data=1), "big": large, "split": tiny("rectified_flow_toy2d", data=3)}
    cells = table.fill(tmp_path / "aot.json", configs)
    text = page.page(cells, [*configs, "missing"], ["toy"])
    assert "with jax 1 and libtpu 2:" in text and "| config | small | large |" in text
    assert "| toy | 2.0 GiB, 1 ms ici, 1 device |" in text and "| missing | not run | not run |" in text
    assert "| big | **too large**: 3.0 GiB | **too large**: 3.0 GiB |" in text
    assert (
        "| split | fails: mesh.data x mesh.fsdp = 3 x 1 needs 3 devices" in text
        and "| toy, large | 1 | 1x1 | 16 |" in text
    )
    assert "all-reduce 1.0 GiB | 2 | 1 ms | 1 ms | 1 ms | 1 ms | 50 % |" in text
    assert "- big, small: batch of 2002: 2001 does not divide over 2 devices" in text
    assert "| v5p:16x16x24 | not run |" in text


def test_every_row_of_a_table_has_as_many_cells(compiled, tmp_path):
    cells = table.fill(tmp_path / "aot.json", {"toy": tiny("rectified_flow_toy2d")})
    for block in page.page(cells, ["toy", "missing"], ["toy", "missing"]).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1
