"""Pictures by pillow alone: a grid of images, points in the plane as a density, a log-density in the plane."""

import pathlib

import numpy as np
from PIL import Image

from research.atomic import replacing
from research.errors import UserError

CELL = 64  # pixels: an image is enlarged by the largest whole factor that stays within
PANEL, BINS = 384, 128
COLOURS = np.array([[0, 0, 0], [70, 20, 110], [200, 60, 70], [250, 170, 50], [255, 255, 230]])  # empty .. densest


def save_grid(path, x, *, levels=None, columns=None):
    """Writes images x [N, H, W, 1 or 3] as one PNG, row by row, thin grey lines between them.

    levels is the number of integer values, 0 black; None stretches continuous images from their least value to their
    greatest. columns defaults to a square. Raises UserError where x are no images.
    """
    x = np.asarray(x)
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or len(x) == 0:
        raise UserError(f"save_grid draws images [N, H, W, 1 or 3], not an array of shape {x.shape}.")
    low, high = (0, levels - 1) if levels else (np.nanmin(x), np.nanmax(x))
    x = np.nan_to_num((x.astype(np.float64) - low) / max(high - low, 1e-12), nan=0.0)
    pixels = np.round(255 * np.clip(x, 0, 1)).astype(np.uint8)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    factor = max(1, CELL // max(pixels.shape[1:3]))
    pixels = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    columns = columns or int(np.ceil(np.sqrt(len(x))))
    height, width = pixels.shape[1] + 1, pixels.shape[2] + 1
    canvas = np.full((-(-len(x) // columns) * height + 1, columns * width + 1, 3), 128, np.uint8)
    for i, image in enumerate(pixels):
        top, left = i // columns * height + 1, i % columns * width + 1
        canvas[top : top + height - 1, left : left + width - 1] = image
    _write(path, canvas)


def save_scatter(path, x, reference=None):
    """Writes the density of points x [N, 2] as one PNG, the reference's [M, 2] at its right, on the same axes.

    The axes are the reference's range and a tenth more; points outside are drawn on the border, so that they show.
    Raises UserError where x are not points in the plane.
    """
    sets = [np.asarray(s, np.float64) for s in (x, reference) if s is not None]
    for s in sets:
        if s.ndim != 2 or s.shape[1] != 2 or len(s) == 0:
            raise UserError(f"save_scatter draws points [N, 2], not an array of shape {s.shape}.")
    sets = [s[np.isfinite(s).all(axis=1)] for s in sets]
    frame = sets[-1] if len(sets[-1]) else np.zeros((1, 2))
    low, high = frame.min(axis=0), frame.max(axis=0)
    margin = 0.1 * np.maximum(high - low, 1e-6)
    _write(path, _beside([_density(s, low - margin, high + margin) for s in sets]))


def save_density(path, log_density, truth=None):
    """Writes exp(log_density [n, n]) as one PNG, the truth's [n, n] at its right, from 0 to the maximum of the two.

    Nats at the cells of `plane`: the first axis is the first coordinate, to the right, the second points up. -inf is
    darkest, as is NaN. A cell is the largest whole number of pixels that stays within the panel.
    Raises UserError for another shape, or where the two differ.
    """
    tables = [np.asarray(t, np.float64) for t in (log_density, truth) if t is not None]
    for t in tables:
        if t.ndim != 2 or t.shape[0] != t.shape[1] or t.size == 0 or t.shape != tables[0].shape:
            shapes = " and ".join(str(t.shape) for t in tables)
            raise UserError(f"save_density draws log-densities [n, n] on one square, not arrays of shape {shapes}.")
    tables = np.where(np.isnan(tables), -np.inf, tables)
    top = np.max(tables, where=np.isfinite(tables), initial=-np.inf)
    top = top if np.isfinite(top) else 0.0  # zero everywhere
    factor = max(1, PANEL // tables.shape[1])
    _write(path, _beside([_colours(np.exp(t.T[::-1] - top), factor) for t in tables]))


def plane(low, high, n=200):
    """(points [n * n, 2] float32, area): the centres of n x n equal cells of [low, high]^2, and the area of one.

    The first coordinate changes slowest, so log_density(points).reshape(n, n) is what `save_density` draws, and
    sum(exp(log_density)) * area the mass in the square. Raises UserError for an empty square.
    """
    if not low < high or n < 1:
        raise UserError(f"a plane needs low < high and at least one cell a side, not {low}, {high} and n = {n}.")
    side = (high - low) / n
    centres = low + side * (np.arange(n) + 0.5)
    points = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1)
    return points.reshape(-1, 2).astype(np.float32), side**2


def _density(points, low, high):
    """Picture [PANEL, PANEL, 3] of points [N, 2] by their log-count a bin; the second coordinate points up."""
    counts, _, _ = np.histogram2d(*np.clip(points, low, high).T, bins=BINS, range=np.stack([low, high], axis=1))
    brightness = np.log1p(counts.T[::-1])
    return _colours(brightness / max(brightness.max(), 1e-12), PANEL // BINS)


def _colours(brightness, factor):
    """Picture [factor * H, factor * W, 3] of brightness [H, W], 0 darkest and 1 brightest."""
    stops = np.linspace(0, 1, len(COLOURS))
    picture = np.stack([np.interp(brightness, stops, channel) for channel in COLOURS.T], axis=-1).astype(np.uint8)
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _beside(panels):
    """One picture, or two with a grey line between them."""
    line = np.full((len(panels[0]), 2, 3), 128, np.uint8)
    return panels[0] if len(panels) == 1 else np.concatenate([panels[0], line, panels[1]], axis=1)


def _write(path, pixels):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        Image.fromarray(pixels).save(file, format="PNG")
