"""The roofline by hand, and chips' figures against each other."""

import pytest

from research.aot import roofline
from research.aot.collectives import Collective
from research.aot.topologies import CHIPS, LARGEST, SOLD, Chip, check
from research.errors import UserError

CHIP = Chip(flops=1000.0, flops_8bit=2000.0, hbm_bytes=64, hbm=100.0, ici=10.0, dcn=1.0)


def test_the_slowest_part_is_the_bound():
    sent = [Collective("all-reduce", 2, 30, 4), Collective("dcn all-gather", 1, 8, 2, crosses=True)]  # 2 x 45, and 4
    found = roofline.bound(6000.0, 250.0, sent, CHIP, devices=2)
    times = {name: found[f"{name}_seconds"] for name in ("compute", "hbm", "ici", "dcn")}
    assert times == pytest.approx({"compute": 3.0, "hbm": 2.5, "ici": 9.0, "dcn": 4.0})
    assert found["seconds"] == pytest.approx(9.0) and found["limit"] == "ici"
    assert found["efficiency"] == pytest.approx(1 / 3)


def test_whole_numbers_of_8_bits_go_twice_as_fast():
    assert roofline.bound(6000.0, 0, [], CHIP, 2, eight_bits=True)["compute_seconds"] == pytest.approx(1.5)


def test_a_device_is_half_of_a_chip_with_two_cores():
    found = roofline.bound(6000.0, 250.0, [Collective("collective-permute", 1, 10, 2)], CHIP._replace(cores=2), 2)
    assert found["compute_seconds"] == pytest.approx(6.0) and found["hbm_seconds"] == pytest.approx(5.0)
    assert found["ici_seconds"] == pytest.approx(2.0)


def test_flops_that_are_not_known_leave_no_efficiency():
    assert roofline.bound(None, 250.0, [], CHIP, 2)["efficiency"] is None
    assert roofline.bound(10.0, 0, [], CHIP, 2)["efficiency"] == 1.0


@pytest.mark.parametrize(
    "name", ["v5e:2x2", "v5e:16x16", "v6e:8x16", "v5p:2x2x1", "v5p:16x16x24", "tpu7x:4x8x8", "v4:4x4x4"]
)
def test_topologies_that_are_sold(name):
    check(name, *name.split(":"))


def test_the_names_of_the_table_are_topologies():
    for name, _ in SOLD.values():
        check(name, *name.split(":"))
    assert set(LARGEST) < set(CHIPS)


@pytest.mark.parametrize(
    "name, words",
    [
        ("v9:2x2", "v5e:2x2, v5p:2x2x1"),
        ("v5e", "shapes of v5e are 2x2, 2x4"),
        ("v5e:2x3", "shapes of v5e are 2x2, 2x4"),
        ("v5e:32x32", "8x16, 16x16"),
        ("v5p:4x4", "AxBxC"),
        ("v5p:8x4x4", "A <= B <= C"),
        ("v5p:4x4x5", "multiples of 4"),
        ("v5p:16x20x28", "at most 6144 chips"),
        ("v5p:4x4x4x", "AxBxC"),
        ("tpu7x:0x4x4", "AxBxC"),
    ],
)
def test_topologies_that_there_are_not(name, words):
    kind, _, shape = name.partition(":")
    with pytest.raises(UserError, match=f"no topology '{name}'.*{words}"):
        check(name, kind, shape)
