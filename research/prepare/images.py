"""Folders of images as rows of encoded bytes and labels."""

from pyspark.sql import functions as F

from research.errors import UserError
from research.prepare import columns, reading, writing
from research.prepare.request import shown


def make(spark, request):
    """(rows, names, the manifest's part, rows of each split), as run.prepare wants them."""
    frame = reading.images(spark, request)
    height, width, channels = _shape(frame)
    classes = sorted(row[0] for row in frame.where("class is not null").select("class").distinct().collect())
    bare = frame.where("class is null").select("file").first()
    if classes and bare:
        raise UserError(f"{shown(bare[0])} lies beside folders of classes; move it into one.")
    label = F.array_position(F.lit(classes), F.col("class")).cast("int") - 1
    frame = frame.select("image", *([label.alias("label")] if classes else []))
    rows = columns.divided(frame, request)
    found = rows.groupBy("split").agg(F.count(F.lit(1)), F.sum(F.octet_length("image"))).collect()
    counts = [next((row[1] for row in found if row[0] == i), 0) for i in range(3)]
    mean = max(sum(row[2] for row in found) // sum(counts), 1)
    manifest = {"kind": "images", "columns": [], "target": None, "classes": None, "bins": 0, **columns.MISSING}
    manifest |= {"image": {"shape": [height, width, channels], "classes": classes or None}}
    manifest |= {"rows_per_shard": min(request.rows_per_shard, max(writing.BYTES // mean, 1))}
    return rows, {name: name for name in frame.columns}, manifest, counts


def _shape(frame):
    """(H, W, C) of all images; C is 1 where all are grey. Raises UserError where sizes differ or one is damaged."""

    def look(frames):
        for frame in frames:
            sizes = [size(bytes(content)) for content in frame["image"]]
            frame["height"], frame["width"], frame["channels"] = zip(*sizes) if sizes else ((), (), ())
            yield frame[["file", "height", "width", "channels"]]

    def size(content):
        """Of the header of a PNG or a JPEG; zeros where it has none."""
        if content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) > 25:
            width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
            return height, width, 1 if content[25] in (0, 4) else 3
        at = 2
        while content[:2] == b"\xff\xd8" and at + 9 < len(content) and content[at] == 0xFF:
            if 0xC0 <= content[at + 1] <= 0xCF and content[at + 1] not in (0xC4, 0xC8, 0xCC):
                height, width = (int.from_bytes(content[i : i + 2], "big") for i in (at + 5, at + 7))
                return height, width, 1 if content[at + 9] == 1 else 3
            at += 1 if content[at + 1] == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        return 0, 0, 0

    sizes = frame.select("image", "file").mapInPandas(look, "file string, height int, width int, channels int")
    found = sizes.groupBy("height", "width").agg(F.max("channels"), F.min("file"), F.count(F.lit(1))).collect()
    if not found:
        raise UserError("--input has no images (.png, .jpg, .jpeg), in it or in a folder a class; check the path.")
    found.sort(key=lambda row: (row.height > 0, -row[4], row.height, row.width))
    if not found[0].height:
        raise UserError(f"{shown(found[0][3])} is damaged or neither PNG nor JPEG; mend or remove it.")
    if len(found) > 1:
        raise UserError(
            f"{shown(found[1][3])} has {found[1].width} x {found[1].height} pixels and {shown(found[0][3])} "
            f"{found[0].width} x {found[0].height}; bring all to one size."
        )
    return found[0].height, found[0].width, found[0][2]
