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
