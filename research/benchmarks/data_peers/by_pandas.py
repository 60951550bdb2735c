"""What launch.prepare does with a CSV of numbers, by pandas on one core and in memory."""

import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet


def prepare(source, folder, *, target, bins=254, rows_per_shard=65536, row_group_rows=8192, splits=(0.8, 0.1, 0.1)):
    """Writes shards of codes: rows in the order of a hash, split by another, borders at quantiles of train."""
    frame = pd.read_csv(source)
    order, where = (pd.util.hash_pandas_object(frame, index=False, hash_key=key * 16).to_numpy() for key in "01")
    places = where / 2.0**64
    split = (places >= splits[0]).astype(int) + (places >= splits[0] + splits[1])
    coded = {}
    for name in frame.columns.drop(target):
        values = frame[name].to_numpy(np.float32)
        shares = np.arange(1, bins + 1) / (bins + 1)
        borders = np.unique(np.quantile(values[split == 0], shares, method="inverted_cdf"))
        coded[name] = np.searchsorted(borders, values, "left").astype(np.uint8)
    coded[target] = frame[target].to_numpy(np.float32)
    for number, name in enumerate(("train", "valid", "test")):
        rows = np.flatnonzero(split == number)
        rows = rows[np.argsort(order[rows])]
        path = pathlib.Path(folder, name)
        path.mkdir(parents=True)
        for i, part in enumerate(np.array_split(rows, max(1, round(len(rows) / rows_per_shard)))):
            table = pa.table({column: values[part] for column, values in coded.items()})
            parquet.write_table(table, path / f"{i:05d}.parquet", row_group_size=row_group_rows)
