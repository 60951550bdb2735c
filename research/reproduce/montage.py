"""Pictures of several figures as one."""

from PIL import Image, ImageOps

from research.atomic import replacing

CELL, COLUMNS, GAP = (400, 280), 4, 12  # pixels


def save(path, files):
    """Writes the pictures of `files` as one PNG, row by row, each as large as fits its cell."""
    rows = -(-len(files) // COLUMNS)
    width, height = (side + GAP for side in CELL)
    whole = Image.new("RGB", (COLUMNS * width + GAP, rows * height + GAP), "white")
    for i, file in enumerate(files):
        with Image.open(file) as picture:
            picture = ImageOps.pad(picture.convert("RGB"), CELL, color="white")
        whole.paste(picture, (GAP + i % COLUMNS * width, GAP + i // COLUMNS * height))
    with replacing(path) as target:
        whole.save(target, format="PNG", optimize=True)
