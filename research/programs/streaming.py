"""Trees on a folder of shards, which stay where they are: each level of a tree reads them anew. Entry point: `fit`.

    from research.programs import streaming
    ensemble = streaming.fit("webhdfs://host:9870/tables/adult", base.gbdt_oblivious(), "runs/adult")

In several processes (`jax.distributed.initialize`) each reads its own files, and all get the trees of one.
"""

import json

import jax
import numpy as np

from research.data import manifest
from research.data.groups import Groups
from research.errors import UserError
from research.trees import external


def fit(folder, config, kept, *, split="train", key=None, rows=external.ROWS):
    """The Ensemble or Forest of config.num_trees trees on the shards of `folder`, a URI; config as `trees.fit` takes.

    Where the shards hold codes their borders are taken, and config's fields of borders and missing values are not read.
    kept: a local folder, of several processes one that all see, for the trees so far, from which the same call goes on.
    Raises UserError as `external.fit_codes`, and for shards of images, without targets, or fewer than processes.
    """
    found = manifest.read(folder)
    shards, count = found["splits"].get(split, []), jax.process_count()
    if found["kind"] != "table" or found["target"] is None:
        raise UserError(f"{folder} holds {found['kind']} without targets of trees; name a --target in launch.prepare.")
    if len(shards) < count or not all(shard["rows"] for shard in shards):
        raise UserError(
            f"{folder} has {len(shards)} shards of '{split}' for {count} processes, each of which needs one with rows; "
            "make them smaller by --rows_per_shard, or start fewer processes."
        )
    first, last = (len(shards) * (jax.process_index() + i) // count for i in (0, 1))
    borders, names = manifest.borders(found), manifest.names(found)

    def decode(read):
        columns = [read[name].to_numpy() for name in names]
        if borders:  # Spark, which has no unsigned numbers, stored their bits
            columns = [column.view(f"u{column.itemsize}") for column in columns]
        return {"x": np.stack(columns, axis=1), "y": read[found["target"]].to_numpy()}

    groups = Groups(folder, shards[first:last], [*names, found["target"]], decode)

    def read():
        size = int(groups.rows.sum())
        for start in range(0, size, rows):
            part = groups.gather(np.arange(start, min(start + rows, size)))
            yield part["x"].T if borders else part["x"], part["y"]

    if borders is None:
        return external.fit(read, config, kept, key=key, rows=rows)
    name = json.dumps([found["columns"], found["target"], shards], sort_keys=True)
    return external.fit_codes(read, borders, config, kept, name=name, key=key, rows=rows)
