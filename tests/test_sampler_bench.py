"""The benchmark of samplers runs, at sizes that prove nothing but that."""

import math

import pytest

from research.benchmarks import sampler_peers, samplers
from research.nets.mlp import MLP


@pytest.fixture
def small(monkeypatch):
    sizes = {"ROUNDS": 3, "BATCH": 2, "STEPS": 3, "SDE_STEPS": 4, "SIDE": 2, "FIXED": ("ddim", "heun")}
    for name, value in sizes.items():
        monkeypatch.setattr(samplers, name, value)
    for name in ("UNET", "PERCEPTRON"):  # a U-Net takes long to compile
        monkeypatch.setattr(samplers, name, MLP(width=4, depth=1))


def numbers(tree):
    """Every number of nested dicts and lists."""
    if isinstance(tree, str):
        return []
    if isinstance(tree, (int, float)):
        return [tree]
    return [number for leaf in (tree.values() if isinstance(tree, dict) else tree) for number in numbers(leaf)]


def test_samplers_are_compared(small, monkeypatch):
    orders = []
    peer = {"peer": lambda order: orders.append(order) or {"parameters": 7}}
    monkeypatch.setattr(sampler_peers, "contestants", lambda sizes: (peer, "1.0"))
    result = samplers.main()
    assert orders == ["build"] + ["net", "sample"] * 4
    rows, theirs = result["over_net"], result["diffusers"]["peer"]
    assert {name: rows[name]["calls"] for name in ("ddim", "heun")} == {"ddim": 3, "heun": 6}
    for what in ("unet", "mlp"):
        assert all(result["reverse_sde"][what][name]["calls"] == 4 for name in ("euler_maruyama", "reverse_sde"))
    assert 0 < theirs["over_ours"]["ratio"] < 1 and theirs["parameters"] == 7  # a peer that does nothing is fast
    assert all(math.isfinite(number) and number > 0 for number in numbers({**result, "load": 1}))


def test_a_ratio_is_of_a_turn_and_of_the_calls():
    found = samplers.ratio([4.0, 8.0, 12.0], [1.0, 2.0, 3.0], 2.0)
    assert found == {"ratio": 2.0, "quartiles": [2.0, 2.0]}


def test_a_peer_that_is_not_here_says_so(monkeypatch):
    monkeypatch.delenv(sampler_peers.PYTHON, raising=False)
    peers, why = sampler_peers.contestants({})
    assert peers == {} and why.startswith("absent") and sampler_peers.PYTHON in why
    monkeypatch.setenv(sampler_peers.PYTHON, "/bin/false")
    assert sampler_peers.contestants({}) == ({}, "absent: status 1")


def test_a_process_that_dies_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv(sampler_peers.PYTHON, "/bin/false")
    with pytest.raises((RuntimeError, BrokenPipeError)):
        sampler_peers.child({}, 1)("build")
