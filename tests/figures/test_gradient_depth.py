"""The figure of depth against gradient norm, from evaluations written by hand."""

import json

import pytest

from research.errors import UserError
from research.figures import gradient_depth


def run(folder, name, result):
    (folder / name).mkdir()
    (folder / name / "evaluation.json").write_text(json.dumps(result))
    return folder / name


def test_layers_in_order_and_one_line_a_trial(tmp_path):
    pytest.importorskip("matplotlib")
    result = {f"gradient/{i:02d}": 10.0**-i for i in range(12)} | {f"start/gradient/{i:02d}": 0.0 for i in range(12)}
    points = gradient_depth.load([run(tmp_path, "relu", result), run(tmp_path, "tanh", result)])
    assert json.loads(json.dumps(points)) == points
    assert points["relu"]["trained"] == [10.0**-i for i in range(12)] and list(points) == ["relu", "tanh"]
    deep = {f"gradient/{i:02d}": float(i) for i in range(120)}
    assert gradient_depth.load([run(tmp_path, "deep", deep)])["deep"]["trained"] == list(range(120))
    figure = gradient_depth.draw(points)
    for axis in figure.axes:
        assert len(axis.lines) == 2 and axis.get_yscale() == "log"
    assert (figure.axes[0].lines[0].get_ydata() == gradient_depth.NOTHING).all()


def test_runs_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(UserError, match="no gradient norms"):
        gradient_depth.load([run(tmp_path, "flow", {"loss": 1.0})])
    with pytest.raises(UserError, match="no finished run"):
        gradient_depth.load([tmp_path / "nothing"])
