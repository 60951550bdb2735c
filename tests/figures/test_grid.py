"""Pictures: every pixel of a sample is where it should be; a failed write leaves the old file."""

import numpy as np
import pytest
from PIL import Image

from research.errors import UserError
from research.figures import grid

rng = np.random.default_rng(0)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize(("size", "factor"), [(8, 8), (28, 2), (32, 2), (100, 1)])
def test_images_are_enlarged_by_a_whole_factor_and_can_be_read_back(tmp_path, size, factor):
    x = rng.integers(256, size=(5, size, size, 3))
    grid.save_grid(tmp_path / "x.png", x, levels=256, columns=3)
    found, cell = read(tmp_path / "x.png"), size * factor + 1
    assert found.shape == (2 * cell + 1, 3 * cell + 1, 3)
    for i in range(5):
        top, left = i // 3 * cell + 1, i % 3 * cell + 1
        np.testing.assert_array_equal(found[top : top + cell - 1 : factor, left : left + cell - 1 : factor], x[i])
    assert (found[::cell] == 128).all() and (found[:, ::cell] == 128).all()


def test_levels_reach_from_black_to_white(tmp_path):
    x = np.arange(17).reshape(17, 1, 1, 1)
    grid.save_grid(tmp_path / "x.png", x, levels=17, columns=17)
    np.testing.assert_array_equal(read(tmp_path / "x.png")[5, 5::65, 0], np.round(np.arange(17) * 255 / 16))


def test_continuous_images_are_stretched_and_nan_is_black(tmp_path):
    x = np.array([-1.0, 1.0, np.nan, 0.0]).reshape(4, 1, 1, 1)
    grid.save_grid(tmp_path / "x.png", x)
    np.testing.assert_array_equal(read(tmp_path / "x.png")[5::65, 5::65, 0], [[0, 255], [0, 128]])
    grid.save_grid(tmp_path / "x.png", np.ones((1, 2, 2, 1)))  # a constant has no range


def test_points_are_drawn_where_they_are(tmp_path):
    x = np.concatenate([np.tile([1.0, 2.0], (50, 1)), [[0.0, 0.0]]])
    grid.save_scatter(tmp_path / "x.png", x)
    found = read(tmp_path / "x.png").sum(axis=-1)
    assert found.shape == (grid.PANEL, grid.PANEL)
    rows, columns = np.nonzero(found == found.max())
    assert rows.max() < 0.1 * grid.PANEL and columns.min() > 0.9 * grid.PANEL  # the second coordinate points up
    assert np.count_nonzero(found) == 2 * (grid.PANEL // grid.BINS) ** 2


def test_the_reference_stands_beside_on_the_same_axes_and_strays_show_on_the_border(tmp_path):
    reference = rng.uniform(-1, 1, size=(300, 2))
    grid.save_scatter(tmp_path / "x.png", np.concatenate([reference, [[50.0, 0.0], [np.nan, 0.0]]]), reference)
    found = read(tmp_path / "x.png").astype(int)
    assert found.shape == (grid.PANEL, 2 * grid.PANEL + 2, 3)
    left, right = found[:, : grid.PANEL].sum(axis=-1) > 0, found[:, -grid.PANEL :].sum(axis=-1) > 0
    np.testing.assert_array_equal(left[:, :-3], right[:, :-3])
    assert left[:, -1].any() and not right[:, -1].any()


def test_points_without_one_finite_value_do_not_stop_a_run(tmp_path):
    grid.save_scatter(tmp_path / "x.png", np.full((3, 2), np.nan))
    assert read(tmp_path / "x.png").max() == 0


@pytest.mark.parametrize("save", [grid.save_grid, grid.save_scatter])
def test_wrong_shapes_are_refused(tmp_path, save):
    with pytest.raises(UserError, match="draws"):
        save(tmp_path / "x.png", np.zeros((3, 4, 2)))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path, x = tmp_path / "deep" / "x.png", np.zeros((1, 8, 8, 1))
    grid.save_grid(path, x)
    before = path.read_bytes()

    def full(self, file, **_):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError):
        grid.save_grid(path, x)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def corner(n, i, j):
    """Log-densities [n, n] that are 0 in one cell and -inf elsewhere."""
    x = np.full((n, n), -np.inf)
    x[i, j] = 0
    return x


@pytest.mark.parametrize(("n", "factor"), [(8, 48), (200, 1), (500, 1)])
@pytest.mark.parametrize(("i", "j", "row", "column"), [(0, 0, -1, 0), (-1, 0, -1, -1), (0, -1, 0, 0), (-1, -1, 0, -1)])
def test_a_density_in_a_corner_is_drawn_in_that_corner(tmp_path, n, factor, i, j, row, column):
    """The first coordinate points to the right, the second up."""
    grid.save_density(tmp_path / "x.png", corner(n, i, j))
    found = read(tmp_path / "x.png")
    assert found.shape == (n * factor, n * factor, 3)
    cells = found[::factor, ::factor]
    np.testing.assert_array_equal(cells[row, column], grid.COLOURS[-1])
    assert np.count_nonzero(found.any(axis=-1)) == factor**2


