"""Trees of a table on disk are those of the same table in memory, however it is cut, and outlive an interruption."""

import dataclasses
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from configs import base
from research import trees
from research.data import libsvm
from research.errors import UserError
from research.trees import external, streamed

N = 3000
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 5)).astype(np.float32).round(1)
Y = (np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + RNG.normal(size=N)).astype(np.float32)
X[RNG.random(X.shape) < 0.1] = np.nan
W = RNG.integers(1, 5, N).astype(np.float32)
KEY = jax.random.key(3)


def config(of=base.gbdt, **fields):
    return types.SimpleNamespace(**of().to_dict() | {"num_trees": 4, "block": 2, "depth": 3} | fields)


def oblivious(**fields):
    return config(base.gbdt_oblivious, **{"depth": 2} | fields)


def parts(y, w=None, size=700):
    """A function that gives blocks of the table."""
    arrays = (X, y) if w is None else (X, y, w)
    return lambda: (tuple(a[i : i + size] for a in arrays) for i in range(0, N, size))


def assert_same(one, other, exact=True):
    fields = [field.name for field in dataclasses.fields(one)]
    for name in fields:
        if exact or name not in ("value", "leaves", "gain", "cover"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        else:  # of a tree's last sum with the scores XLA may round once where it rounds twice
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-4, atol=1e-5, err_msg=name)


DRAWN = {"subsample": 0.5, "colsample_bynode": 0.6, "colsample_bytree": 0.7, "reg_alpha": 0.5}
CASES = {  # options, targets, weights, whether all bits are the same
    "weighted": ({"objective": "logistic"}, (Y > 0) * 1.0, W, True),
    "classes": ({"objective": "softmax:classes=3,factor=2"}, np.digitize(Y, [-1, 1]), None, False),
    "mart": ({"newton": False, "leaf_method": "gradient", "min_data_in_leaf": 20, "missing": "max"}, Y, None, True),
    "light": ({"min_child_weight": 1e4}, Y, None, True),
    "drawn": ({"objective": "poisson"} | DRAWN, np.abs(Y).round(), None, True),
}


@pytest.mark.parametrize("case", CASES)
def test_trees_are_those_in_memory(tmp_path, case):
    fields, y, w, exact = CASES[case]
    whole = trees.fit(X, y, config(**fields), key=KEY, sample_weight=w)
    found = external.fit(parts(y, w), config(**fields), tmp_path, key=KEY, rows=999)
    assert_same(found, whole, exact)
    assert found.objective == whole.objective and (tmp_path / "codes").stat().st_size == 4 * 999 * 5
    np.testing.assert_allclose(trees.predict(found, X), trees.predict(whole, X), rtol=1e-4, atol=1e-5)


OBLIVIOUS = {  # options, targets, weights, whether all bits are the same
    "as on Adult": ({"objective": "logistic", "leaf_method": "newton"}, (Y > 0) * 1.0, None, True),
    "weighted": ({"score_function": "l2", "missing": "learn", "subsample": 0.5}, Y, W, True),
    "noisy": (
        {"random_strength": 1.0, "learning_rate": 2.5, "colsample_bylevel": 0.6, "colsample_bytree": 0.7},
        Y,
        W,
        True,
    ),
    "bayesian": ({"bagging_temperature": 1.0}, Y, None, True),
    "classes": ({"objective": "softmax:classes=3"}, np.digitize(Y, [-1, 1]), None, False),
}


@pytest.mark.parametrize("case", OBLIVIOUS)
def test_oblivious_trees_are_those_in_memory(tmp_path, case):
    fields, y, w, exact = OBLIVIOUS[case]
    whole = trees.fit(X, y, oblivious(**fields), key=KEY, sample_weight=w)
    assert_same(external.fit(parts(y, w), oblivious(**fields), tmp_path, key=KEY, rows=999), whole, exact)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """(folder, Forest) of one fitting."""
    folder = tmp_path_factory.mktemp("external")
    return folder, external.fit(parts(Y, W), config(), folder, key=KEY, rows=1000)


def test_blocks_change_no_bit(tmp_path, once):
    assert_same(external.fit(parts(Y, W, 1234), config(), tmp_path, key=KEY, rows=4000), once[1])


