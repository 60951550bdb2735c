"""The benchmarks of ensembles and of training steps run, at sizes that prove nothing but that."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression

from research.benchmarks import ensemble_peers, ensembles, steps
from research.benchmarks.ensemble_peers import Table
from research.errors import UserError


def line(rows=40):
    x = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    return Table(x, 3 * x[:, 0], (), "numbers")


def labels(*counts):
    y = np.repeat(np.arange(len(counts)), counts).astype(np.float32)
    return Table(y[:, None], y, (), "classes")


def constant(table, tuned, seed):
    return DummyClassifier() if table.kind == "classes" else DummyRegressor()


def test_folds_measure_the_loss():
    losses, seconds = ensembles.scores(line(), lambda *_: LinearRegression(), False)
    assert len(losses) == len(seconds) == ensembles.FOLDS and max(losses) < 1e-6
    losses, _ = ensembles.scores(labels(20, 20), lambda *_: DummyClassifier(strategy="prior"), False)
    assert losses == pytest.approx([np.log(2)] * 5)


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_a_class_that_a_fold_never_saw_costs_what_no_chance_costs():
    losses, _ = ensembles.scores(labels(30, 1), lambda *_: DummyClassifier(strategy="prior"), False)
    assert max(losses) > 4 and sorted(losses)[3] < 0.1


def test_ranks_count_the_better_ones():
    found = {
        "a": {"ours": {"default": 1.0, "tuned": 3.0}, "peer": {"default": 2.0, "tuned": 2.0}},
        "b": {"ours": {"default": 1.0, "tuned": 1.0}, "peer": {"default": 2.0, "tuned": 0.5}},
    }
    ranks = ensembles.ranks(found)
    assert ranks == {
        "default": {"ours": 1.0, "peer": 2.0},
        "tuned": {"ours": 2.0, "peer": 1.0},
        "both": {"ours": 1.5, "peer": 1.5},
    }


def test_quality_goes_over_tables_and_contestants(monkeypatch):
    monkeypatch.setattr(ensemble_peers, "here", lambda: ({"ours": constant, "peer": constant}, {}))
    monkeypatch.setattr(ensemble_peers, "all_tables", lambda folder: {"line": line, "labels": lambda: labels(20, 20)})
    found = ensembles.quality()
    assert found["tables"].keys() == {"line", "labels"} and found["mean_rank"]["both"] == {"ours": 1.0, "peer": 1.0}
    assert found["tables"]["labels"]["ours"]["default"] == pytest.approx(np.log(2))


def test_contestants_take_turns(monkeypatch):
    monkeypatch.setattr(ensembles, "ROUNDS", 2)
    table, calls = labels(20, 20), []

    def one(name):
        return lambda: calls.append(name) or DummyClassifier()

    row = ensembles.turns(table.x, table.y.astype(int), {"ours": one("ours"), "peer": one("peer")})
    assert calls == ["ours", "peer"] * 3 and row["rows"] == 32
    assert 0 <= row["ours"]["accuracy"] <= 1 and row["ours"]["over_peer"]["ratio"] > 0


@pytest.mark.parametrize(("module", "variable"), [(ensembles, "ENSEMBLES_ROWS"), (steps, "STEPS_CONFIGS")])
def test_an_unknown_row_is_named(monkeypatch, module, variable):
    monkeypatch.setenv(variable, "nonsense")
    with pytest.raises(UserError, match="nonsense"):
        module.main()
