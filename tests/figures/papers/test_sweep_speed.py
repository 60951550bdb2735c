"""Ways to run a sweep: the commands cover the same trials, and what they leave is read and compared."""

import json

import numpy as np
import pytest

from research import sweep
from research.figures.papers import sweep_speed
from research.reproduce import records, verdict

WAYS = list(sweep_speed.STYLES)


def leave(folder, name, rate, seed, distance):
    """A finished trial, as far as it is read."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"optimizer": {"learning_rate": rate}, "seed": seed}))
    (path / "evaluation.json").write_text(json.dumps({sweep_speed.METRIC: distance}))


@pytest.fixture
def points():
    found = {way: [[1e-3, 0, 0.5], [1e-2, 0, 0.25]] for way in WAYS}
    return {"trials": 2, "load": 0.0, "seconds": dict(zip(WAYS, (10.0, 25.0, 40.0))), "found": found}


def test_each_way_has_a_command_for_all_trials(tmp_path):
    lines = sweep_speed.commands("experiment.py", (0.1, 0.2), 3)
    assert list(lines) == WAYS
    one, anew, separate = (lines[way](tmp_path) for way in WAYS)
    assert len(one) == len(anew) == 1 and len(separate) == 6
    assert "--backend=one_program" in one[0] and f"--workdir={tmp_path}" in one[0]
    assert anew[0][2:] == ["experiment.py", str(tmp_path)]
    assert separate[4][2:] == [
        *(
            "--config=experiment.py",
            "--config.optimizer.learning_rate=0.2",
            "--config.seed=1",
            f"--workdir={tmp_path}/4",
        ),
    ]


def test_the_experiment_yields_the_same_trials(tmp_path, monkeypatch):
    def train(lines):
        folder = tmp_path / str(len(list(tmp_path.glob("*.txt"))))
        (tmp_path / f"{folder.name}.txt").write_text("")
        text = next(word for line in lines for word in line if "experiment.py" in word).removeprefix("--config=")
        module = sweep.load_module(text)
        trials = sweep.trials(module, "all", module.get_config())
        assert {config.train.num_steps for _, config in trials} == {sweep_speed.CHANGES["train.num_steps"]}
        seen.append(sorted((config.optimizer.learning_rate, config.seed) for _, config in trials))
        return 1.5

    seen = []
    monkeypatch.setattr(sweep_speed.sweep, "seconds", train)
    monkeypatch.setattr(sweep_speed, "distances", lambda folder: [[1.0, 0, int(folder.name)]])
    found = records.plain(sweep_speed.load({}, "smoke"))
    rates, seeds = sweep_speed.TRIALS["smoke"]
    assert seen == [[(rate, seed) for rate in rates for seed in range(seeds)]] * 3
    assert found["seconds"] == dict.fromkeys(WAYS, 1.5) and found["trials"] == len(rates) * seeds
    assert found["found"][WAYS[2]] == [[1.0, 0, 2]]  # a folder each


def test_scale_full_has_the_trials_of_the_benchmark():
    rates, seeds = sweep_speed.TRIALS["full"]
    assert len(rates) * seeds == 32 and sweep_speed.runs("full") == sweep_speed.runs("smoke") == {}


def test_trials_are_read_in_order(tmp_path):
    for name, rate, seed, distance in (("b", 0.1, 1, 0.5), ("a", 0.2, 0, 0.4), ("c", 0.1, 0, 0.3)):
        leave(tmp_path, name, rate, seed, distance)
    (tmp_path / "unfinished").mkdir()
    assert sweep_speed.distances(tmp_path) == [[0.1, 0, 0.3], [0.1, 1, 0.5], [0.2, 0, 0.4]]


def test_rows_turn_with_the_points(points):
    rows = sweep_speed.rows(points)
    assert [row["verdict"] for row in rows] == [verdict.REPRODUCED, verdict.TREND, verdict.TREND]
    assert [row["ours"] for row in rows] == [0, 2.5, 4]
    slow = points | {"seconds": points["seconds"] | {WAYS[1]: 9.0}}
    assert [row["verdict"] for row in sweep_speed.rows(slow)][1:] == [verdict.DIFFERS, verdict.TREND]
    for wrong in ([[1e-3, 0, 0.5], [1e-2, 0, 0.251]], [[1e-3, 0, 0.5]]):  # another number; a trial too few
        other = points | {"found": points["found"] | {WAYS[2]: wrong}}
        assert sweep_speed.rows(other)[0]["verdict"] == verdict.DIFFERS


def test_bars_and_marks(points):
    pytest.importorskip("matplotlib")
    left, right = sweep_speed.draw(json.loads(json.dumps(points))).axes
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in (left, right))
    assert [bar.get_width() for bar in left.patches] == [10, 25, 40]
    assert [text.get_text() for text in left.texts] == [" 10.0 s", " 25.0 s, 2.5 x", " 40.0 s, 4.0 x"]
    assert [line.get_label() for line in right.lines] == WAYS
    np.testing.assert_array_equal(right.lines[2].get_ydata(), [0.5, 0.25])
