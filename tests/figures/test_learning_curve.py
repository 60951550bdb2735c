"""The learning curve that a finished run of trees leaves behind."""

import json

import pytest

from configs import gbdt_oblivious_california
from research import experiment, loop, results
from research.errors import UserError
from research.figures import learning_curve

ROWS = [
    {"step": 1, "loss": 4.0, "trees": 5},
    {"step": 2, "loss": 2.0, "trees": 10},
    {"step": 2, "eval/loss": 1.5, "eval/mse": 3.0},
    {"step": 3, "loss": 1.0, "trees": 15},
    {"step": 4, "loss": 0.5, "trees": 20},
    {"step": 4, "eval/loss": 2.5, "eval/mse": 5.0},
]


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def test_points_are_plain_numbers_by_trees(workdir):
    assert learning_curve.load([workdir]) == {
        workdir.name: {
            "loss": {"trees": [5, 10, 15, 20], "value": [4.0, 2.0, 1.0, 0.5]},
            "eval/loss": {"trees": [10, 20], "value": [1.5, 2.5]},
            "eval/mse": {"trees": [10, 20], "value": [3.0, 5.0]},
        }
    }


def test_lines_and_the_least_held_out_loss(workdir):
    pytest.importorskip("matplotlib")
    left, right = learning_curve.draw(learning_curve.load([workdir])).axes
    lines = {line.get_linestyle(): line for line in left.lines}
    assert list(lines["--"].get_ydata()) == [4.0, 2.0, 1.0, 0.5] and list(lines["-"].get_ydata()) == [1.5, 2.5]
    dots = [(*line.get_xdata(), *line.get_ydata()) for line in left.lines if line.get_marker() == "o"]
    assert dots == [(10, 1.5)]
    assert list(right.lines[0].get_xdata()) == [10, 20] and right.get_ylabel() == "MSE"


@pytest.mark.parametrize("text", [None, "", '{"step": 1, "loss": 2.0}\n', '{"step'])
def test_other_runs_are_named(tmp_path, text):
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(UserError, match=f"{tmp_path} holds no numbers of a run of trees"):
        learning_curve.load([tmp_path])


def test_a_finished_run_leaves_its_picture(tmp_path):
    pytest.importorskip("matplotlib")
    built = experiment.build(gbdt_oblivious_california.get_config("tiny"))
    state = loop.run(built.program, built.program.batch, built.config, tmp_path)
    results.finish(built, built.program.params(state), tmp_path)
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    curves = learning_curve.load([tmp_path])[tmp_path.name]
    assert curves["loss"]["trees"][-1] == curves["eval/mse"]["trees"][-1] == built.config.model.num_trees
