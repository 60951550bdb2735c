"""Small images side by side on one axis, from plain numbers."""

import numpy as np


def numbers(x, levels=None):
    """Images x [..., H, W, C] as nested lists of integers 0 .. levels - 1; one channel leaves its axis out."""
    x = np.round(np.asarray(x, float))
    x = (np.clip(x, 0, levels - 1) if levels else x).astype(int)
    return (x[..., 0] if x.shape[-1] == 1 else x).tolist()


def show(axis, images, top, rows=(), columns=()):
    """Draws images [R, C, H, W] or [R, C, H, W, 3] of 0, black, to top, white, with a label a row and a column."""
    x = np.clip(np.asarray(images, float) / top, 0, 1)
    x = x if x.ndim == 5 else np.repeat(x[..., None], 3, axis=-1)
    r, c, h, w, _ = x.shape
    sheet = np.ones((r * (h + 1) - 1, c * (w + 1) - 1, 3))
    for i, j in np.ndindex(r, c):
        top_, left = i * (h + 1), j * (w + 1)
        sheet[top_ : top_ + h, left : left + w] = x[i, j]
    axis.imshow(sheet, interpolation="nearest")
    axis.set_xticks((np.arange(c) * (w + 1) + (w - 1) / 2)[: len(columns)], columns)
    axis.set_yticks((np.arange(r) * (h + 1) + (h - 1) / 2)[: len(rows)], rows)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
