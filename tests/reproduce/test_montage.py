"""A montage shows each picture whole, in rows that fill its width."""

import itertools

import numpy as np
import pytest
from PIL import Image

from research.reproduce import montage

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 0, 255), (0, 255, 255), (99, 99, 0), (0, 99, 99)]


def made(folder, sizes):
    """The pixels of a montage of plain pictures, one of each colour, of (width, height)."""
    files = [folder / f"{i}.png" for i in range(len(sizes))]
    for file, colour, size in zip(files, COLOURS, sizes):
        Image.new("RGB", size, colour).save(file)
    montage.save(folder / "all.png", files)
    with Image.open(folder / "all.png") as whole:
        return np.asarray(whole.convert("RGB"))


def boxes(pixels, count):
    """(top, bottom, left, right) of each colour."""
    for colour in COLOURS[:count]:
        y, x = np.nonzero((pixels == colour).all(axis=-1))
        assert len(y) == (y.max() - y.min() + 1) * (x.max() - x.min() + 1)  # nothing lies on it
        yield y.min(), y.max() + 1, x.min(), x.max() + 1


@pytest.mark.parametrize("seed", range(5))
def test_rows_fill_the_width_and_nothing_is_stretched(tmp_path, seed):
    sizes = [(int(width), 300) for width in np.random.default_rng(seed).uniform(300, 1300, len(COLOURS))]
    pixels = made(tmp_path, sizes)
    found = list(boxes(pixels, len(sizes)))
    for (width, height), (top, bottom, left, right) in zip(sizes, found):
        assert (right - left) / (bottom - top) == pytest.approx(width / height, abs=0.02)
    assert pixels.shape[1] == montage.WIDTH
    rows = sorted({box[:2] for box in found})
    for top, bottom in rows:
        row = [box[2:] for box in found if box[:2] == (top, bottom)]
        assert row[0][0] == montage.GAP and montage.WIDTH - len(row) <= row[-1][1] + montage.GAP <= montage.WIDTH
        assert all(right + montage.GAP == left for (_, right), (left, _) in itertools.pairwise(row))
        assert 0.5 * montage.HEIGHT < bottom - top <= 1.5 * montage.HEIGHT
    assert all(first[1] + montage.GAP == second[0] for first, second in itertools.pairwise(rows))
    assert [box[:3:2] for box in found] == sorted(box[:3:2] for box in found)  # in the order of the files


def test_one_picture_is_not_blown_up(tmp_path):
    pixels = made(tmp_path, [(100, 400)])
    ((top, bottom, left, right),) = boxes(pixels, 1)
    assert (top, left) == (montage.GAP, montage.GAP)
    assert (bottom - top, right - left) == (int(1.5 * montage.HEIGHT), int(1.5 * montage.HEIGHT / 4))
