"""The gallery of activations: its points are true and plain, and every one of them is drawn."""

import itertools
import json
import sys

import numpy as np
import pytest

from research.errors import UserError
from research.figures import activations
from research.nets.activations import TABLE


@pytest.fixture(scope="module")
def points():
    return activations.points(count=41)


def test_points_are_plain_and_finite_for_every_function_of_one_input(points):
    assert json.loads(json.dumps(points, allow_nan=False)) == points
    assert set(TABLE) - set(points["curves"]) == {
        "softmax", "maxout", "glu", "gtu", "bilinear", "reglu", "geglu", "swiglu"
    }  # fmt: skip
    for name, curve in points["curves"].items():
        assert len(curve["value"]) == len(curve["slope"]) == len(points["x"]) == 41
        assert curve["formula"] == TABLE[name].formula


def test_known_values_and_derivatives(points):
    x, curves = np.array(points["x"]), points["curves"]
    assert x[0] == -4 and x[-1] == 4
    np.testing.assert_allclose(curves["tanh"]["value"], np.tanh(x), atol=2e-6)
    np.testing.assert_allclose(curves["tanh"]["slope"], 1 - np.tanh(x) ** 2, atol=2e-6)
    np.testing.assert_allclose(curves["softplus"]["slope"], curves["sigmoid"]["value"], atol=2e-6)
    np.testing.assert_allclose(curves["snake"]["slope"], 1 + np.sin(2 * x), atol=2e-6)
    np.testing.assert_array_equal(curves["relu"]["slope"], x > 0)
    np.testing.assert_array_equal(curves["sign_straight_through"]["slope"], abs(x) <= 1)


def test_every_curve_has_a_panel_with_its_name_formula_and_both_lines(points, tmp_path):
    pytest.importorskip("matplotlib")
    figure = activations.draw(points)
    assert len(figure.axes) == len(points["curves"])
    for panel, (name, curve) in zip(figure.axes, points["curves"].items()):
        assert panel.get_title() == f"{name.replace('_', ' ')}\n{curve['formula']}"
        drawn = {line.get_label(): line.get_ydata() for line in panel.get_lines()}
        np.testing.assert_array_equal(drawn["function"], curve["value"])
        np.testing.assert_array_equal(drawn["derivative"], curve["slope"])
        assert panel.get_ylim() == (activations.LOW, activations.HIGH)
    few = {"x": points["x"], "curves": {name: points["curves"][name] for name in list(points["curves"])[:5]}}
    small = activations.draw(few)
    assert len(small.axes) == 5  # no empty panels
    small.savefig(tmp_path / "few.png", dpi=40)  # warnings are errors: every glyph is in the font


def test_titles_do_not_run_into_each_other(points):
    pytest.importorskip("matplotlib")
    figure = activations.draw(points)
    figure.draw_without_rendering()
    boxes = [panel.title.get_window_extent() for panel in figure.axes]
    for left, right in itertools.pairwise(boxes):
        assert right.x0 < left.x0 or left.x1 < right.x0  # a new row, or room between


def test_a_missing_matplotlib_is_said(points, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install '\.\[figures\]'"):
        activations.draw(points)
