"""Benchmarks run, at sizes that prove nothing but that."""

import math

import pytest

from research.benchmarks import data, loop


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
