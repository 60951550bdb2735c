"""Images on an axis: each pixel where it belongs, white lines between, a label a row and a column."""

import json

import numpy as np
import pytest

from research.figures import mosaic

X = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)


def test_numbers_are_plain_integers_within_levels():
    found = mosaic.numbers(np.array([[[[-3.0], [1.4]], [[1.6], [99.0]]]]), levels=17)
    assert found == [[[0, 1], [2, 16]]] and json.loads(json.dumps(found)) == found
    assert mosaic.numbers(np.full((1, 1, 1, 3), 2.5)) == [[[[2, 2, 2]]]]  # colours keep their axis


@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_is_where_it_belongs(channels):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    images = X if channels == 1 else np.repeat(X[..., None], 3, -1)
    mosaic.show(axis, images.tolist(), 23, rows=["a", "b"], columns=["1", "2", "3"])
    sheet = np.asarray(axis.images[0].get_array())
    assert sheet.shape == (5, 8, 3) and (sheet[2] == 1).all() and (sheet[:, [2, 5]] == 1).all()
    for i in range(2):
        for j in range(3):
            tile = sheet[3 * i : 3 * i + 2, 3 * j : 3 * j + 2]
            np.testing.assert_allclose(tile, np.repeat(X[i, j][..., None], 3, -1) / 23)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    assert axis.get_xticks().tolist() == [0.5, 3.5, 6.5] and axis.get_yticks().tolist() == [0.5, 3.5]


def test_without_labels_there_are_no_ticks():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    mosaic.show(axis, X, 23)
    assert len(axis.get_xticks()) == len(axis.get_yticks()) == 0
