"""A montage shows each picture in its cell, whole."""

import numpy as np
from PIL import Image

from research.reproduce import montage


def test_each_picture_has_its_cell(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 0, 255)]
    files = []
    for i, colour in enumerate(colours):
        files.append(tmp_path / f"{i}.png")
        Image.new("RGB", (100 + 50 * i, 100), colour).save(files[-1])
    montage.save(tmp_path / "all.png", files)
    with Image.open(tmp_path / "all.png") as whole:
        pixels = np.asarray(whole.convert("RGB"))
    width, height = (side + montage.GAP for side in montage.CELL)
    assert pixels.shape[:2] == (2 * height + montage.GAP, 4 * width + montage.GAP)
    for i, colour in enumerate(colours):
        y, x = (
            montage.GAP + i // 4 * height + montage.CELL[1] // 2,
            montage.GAP + i % 4 * width + montage.CELL[0] // 2,
        )
        assert tuple(pixels[y, x]) == colour
    assert (pixels[: montage.GAP] == 255).all() and (pixels[-50:, 2 * width :] == 255).all()


def test_a_tall_picture_is_not_cut(tmp_path):
    picture = np.zeros((400, 100, 3), np.uint8)
    picture[:4], picture[-4:] = (255, 0, 0), (0, 0, 255)
    Image.fromarray(picture).save(tmp_path / "tall.png")
    montage.save(tmp_path / "all.png", [tmp_path / "tall.png"])
    with Image.open(tmp_path / "all.png") as whole:
        pixels = np.asarray(whole.convert("RGB")).astype(int)
    for first, second in ((0, 2), (2, 0)):
        assert (pixels[..., first] - pixels[..., second] > 200).any()
