"""Folders of shards for tests, written by pyarrow alone."""

import hashlib
import io

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from research import uri
from research.data import manifest


def write(folder, splits, columns, shard=100, group=16, **fields):
    """Writes {split: pyarrow.Table} as shards of `shard` rows in row groups of `group`, and their manifest."""
    listed = {}
    for split, table in splits.items():
        listed[split] = []
        for i, start in enumerate(range(0, len(table), shard)):
            part, name = table.slice(start, shard), f"{split}/{i:05}.parquet"
            file = io.BytesIO()
            parquet.write_table(part, file, row_group_size=group, write_page_checksum=True)
            content = file.getvalue()
            uri.write(uri.join(folder, name), content)
            groups = [min(group, len(part) - i) for i in range(0, len(part), group)]
            sha = hashlib.sha256(content).hexdigest()
            entry = {"file": name, "rows": len(part), "bytes": len(content), "sha256": sha, "groups": groups}
            listed[split].append(entry)
    known = {"version": 1, "kind": "table", "target": "y", "classes": None, "bins": 0, "missing": "min", "side": "left"}
    found = known | {"columns": columns, "image": None, "splits": listed, "generation": 1} | fields
    manifest.write(folder, found)
    return found


def column(name, **fields):
    """A column's entry in the manifest."""
    known = {"kind": "number", "borders": None, "has_missing": False, "vocabulary": None, "missing": 0}
    return {"name": name} | known | fields


def numbers(folder, n=500, width=3, seed=0, **options):
    """(x [n, width], y [n]) of a table of floats, in train and in test alike; y counts the rows, every 7th x is NaN."""
    x = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    x[::7, 0] = np.nan
    y = np.arange(n, dtype=np.float32)
    names = [f"c{i}" for i in range(width)]
    table = pa.table({name: pa.array(v, from_pandas=i == 0) for i, (name, v) in enumerate(zip(names, x.T))} | {"y": y})
    write(folder, {"train": table, "test": table}, [column(name) for name in names], **options)
    return x, y


def pictures(folder, n=24, shape=(5, 4, 3), **options):
    """(x uint8 [n, H, W, C], labels [n]) of PNGs in two classes."""
    x = np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)
    encoded = []
    for pixels in x:
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, "png")
        encoded.append(file.getvalue())
    labels = np.arange(n, dtype=np.int32) % 2
    table = pa.table({"image": encoded, "label": labels})
    image = {"shape": list(shape), "classes": ["cat", "dog"]}
    write(folder, {"train": table, "valid": table}, [], kind="images", target=None, image=image, **options)
    return x, labels
