"""Pictures of several figures as one."""

import numpy as np
from PIL import Image

from research.atomic import replacing

WIDTH, HEIGHT, GAP = 1300, 200, 14  # pixels: of the whole; of a row, about


def save(path, files):
    """Writes the pictures of `files` as one PNG: rows of one width, in each of which all are equally high."""
    pictures = [_opened(file) for file in files]
    rows = [_row([pictures[i] for i in row]) for row in _rows([picture.width / picture.height for picture in pictures])]
    whole = Image.new("RGB", (WIDTH, sum(row[0].height + GAP for row in rows) + GAP), "white")
    top = GAP
    for row in rows:
        left = GAP
        for picture in row:
            whole.paste(picture, (left, top))
            left += picture.width + GAP
        top += row[0].height + GAP
    with replacing(path) as target:
        whole.save(target, format="PNG", optimize=True)


def _opened(file):
    with Image.open(file) as picture:
        return picture.convert("RGB")


def _rows(aspects):
    """The indices of each row, in their order, so that rows are about equally long at one height."""
    aspects, total = np.asarray(aspects), np.sum(aspects)
    count = max(round(total * HEIGHT / WIDTH), 1)
    row = ((np.cumsum(aspects) - aspects / 2) / total * count).astype(int)
    return [np.flatnonzero(row == i) for i in np.unique(row)]


def _row(pictures):
    """The pictures, as high as fills the width; few are not blown up."""
    aspects = [picture.width / picture.height for picture in pictures]
    height = min((WIDTH - GAP * (len(pictures) + 1)) / sum(aspects), 1.5 * HEIGHT)
    return [picture.resize((int(height * a), int(height)), Image.LANCZOS) for picture, a in zip(pictures, aspects)]
