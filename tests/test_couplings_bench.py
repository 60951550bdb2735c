"""The benchmark of couplings runs, at sizes that prove nothing but that."""

import sys
import types

import numpy as np
import pytest

from configs import rectified_flow_digits, rectified_flow_toy2d
from research.benchmarks import couplings


def tiny(experiment):
    config = experiment.get_config("tiny")
    config.net.name = "mlp"  # a U-Net takes long to compile
    return config


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(couplings, "ROUNDS", 3)
    monkeypatch.setattr(couplings, "BATCH", 16)
    cases = {"digits": lambda: tiny(rectified_flow_digits), "points": lambda: tiny(rectified_flow_toy2d)}
    monkeypatch.setattr(couplings, "CASES", cases)


def stub():
    """What the benchmark asks of POT; its plans are the identity."""
    calls = []

    def plan(a, b, cost, *rest, **options):
        calls.append((cost.shape, *rest))
        return np.eye(len(a)) / len(a)

    dist = lambda a, b: np.sum((a[:, None] - b) ** 2, axis=-1)  # noqa: E731
    return types.SimpleNamespace(emd=plan, sinkhorn=plan, dist=dist, __version__="1.0"), calls


def test_couplings_are_compared_with_a_step(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)  # not to be imported
    result = couplings.main()
    assert result["peers"]["pot"].startswith("absent")
    for case in ("digits", "points"):
        assert set(result[case]) == {"step", "exact", "exact_by_class", "sinkhorn", "sinkhorn_by_class"}
        assert result[case]["step"]["ratio"] == 1
        for row in result[case].values():
            low, high = row["quartiles"]
            assert 0 < low <= row["ratio"] <= high and row["ms"] > 0


def test_the_peer_pairs_the_same_batch(small, monkeypatch):
    pot, calls = stub()
    monkeypatch.setitem(sys.modules, "ot", pot)
    x0 = np.random.default_rng(0).normal(size=(16, 2, 1)).astype(np.float32)
    found, version = couplings.peers(x0)
    assert version == "1.0"
    np.testing.assert_array_equal(found["pot_exact"](), np.arange(16))
    np.testing.assert_array_equal(found["pot_sinkhorn"](), np.arange(16))
    assert calls[0] == ((16, 16),) and calls[1][0] == (16, 16) and calls[1][1] > 0