def test_points_of_the_plane_are_drawn_where_they_are(tmp_path):
    points, _ = grid.plane(-1, 1, n=50)
    grid.save_density(tmp_path / "x.png", (-np.square(points - [0.5, -0.8]).sum(axis=1) / 0.02).reshape(50, 50))
    rows, columns = np.nonzero(read(tmp_path / "x.png")[::7, ::7].sum(axis=-1) > 600)
    assert abs(columns.mean() / 50 - 0.75) < 0.02 and abs(rows.mean() / 50 - 0.9) < 0.02


@pytest.mark.parametrize("shift", [0.0, 1000.0, -1000.0])  # nats of which exp alone is inf or 0
def test_brightness_is_the_density_over_the_maximum_of_both(tmp_path, shift):
    model, truth = np.log([[1.0, 2.0], [3.0, 4.0]]), np.log([[8.0, 6.0], [2.0, 4.0]])
    for path, tables in (("x.png", (model, truth)), ("y.png", (truth, model))):
        grid.save_density(tmp_path / path, *(t + shift for t in tables))
        found, n = read(tmp_path / path), grid.PANEL
        assert found.shape == (n, 2 * n + 2, 3) and (found[:, n : n + 2] == 128).all()
        for panel, table in zip((found[:, :n], found[:, -n:]), tables):
            brightness = np.exp(table).T[::-1] / 8  # multiples of an eighth: stops of the colours, and halfway between
            low, high = np.floor(brightness * 4 + 1e-9).astype(int), np.ceil(brightness * 4 - 1e-9).astype(int)
            expected = (grid.COLOURS[low] + grid.COLOURS[high]) / 2
            np.testing.assert_allclose(panel[:: n // 2, :: n // 2], expected, atol=1)


def test_alone_a_density_has_its_own_scale(tmp_path):
    for scale in (1, 5):
        grid.save_density(tmp_path / f"{scale}.png", np.log(scale * np.array([[1.0, 2.0], [3.0, 4.0]])))
    a, b = (read(tmp_path / f"{scale}.png").astype(int) for scale in (1, 5))
    np.testing.assert_allclose(a, b, atol=1)
    np.testing.assert_array_equal(a[0, -1], grid.COLOURS[-1])


def test_no_density_and_no_number_are_darkest_and_infinity_is_brightest(tmp_path):
    grid.save_density(tmp_path / "x.png", [[np.nan, 100 + np.log(0.5)], [np.inf, 100.0]])  # the scale is of numbers
    found = read(tmp_path / "x.png").astype(int)[:: grid.PANEL // 2, :: grid.PANEL // 2]
    np.testing.assert_allclose(found.transpose(1, 0, 2)[:, ::-1], grid.COLOURS[[[0, 2], [-1, -1]]], atol=1)
    for nothing in (-np.inf, np.nan):
        grid.save_density(tmp_path / "x.png", np.full((3, 3), nothing), np.full((3, 3), -np.inf))
        picture = read(tmp_path / "x.png")
        assert not picture[:, : grid.PANEL].any() and not picture[:, -grid.PANEL :].any()


@pytest.mark.parametrize("shapes", [[(4,)], [(4, 3)], [(0, 0)], [(2, 2, 2)], [(4, 4), (5, 5)], [(4, 4), (4, 1)]])
def test_densities_of_another_shape_are_refused(tmp_path, shapes):
    with pytest.raises(UserError, match=r"save_density draws .* not arrays of shape \("):
        grid.save_density(tmp_path / "x.png", *(np.zeros(shape) for shape in shapes))
    assert list(tmp_path.iterdir()) == []


def test_a_plane_by_hand():
    points, area = grid.plane(-1, 3, n=2)
    np.testing.assert_array_equal(points, [[0, 0], [0, 2], [2, 0], [2, 2]])
    assert points.dtype == np.float32 and area == 4
    assert len(grid.plane(0, 1)[0]) == 200**2


def test_the_mass_of_a_standard_normal_is_one():
    points, area = grid.plane(-6, 6)
    log_density = -np.square(points).sum(axis=1) / 2 - np.log(2 * np.pi)
    assert np.exp(log_density).sum() * area == pytest.approx(1, abs=1e-4)
    inside = np.square(points).sum(axis=1) < 4  # P(|x| < 2) = 1 - exp(-2)
    assert np.exp(log_density[inside]).sum() * area == pytest.approx(1 - np.exp(-2), abs=2e-3)


@pytest.mark.parametrize("arguments", [(1, 1), (2, 1), (np.nan, 1), (0, 1, 0)])
def test_an_empty_plane_is_refused(arguments):
    with pytest.raises(UserError, match="a plane needs low < high"):
        grid.plane(*arguments)
