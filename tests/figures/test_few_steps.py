"""The few-step figure, from tables written by hand."""

import json

import numpy as np
import pytest

from research.errors import UserError
from research.figures import few_steps

MOVED = {"times": [1.0, 0.5, 0.0], "cost_1": 1.5, "independent_1": 2.0, "cost_2": 2.75, "independent_2": 4.0}


def row(label, nfe, sliced, frechet, **more):
    """A row as the sampler table leaves it, floors 0.1 and 0.02."""
    ours = {"sliced_wasserstein/ours": sliced, "frechet/ours": frechet}
    floor = {"sliced_wasserstein/floor": 0.1, "frechet/floor": 0.02, "memorization/ratio": 1.0}
    return {"trial": label, "nfe": nfe} | ours | floor | more


def run(folder, name, rows, **transport):
    path = folder / name
    path.mkdir()
    (path / "sweep_few_steps.json").write_text(json.dumps({"step": 10, "rows": rows}))
    if transport:
        (path / "transport.json").write_text(json.dumps({"step": 10, "seed": 0} | MOVED | transport))
    return path


@pytest.fixture
def folders(tmp_path):
    """Two rounds with all there is, and a student of which straightness is not measured and one row is not finite."""
    rows = [row("16", 16.0, 0.2, 0.04), row("2", 2.0, 0.4, 0.5), row("adaptive", 57.0, 0.11, 0.021)]
    first = run(tmp_path, "first", rows, straightness=0.625, curve=[1.0, 0.5, 0.5])
    second = run(tmp_path, "second", [row("2", 2.0, 0.15, 0.06)], straightness=0.02, curve=[0.02, 0.02, 0.02])
    student = run(
        tmp_path, "student", [row("1", 1.0, 0.3, 0.9, **{"classifier/confident": 0.75}), row("2", 2.0, *2 * [None])]
    )
    return {"round_1": first, "round_2": second, "student": student}


def test_points_are_plain_numbers_in_the_order_of_steps(folders):
    points = few_steps.load(folders)
    assert json.loads(json.dumps(points)) == points and list(points) == list(folders)
    assert list(points["round_1"]["rows"]) == ["2", "16", "adaptive"]
    found = {"nfe": 2.0, "sliced_wasserstein/ours": 0.4, "frechet/ours": 0.5}
    found |= {"sliced_wasserstein/floor": 0.1, "frechet/floor": 0.02}
    assert points["round_1"]["rows"]["2"] == found
    assert points["student"]["rows"]["1"]["classifier/confident"] == 0.75 and list(points["student"]) == ["rows"]
    rest = {name: x for name, x in points["round_1"].items() if name != "rows"}
    assert rest == MOVED | {"straightness": 0.625, "curve": [1.0, 0.5, 0.5]}


def test_the_table(folders):
    text = few_steps.table(few_steps.load(folders))
    lines = [line.rstrip() for line in text.splitlines()]
    assert len({len(line) for line in text.splitlines()}) == 1
    cells = {line[:23].strip(): line[23:].split("   ") for line in lines}
    cells = {name: [cell.strip() for cell in row if cell.strip()] for name, row in cells.items()}
    assert list(cells) == [
        "sliced W2 / floor",
        *("1", "2", "16", "adaptive (nfe)", "floor", "straightness S"),
        "E|x1-x0| / at random",
        "E|x1-x0|^2 / at random",
    ]
    assert cells["sliced W2 / floor"] == ["round_1", "round_2", "student"]
    assert cells["1"] == ["-", "-", "3.00"] and cells["2"] == ["4.00", "1.50", "-"]
    assert cells["adaptive (nfe)"] == ["1.10 (57)", "-", "-"]
    assert cells["floor"] == ["0.1", "0.1", "0.1"] and cells["straightness S"] == ["0.625", "0.02", "-"]
    assert cells["E|x1-x0| / at random"] == ["1.5 / 2", "1.5 / 2", "-"]
    assert cells["E|x1-x0|^2 / at random"] == ["2.75 / 4", "2.75 / 4", "-"]


def test_what_is_missing_or_damaged_is_named_with_what_makes_it(folders, tmp_path):
    command = "python -m launch.evaluate --workdir={} --few_steps"
    with pytest.raises(UserError, match=command.format(tmp_path / "nothing")):
        few_steps.load({"a": tmp_path / "nothing"})
    damages = ("{", "[]", '{"rows": [{"trial": "1", "nfe": 1.0}]}', '{"rows": [3]}')
    for text in damages:
        (folders["student"] / "sweep_few_steps.json").write_text(text)
        with pytest.raises(UserError, match=command.format(folders["student"])):
            few_steps.load(folders)
    for text in ("{", "[]", '{"straightness": 1.0}'):
        (folders["round_2"] / "transport.json").write_text(text)
        with pytest.raises(UserError, match="second/transport.json is damaged"):
            few_steps.load({"round_2": folders["round_2"]})


def test_lines_floors_and_stars(folders):
    pytest.importorskip("matplotlib")
    points = few_steps.load(folders)
    figure = few_steps.draw(points)
    for axis, measure in zip(figure.axes, ("sliced_wasserstein", "frechet")):
        assert axis.get_xscale() == axis.get_yscale() == "log"
        lines = {line.get_label(): line for line in axis.lines}
        for name, label in (
            ("round_1", "round_1, S = 0.625"),
            ("round_2", "round_2, S = 0.02"),
            ("student", "student"),
        ):
            rows = [row for trial, row in points[name]["rows"].items() if trial != "adaptive"]
            np.testing.assert_array_equal(lines[label].get_xdata(), [row["nfe"] for row in rows])
            expected = np.array([row[f"{measure}/ours"] for row in rows], float)
            np.testing.assert_array_equal(np.array(lines[label].get_ydata(), float), expected)
        stars = [line for line in axis.lines if line.get_marker() == "*" and len(line.get_xdata())]
        adaptive = points["round_1"]["rows"]["adaptive"]
        assert [(*s.get_xdata(), *s.get_ydata()) for s in stars] == [(57.0, adaptive[f"{measure}/ours"])]
        assert stars[0].get_color() == lines["round_1, S = 0.625"].get_color()
        floors = [line.get_ydata()[0] for line in axis.lines if line.get_linestyle() == "--"]
        assert floors == [points["round_1"]["rows"]["2"][f"{measure}/floor"]]
    curves = figure.axes[2].lines
    assert [line.get_ydata().tolist() for line in curves] == [[1.0, 0.5, 0.5], [0.02, 0.02, 0.02]]
    assert [line.get_xdata().tolist() for line in curves] == 2 * [[1.0, 0.5, 0.0]]
    assert figure.axes[2].get_yscale() == "log"


def test_the_straightness_panel_is_there_where_it_was_measured(folders):
    pytest.importorskip("matplotlib")
    points = few_steps.load(folders)
    assert few_steps.draw({"a": points["round_1"]}).axes[2].get_yscale() == "linear"
    assert len(few_steps.draw({"a": points["student"]}).axes) == 2
