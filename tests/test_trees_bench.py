"""The benchmark of trees runs, at sizes that prove nothing but that."""

import sys
import types

import numpy as np
import pytest

from research.benchmarks import tree_peers, trees
from research.benchmarks.tree_peers import Work
from research.errors import UserError


@pytest.fixture
def small(monkeypatch):
    sizes = {"ROUNDS": 2, "NUM_MODELS": 2, "MODEL_TREES": 1, "PEERS_MODELS": 2}
    sizes |= {"MODELS": Work(20, 6, 4, depth=1), "PREDICTED": Work(30, 6, 4, depth=2), "PREDICTED_ROWS": 50}
    sizes |= {"PREDICTED_TREES": 2, "MEMORY": Work(40, 6, 4, depth=1), "MEMORY_TREES": 1}
    for name, value in sizes.items():
        monkeypatch.setattr(trees, name, value)


def peer(calls):
    """A peer that grows and predicts nothing."""

    def make(work, x, y):
        assert x.shape == (work.rows, work.features) and y.shape == (work.rows,)
        return lambda num_trees: calls.append(num_trees), lambda model, x: calls.append(len(x))

    return make


@pytest.mark.parametrize("classes", [0, 3])
def test_training_is_compared_turn_by_turn(small, monkeypatch, classes):
    calls = []
    monkeypatch.setattr(trees, "GROWERS", {"oblivious": trees.GROWERS["oblivious"]})
    real = trees.turns

    def turns(fits):  # all run, and then: a fit costs 7 ms once, a tree of ours 3 ms and of a peer 1 ms
        real(fits)
        return {(name, n): [7 + n * (1 if "xgboost" in name else 3)] * 2 for name, n in fits}

    monkeypatch.setattr(trees, "turns", turns)
    result = trees.trained(Work(60, 6, 4, classes, depth=1), {"xgboost": peer(calls)})
    few, more = (2, 12) if classes else (10, 60)
    assert calls == [few, more] * (2 if classes else 1) * 3
    assert ("xgboost_vector" in result) == bool(classes)
    for kind in ("rows", "features"):
        row = result[f"oblivious_{kind}"]
        assert row["ms"] == 3 and row["over_xgboost"]["ratio"] == 3


def test_prediction_is_compared(small):
    calls = []
    result = trees.predicted({"catboost": peer(calls)})
    assert calls == [2, 50, 50, 50] and result["ours"]["over_catboost"]["ratio"] > 1


def test_many_models_are_compared(small, monkeypatch):
    class Pool:
        def __init__(self, *_):
            pass

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731

        def map(self, ask, seeds):
            return [ask(of) for of in seeds]

    asked = []
    monkeypatch.setattr(trees, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(
        tree_peers, "fits", lambda name, work, num, seeds: asked.append((work.threads, list(seeds))) or 0.5
    )
    result = trees.models({"lightgbm": None})
    assert asked[0] == (2, [0, 1]) and asked[4:6] == [(1, [0]), (1, [1])]
    assert result["lightgbm_2_processes"]["s"] == 0.5 and result["ours"]["over_lightgbm_2_processes"] > 0


def test_memory_is_that_of_a_process(small):
    result = trees.memory({})
    assert 10 < result["table"]["mib"] < result["rows"]["mib"] < 4000


def test_the_table_has_classes_of_the_same_size():
    x, y = tree_peers.table(Work(1000, 5, 4, classes=10))
    assert x.dtype == np.float32 and (np.bincount(y) == 100).all()


def test_rows_are_picked_by_name_and_absent_peers_are_told(monkeypatch):
    for name in tree_peers.PEERS:
        monkeypatch.setitem(sys.modules, name, None)  # not to be imported
    monkeypatch.setitem(sys.modules, "xgboost", types.SimpleNamespace(__version__="1.0"))
    monkeypatch.setattr(trees, "ROWS", {"one": lambda peers: list(peers), "other": None})
    monkeypatch.setenv(trees.ONLY, "one")
    result = trees.main()
    assert result["one"] == ["xgboost"] and result["peers"]["xgboost"] == "1.0"
    assert result["peers"]["catboost"].startswith("absent")
    monkeypatch.setenv(trees.ONLY, "oen")
    with pytest.raises(UserError, match="TREES_ROWS names the row 'oen'"):
        trees.main()


def test_a_peer_whose_trees_are_below_the_noise_is_left_out():
    tree = {"ours": [3.0], "xgboost": [1.0, 2.0, 1e-4], "lightgbm": [1e-4, 1e-4, 5.0]}
    assert trees.sound(tree, ["xgboost", "lightgbm"]) == {"xgboost": tree["xgboost"]}


def test_peers_that_can_are_also_asked_on_a_gpu():
    asked, one = [], lambda work, x, y: (asked.append(work) or "fit", "predict")
    peers = dict.fromkeys(tree_peers.PEERS, one)
    assert set(tree_peers.contests(Work(9, 6, 4, gpu=True), None, None, peers)) == {
        *tree_peers.PEERS,
        "catboost_gpu",
        "xgboost_gpu",
    }
    assert [work.gpu for work in asked] == [False, False, False, True, True]
    assert set(tree_peers.contests(Work(9, 6, 4, classes=3), None, None, {"xgboost": one})) == {
        "xgboost",
        "xgboost_vector",
    }
