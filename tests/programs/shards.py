"""A folder of shards of a small table, as launch.prepare makes it: codes in signed bytes, borders in the manifest."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from research import uri
from research.data import manifest
from research.trees import binning

N, FEATURES, PER_SHARD, GROUP = 1000, 4, 300, 128


def table():
    """(x [N, F] with NaN, y [N]) of two classes."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(N, FEATURES)).astype(np.float32).round(2)
    y = (x[:, 0] * x[:, 1] + rng.normal(size=N) > 0).astype(np.float32)
    x[rng.random(N) < 0.2, 1] = np.nan
    return x, y


def write(folder, bins=200, missing="min"):
    """Writes the table to a URI, four shards; gives its borders, None where bins is 0 and values are stored."""
    x, y = table()
    borders = binning.find(x, "quantile", bins, missing=missing) if bins else None
    stored = binning.apply(borders, x).view(np.int8) if bins else x.T
    shards, names = [], [f"f{i}" for i in range(FEATURES)]
    for start in range(0, N, PER_SHARD):
        rows, name = slice(start, start + PER_SHARD), f"train/{start // PER_SHARD:05d}.parquet"
        sheet = pa.table({name: column[rows] for name, column in zip(names, stored)} | {"y": y[rows]})
        with uri.open(uri.join(folder, name), "wb") as file:
            pa.parquet.write_table(sheet, file, row_group_size=GROUP, write_page_checksum=True)
        groups = [min(GROUP, len(sheet) - at) for at in range(0, len(sheet), GROUP)]
        size = uri.size(uri.join(folder, name))
        shards.append({"file": name, "rows": len(sheet), "bytes": size, "sha256": str(start), "groups": groups})
    columns = [{"name": name, "kind": "number", "vocabulary": None, "missing": 0} for name in names]
    for f, column in enumerate(columns):
        column["borders"] = [float(v) for v in borders.values[f] if np.isfinite(v)] if bins else None
        column["has_missing"] = bool(np.isnan(x[:, f]).any())
    made = {"version": 1, "kind": "table", "target": "y", "classes": None, "columns": columns, "bins": bins}
    made |= {"missing": missing, "side": "left", "image": None, "splits": {"train": shards}, "generation": 1}
    manifest.write(folder, made)
    return borders
