"""Benchmarks run, at sizes that prove nothing but that."""

import math

import pytest

from research.benchmarks import data, loop, nets
from research.nets.mlp import MLP


def test_loop_compares_the_same_steps(monkeypatch):
    monkeypatch.setattr(loop, "STEPS", 20)
    monkeypatch.setattr(loop, "ROUNDS", 2)
    monkeypatch.setattr(loop, "WIDTH", 8)
    result = loop.main()
    low, high = result["ratio_quartiles"]
    assert low <= result["ratio_median"] <= high
    assert result["ratio"] == pytest.approx(result["loop_ms"] / result["bare_ms"])


def test_data_counts_batches(monkeypatch):
    monkeypatch.setattr(data, "BATCHES", 5)
    rates = [value for name, value in data.main().items() if name.endswith("per_second")]
    assert len(rates) == 3 and all(math.isfinite(rate) and rate > 0 for rate in rates)


def test_nets_compare_what_is_compiled(monkeypatch):
    monkeypatch.setattr(nets, "DDPM", MLP(width=4))  # a U-Net or DiT takes long to compile
    monkeypatch.setattr(nets, "DiT", lambda remat=False, **_: MLP(width=4, depth=2, remat=remat))
    monkeypatch.setattr(nets, "ROUNDS", 1)
    result = nets.main()
    assert result["compile_ratio"] == pytest.approx(result["compile_48_s"][0] / result["compile_12_s"][0])
    assert result["flops_ratio_unet_ddpm"] > 0 and result["remat_memory_ratio"] > 0