def test_after_an_interruption_the_same_trees_grow(tmp_path, once, monkeypatch):
    kept, grow, grown = external._keep, streamed.grow, []

    def stop(*args):
        kept(*args)
        raise KeyboardInterrupt

    def counted(*args):
        grown.append(args[-1])
        return grow(*args)

    monkeypatch.setattr(streamed, "grow", counted)
    monkeypatch.setattr(external, "_keep", stop)
    with pytest.raises(KeyboardInterrupt):
        external.fit(parts(Y, W), config(), tmp_path, key=KEY, rows=1000)
    monkeypatch.setattr(external, "_keep", kept)
    assert_same(external.fit(parts(Y, W), config(), tmp_path, key=KEY, rows=1000), once[1])
    assert grown == [0, 1, 2, 3]
    again = external.fit(parts(Y, W), config(), tmp_path, key=KEY, rows=1000)
    assert grown == [0, 1, 2, 3]  # all are there
    assert_same(again, once[1])
    fewer = external.fit(parts(Y, W), config(num_trees=3), tmp_path, key=KEY, rows=1000)
    np.testing.assert_array_equal(fewer.value, once[1].value[:3])
    external.fit(parts(Y, W + 1), config(num_trees=1), tmp_path, key=KEY, rows=1000)
    assert grown[4:] == [0]  # of another table none are


def test_a_file_that_was_not_finished_is_not_there(tmp_path):
    def broken():
        for i, part in enumerate(parts(Y)()):
            if i == 3 and (tmp_path / "read").exists():
                raise RuntimeError("the disk is gone")
            yield part
        (tmp_path / "read").touch()

    with pytest.raises(RuntimeError, match="the disk is gone"):
        external.fit(broken, config(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["read"]


def test_parquet_and_libsvm_are_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde")).assign(y=Y, w=W)
    frame.to_parquet(tmp_path / "table.parquet")
    blocks = list(external.parquet(tmp_path / "table.parquet", "y", "w")())
    for found, wanted in zip(zip(*blocks), (X, Y, W)):
        np.testing.assert_array_equal(np.concatenate(found), wanted)
    lines = [" ".join([str(y), *(f"{i}:{v}" for i, v in enumerate(x) if v == v)]) for x, y in zip(X, Y)]
    (tmp_path / "table.libsvm").write_text("\n".join(lines))
    for found, wanted in zip(zip(*libsvm.blocks(tmp_path / "table.libsvm", rows=800)), (X, Y)):
        np.testing.assert_array_equal(np.concatenate(found), wanted)


MISTAKES = {  # options, what the sentence says
    "catboost": (base.catboost().to_dict(), "are 'gbdt_oblivious', or 'gbdt'"),
    "mvs": ({"mvs": True, "subsample": 0.5}, "mvs is off"),
    "exact": ({"tree_method": "exact"}, "of tree_method 'hist'"),
    "dart": ({"booster": "dart"}, "without dart"),
    "a tree an output": (
        {"objective": "softmax:classes=3", "one_output_per_tree": True},
        "set one_output_per_tree=False",
    ),
    "medians": ({"objective": "absolute", "leaf_method": "exact"}, "leaves take one step"),
    "early stopping": ({"early_stopping": 3}, "early_stopping needs an eval_set"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_options_that_need_all_rows_are_named(tmp_path, mistake):
    fields, sentence = MISTAKES[mistake]
    with pytest.raises(UserError, match=sentence):
        external.fit(parts(Y), config(**fields), tmp_path)


def test_tables_that_change_are_named(tmp_path):
    with pytest.raises(UserError, match="gives no blocks"):
        external.fit(lambda: iter(()), config(borders=[[0.0]] * 5), tmp_path)
    calls = []

    def shrinking():
        calls.append(0)
        return (part for i, part in enumerate(parts(Y)()) if i < 4 or len(calls) == 1)

    with pytest.raises(UserError, match="gave 3000 rows the first time and 2800 then"):
        external.fit(shrinking, config(), tmp_path)
    with pytest.raises(UserError, match="the loss is not finite in float32 within 0 trees"):
        external.fit(parts(Y * 1e30, W * 1e30), config(), tmp_path)


PROCESS = """
import resource, sys, tempfile, types
import numpy as np
from configs import base
from research.trees import external

def read():
    rng = np.random.default_rng(0)
    for _ in range(int(sys.argv[1])):
        x = rng.integers(0, 200, (20000, 60)).astype(np.float32)
        yield x, x[:, 0] - x[:, 1]

config = types.SimpleNamespace(**base.gbdt().to_dict() | {"num_trees": 2, "block": 2, "depth": 3})
with tempfile.TemporaryDirectory() as folder:
    external.fit(read, config, folder)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_what_is_held_does_not_grow_with_the_table():
    """600,000 rows more are 144 MB as numbers and 36 MB as codes; of each a score, a target and a place stay,
    and what the allocator keeps of the start's sums, which varies by some 20 MB."""
    few, many = (
        int(subprocess.run([sys.executable, "-c", PROCESS, blocks], capture_output=True, text=True, check=True).stdout)
        for blocks in ("10", "40")
    )
    assert (many - few) * 1024 < 600_000 * 60
