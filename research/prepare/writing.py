"""Rows in the order of their hashes, in shards of Parquet, the same bytes however Spark divided the work."""

import math

from pyspark.sql import functions as F

from research.prepare.columns import SPLITS

# With dictionaries or older pages a footer names several encodings, in an order that differs from JVM to JVM.
PARQUET = {"parquet.writer.version": "v2", "parquet.enable.dictionary": "false", "parquet.block.size": 1 << 30}
BYTES = 1 << 28  # of a shard of images at most, about: a file's checksum is taken in memory


def shards(rows, size):
    """How many shards a split of so many rows has."""
    return math.ceil(rows / size)


def write(frame, to, counts, row_group_rows, names):
    """Writes the rows of a frame with "split" and "hash" to <to>/_split=S/_shard=K/*.parquet, one file a shard.

    to: a Folder. counts: shards of each split. names: {column: its name in the files}, in order. Shard K has the rows
    whose hash is K modulo the split's count, sorted by hash, then by all columns.
    """
    count = F.element_at(F.array(*[F.lit(max(n, 1)) for n in counts]), F.col("split") + 1)
    frame = frame.withColumns({"_split": F.col("split"), "_shard": F.pmod("hash", count).cast("int")})
    frame = frame.repartition(sum(counts), "_split", "_shard").sortWithinPartitions("_split", "_shard", "hash", *names)
    frame = frame.select("_split", "_shard", *[F.col(old).alias(new) for old, new in names.items()])
    writer = frame.write.partitionBy("_split", "_shard").option("maxRecordsPerFile", 0)
    writer.options(**PARQUET).option("parquet.block.row.count.limit", row_group_rows).parquet(to.uri)


def place(source, output, split, first=0):
    """Renames the shards of a split from `write`'s folder to <output>/<split>/00000.parquet, ...; their names."""
    below, found = f"_split={SPLITS.index(split)}", []
    numbers = sorted(int(name.partition("=")[2]) for name in source.names(below) if name.startswith("_shard="))
    for place, number in enumerate(numbers, first):
        (name,) = [n for n in source.names(below, f"_shard={number}") if n.endswith(".parquet")]
        found.append(f"{split}/{place:05d}.parquet")
        output.move(source, [below, f"_shard={number}", name], found[-1].split("/"))
    return found


def describe(spark, output, files):
    """The manifest's entry of each file, found by Spark's workers: {"file", "rows", "bytes", "sha256", "groups"}."""

    def look(frames):
        import hashlib
        import io

        import pyarrow.parquet as pq

        for frame in frames:
            metas = [pq.ParquetFile(io.BytesIO(content)).metadata for content in frame["content"]]
            frame["groups"] = [[m.row_group(i).num_rows for i in range(m.num_row_groups)] for m in metas]
            frame["sha256"] = [hashlib.sha256(content).hexdigest() for content in frame["content"]]
            yield frame[["path", "length", "sha256", "groups"]]

    batch = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(batch)
    spark.conf.set(batch, 1)  # of files: one at a time in memory
    try:
        paths = [f"{output.uri}/{name}" for name in files]
        read = spark.read.format("binaryFile").load(paths).select("path", "length", "content")
        rows = read.mapInPandas(look, "path string, length long, sha256 string, groups array<long>").collect()
    finally:
        spark.conf.set(batch, before)
    found = {
        "/".join(row.path.rsplit("/", 2)[1:]): {"bytes": row.length, "sha256": row.sha256, "groups": list(row.groups)}
        for row in rows
    }
    return [{"file": name, "rows": sum(found[name]["groups"])} | found[name] for name in files]


def plan(frame):
    """What Spark does to the inputs, in its own words."""
    return frame._jdf.queryExecution().optimizedPlan().toString()
