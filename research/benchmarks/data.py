"""Data: batches from memory and from shards, preparing by Spark and by pandas, trees on a table larger than memory.

DATA_PARTS picks parts of PARTS by their names, with commas between. All on two cores; Spark needs the [spark] extra.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import pyarrow as pa
from pyarrow import dataset, parquet

from configs import base
from research import benchmarks, data
from research.data import manifest, pipeline

ONLY, ROUNDS = "DATA_PARTS", 9
QUICK = {"ROUNDS": 5, ONLY: "batches,reading,external"}
BATCHES, SHAPES = 500, {"digits": ((8, 8, 1), 128), "mnist": ((28, 28, 1), 256), "cifar10": ((32, 32, 3), 128)}
ROWS, COLUMNS, SHARD, GROUP, BATCH, SINGLE = 2_000_000, 20, 65536, 8192, 1024, 100
SIZES = (20_000, 200_000, ROWS)  # rows that are prepared
TERA, LINK, DISK = 10**12, 1.25e9, 0.5e9  # bytes; of 10 Gbit/s and of a disk in a second
CORES, EXECUTORS, MEMORY = 8, 64, 32 * 2**30  # of the cluster that the plan is for; bytes an executor


def batches():
    """Batches a second from memory, shuffled, for the shapes of the experiments here."""
    result = {}
    for name, (shape, batch_size) in SHAPES.items():
        section = base.update(base.data("synthetic"), shape=shape, size=20000, levels=256, num_classes=10)
        found = data.iterate(data.load(section).train, batch_size, 0)
        for _ in range(20):
            next(found)
        seconds = timed(lambda found=found: [next(found) for _ in range(BATCHES)])
        result[f"{name}_batches_per_second"] = BATCHES / seconds
    return result


def reading():
    """Rows a second of shards of floats: in order, shuffled, by pyarrow's own scan, and row by row at random."""
    with tempfile.TemporaryDirectory() as folder:
        write_shards(folder, ROWS, COLUMNS)
        section = base.update(base.data("shards"), dir=folder)
        files = dataset.dataset(sorted(map(str, pathlib.Path(folder, "train").glob("*.parquet"))))
        sums = dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
        checked = dataset.dataset(files.files, format=dataset.ParquetFileFormat(default_fragment_scan_options=sums))
        rng = np.random.default_rng(0)

        def in_order():
            return sum(len(batch["x"]) for batch in pipeline.epochs(data.load(section).train, GROUP))

        def scan(files=files):  # to what a net takes, as ours
            read = files.to_batches(batch_size=GROUP)
            return sum(len(np.stack([c.to_numpy() for c in batch.columns[:-1]], 1)) for batch in read)

        def scan_checked():  # the pages' checksums too, as ours
            return scan(checked)

        def scan_alone():
            return sum(batch.num_rows for batch in files.to_batches(batch_size=GROUP))

        def shuffled():
            found = data.iterate(data.load(section).train, BATCH, 0)
            return sum(len(next(found)["x"]) for _ in range(ROWS // BATCH))

        def one_by_one():
            source = [parquet.ParquetFile(path) for path in files.files]
            for _ in range(SINGLE):
                file = source[rng.integers(len(source))]
                group = int(rng.integers(file.num_row_groups))
                file.read_row_group(group).slice(int(rng.integers(file.metadata.row_group(group).num_rows)), 1)
            return SINGLE

        ways = {
            "in_order": in_order,
            "scan": scan,
            "scan_checked": scan_checked,
            "scan_alone": scan_alone,
            "shuffled": shuffled,
        }
        speeds = turns(ways | {"one_by_one": one_by_one})
    against = {"in_order": ("scan", "scan_checked", "scan_alone"), "shuffled": ("one_by_one", "scan")}
    ratios = {f"{a}_over_{b}": speeds[a] / speeds[b] for a, others in against.items() for b in others}
    return {"rows": ROWS, "columns": COLUMNS, "rows_per_second": speeds, **ratios}


def turns(ways):
    """{name: rows a second, the median of ROUNDS after one} of functions that give how many rows, in turns."""
    found = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            count = way()
            found[name].append(count / (time.perf_counter() - begin))
    return {name: statistics.median(speeds[1:]) for name, speeds in found.items()}


def preparing():
    """Seconds from a CSV to shards by Spark on two cores and by pandas on one, for several sizes, as commands."""
    from research.benchmarks.data_peers import by_pandas

    rows, top = {}, pathlib.Path(tempfile.mkdtemp())
    for count in SIZES:
        write_csv(top / "table.csv", count, COLUMNS)
        options = [f"--input={top}/table.csv", f"--output={top}/spark", "--target=y", "--master=local[2]"]
        code = f"import {by_pandas.__name__} as by; by.prepare({str(top / 'table.csv')!r}, {str(top / 'pandas')!r}, "
        commands = {"spark": ["-m", "launch.prepare", *options], "pandas": ["-c", f"{code}target='y')"]}
        seconds = {}
        for name, command in commands.items():
            run = [sys.executable, *command]
            seconds[name] = timed(lambda run=run: subprocess.run(run, check=True, capture_output=True))
            shutil.rmtree(top / name)
        bytes_of = (top / "table.csv").stat().st_size
        rows[count] = {"csv_bytes": bytes_of, **seconds, "spark_over_pandas": seconds["spark"] / seconds["pandas"]}
    shutil.rmtree(top)
    return rows


def external():
    """Trees on a table five times the memory that they get."""
    from research.benchmarks.data_peers import external

    return external.external_memory()


def plan(measured):
    """10 TB of CSV on EXECUTORS x CORES cores, on paper: the time of this machine's cores, disks and links at best."""
    row = measured[ROWS]
    per_core = (row["csv_bytes"] - measured[SIZES[0]]["csv_bytes"]) / (row["spark"] - measured[SIZES[0]]["spark"]) / 2
    rows = 10 * TERA * ROWS // row["csv_bytes"]
    shuffled = rows * (COLUMNS + 4 + 24)  # codes, target, hash and what a row of Spark's has besides
    shard = SHARD * (COLUMNS + 4)
    hours = {
        "compute": 10 * TERA / (per_core * CORES * EXECUTORS) / 3600,
        "reading": 2 * 10 * TERA / (DISK * EXECUTORS) / 3600,  # once for borders, once to write
        "shuffle": 2 * shuffled / (min(DISK, LINK) * EXECUTORS) / 3600,
    }
    return {
        **{"rows": rows, "shards": rows // SHARD, "shard_bytes": shard, "shuffle_bytes": shuffled},
        **{"memory_per_task": MEMORY // CORES, "executors": EXECUTORS, "cores": CORES},
        **{"csv_bytes_per_second_and_core": per_core, "hours": hours, "hours_at_least": max(hours.values())},
    }


def write_shards(folder, rows, columns):
    """A folder of shards of normal numbers, as launch.prepare leaves it with --bins=0."""
    rng, shards = np.random.default_rng(0), []
    names = [f"x{i}" for i in range(columns)]
    pathlib.Path(folder, "train").mkdir()
    for start in range(0, rows, SHARD):
        count, name = min(SHARD, rows - start), f"train/{start // SHARD:05d}.parquet"
        table = pa.table({c: rng.standard_normal(count, np.float32) for c in [*names, "y"]})
        path = pathlib.Path(folder, name)
        parquet.write_table(table, path, row_group_size=GROUP, write_page_checksum=True, use_dictionary=False)
        groups = [min(GROUP, count - i) for i in range(0, count, GROUP)]
        shards.append({"file": name, "rows": count, "bytes": path.stat().st_size, "sha256": "", "groups": groups})
    column = {"kind": "number", "borders": None, "vocabulary": None, "missing": 0, "has_missing": False}
    made = {"version": 1, "kind": "table", "target": "y", "classes": None, "bins": 0, "image": None, "generation": 1}
    made |= {"missing": "min", "side": "left", "columns": [column | {"name": name} for name in names]}
    manifest.write(folder, made | {"splits": {"train": shards, "valid": [], "test": shards[-1:]}})


def write_csv(path, rows, columns):
    """Normal numbers of six digits with a header; the last column is y."""
    from pyarrow import csv

    rng = np.random.default_rng(0)
    names = [*(f"x{i}" for i in range(columns)), "y"]
    csv.write_csv(pa.table({name: rng.standard_normal(rows).round(6) for name in names}), path)


def timed(call):
    """Wall seconds of call()."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


PARTS = {"batches": batches, "reading": reading, "preparing": preparing, "external": external}


def main():
    """A dict: of each part its figures, and the plan for 10 TB where preparing is among them."""
    wanted = benchmarks.picked(ONLY, PARTS)
    result = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "load": os.getloadavg()[0]}
    for name in wanted:
        result[name] = PARTS[name]()
        print(f"{name}: {json.dumps(result[name])[:300]}", file=sys.stderr, flush=True)
    return result | ({"plan": plan(result["preparing"])} if "preparing" in result else {})
