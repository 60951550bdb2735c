"""The figures of receptive fields: the slope of the shrinkage, and marks where the numbers are."""

import json

import numpy as np
import pytest
from jax import lax

from research.figures import receptive_field as figures
from research.receptive_field import ARCHITECTURES, effective

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def points():
    return figures.points(depths=(8, 16, 32), channels=8, nets=8)


def test_points_are_plain_numbers(points):
    assert json.loads(json.dumps(points)) == points
    assert set(points["curves"]) == set(figures.CURVES) and all(len(c) == 3 for c in points["curves"].values())


def test_uniform_weights_are_the_closed_form(points):
    n = np.array(points["depth"])
    np.testing.assert_allclose(points["curves"]["uniform weights"], np.sqrt(n * 8 / 12) / (2 * n + 1), rtol=1e-5)


def test_fields_shrink_as_one_over_the_root_of_depth(points):
    """Exactly sqrt(n) / (2 n + 1): its slope from 8 to 32 layers is -1/2 + 0.03. Random nets: within 0.15."""
    slopes = points["slopes"]
    assert slopes["uniform weights"] == pytest.approx(-0.5, abs=0.04)
    assert slopes["random weights"] == pytest.approx(-0.5, abs=0.15)
    assert slopes["random weights, relu"] == pytest.approx(-0.5, abs=0.15)
    for ratios in points["curves"].values():  # squares of random weights have the same expectation
        np.testing.assert_allclose(ratios, points["curves"]["uniform weights"], rtol=0.2)


def test_other_widths_have_their_closed_form():
    found = figures.points(depths=(3, 9), kernel=5, channels=2, nets=1)["curves"]["uniform weights"]
    np.testing.assert_allclose(found, [np.sqrt(n * 24 / 12) / (4 * n + 1) for n in (3, 9)], rtol=1e-5)


def test_the_drawing_has_a_line_for_each_curve_and_the_slope(points, tmp_path):
    figure = figures.draw(points)
    lines = figure.axes[0].get_lines()
    assert len(lines) == 4 and figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"
    for line, ratios in zip(lines, points["curves"].values()):
        np.testing.assert_array_equal(line.get_ydata(), ratios)
    guide = lines[3].get_ydata()
    assert guide[0] / guide[-1] == pytest.approx(2)  # from 8 to 32 layers
    figure.savefig(tmp_path / "figure.png")


def box(_, x):
    kernel = np.full((5, 3, 1, 1), 1 / 15, np.float32)
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NXYC", "XYIO", "NXYC"))


def test_the_map_shows_the_gradient_and_both_squares(tmp_path):
    points = figures.field_points(effective(box, None, (1, 21, 15, 1)))
    assert json.loads(json.dumps(points)) == points and points["theory"] == [[8, 12], [6, 8]]
    figure = figures.draw_field(points, "a box")
    image = figure.axes[0].get_images()[0].get_array()
    assert image.shape == (21, 15) and (image > 0.99).sum() == 15 and image.min() == pytest.approx(1e-4)
    theory, square = figure.axes[0].patches
    assert theory.get_bbox().bounds == (5.5, 7.5, 3, 5)
    assert square.get_width() == points["side"] == 5 and square.get_x() == 4.5
    figure.savefig(tmp_path / "figure.png")


def test_growth_stands_beside_the_map_and_one_dimension_is_a_curve(tmp_path):
    architecture = ARCHITECTURES["lenet5"]
    apply, rows = architecture.function(), architecture.table()
    points = figures.field_points(effective(lambda _, x: apply(x), None, (1, 60, 1)), rows)
    assert points["layers"] == ["input", "c1", "s2", "c3", "s4", "c5"] and points["sizes"] == [1, 5, 6, 14, 16, 32]
    figure = figures.draw_field(points)
    growth, curve = figure.axes
    np.testing.assert_array_equal(growth.get_lines()[0].get_ydata(), points["sizes"])
    np.testing.assert_array_equal(curve.get_lines()[0].get_ydata(), points["gradient"])
    assert [line.get_xdata()[0] for line in curve.get_lines()[1:]] == points["theory"][0]
    figure.savefig(tmp_path / "figure.png")
