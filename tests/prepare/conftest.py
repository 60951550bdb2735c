"""What the tests of preparing share: one Spark session for all of them, a table, and how to read what came out."""

import warnings

import numpy as np
import pytest

FAST = {  # small tables on a small machine: compiling well costs more than it gives
    "spark.sql.shuffle.partitions": "3",
    "spark.sql.codegen.wholeStage": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
WORDS = ["ash", "beech", "Elm", "fir, silver", 'oak "old"', "élan", "日本"]


@pytest.fixture(scope="session")
def spark():
    """A local Spark session."""
    pytest.importorskip("pyspark")
    from research.prepare import session

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyspark forks to start the JVM, which jax, that others have used, warns of
        found = session.start("local[2]", FAST)
    yield found
    found.stop()


@pytest.fixture(scope="session")
def table():
    """Columns of 20,000 rows: ids, numbers of many and of few values, some missing, words and a target of words."""
    rng, n = np.random.default_rng(0), 20_000
    wide = np.round(rng.normal(size=n) * 1000, 3)
    return {
        "id": np.arange(n) // 4,
        "wide": np.where(rng.random(n) < 0.1, np.nan, wide),
        "few": rng.choice([-2.5, 0.0, 1e-3, 7e8], n, p=[0.001, 0.9, 0.09, 0.009]),
        "dense": rng.integers(0, 3000, n).astype(float),
        "tree": np.array(WORDS + [None], object)[rng.integers(0, len(WORDS) + 1, n)],
        "y": np.array(["no", "yes"])[rng.integers(0, 2, n)],
    }


@pytest.fixture(scope="session")
def write_csv():
    """A function: folder, columns, files, order -> writes the rows in that order over so many CSV files."""

    def quoted(cell):
        word = "" if cell is None or cell != cell else str(cell)
        return '"' + word.replace('"', '""') + '"' if "," in word or '"' in word else word

    def write(folder, columns, files=1, order=None):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        order = np.arange(len(next(iter(columns.values())))) if order is None else order
        for i, rows in enumerate(np.array_split(order, files)):
            lines = [" , ".join(quoted(values[row]) for values in columns.values()) for row in rows]
            (folder / f"part{i}.csv").write_text("\n".join([",".join(columns), *lines]) + "\n")
        return folder

    return write


@pytest.fixture(scope="session")
def prepare(spark):
    """A function: output and options of a request -> the manifest."""
    from research.prepare import request, run

    def make(output, input, **options):
        inputs = input if isinstance(input, tuple) else (input,)
        asked = request.make(input=tuple(map(str, inputs)), output=str(output), **options)
        return run.prepare(spark, asked)[0]

    return make


@pytest.fixture(scope="session")
def rows():
    """A function: output, its manifest, split -> the pyarrow table of the split's shards, checksums verified."""
    import pyarrow
    import pyarrow.parquet

    def read(output, manifest, split):
        files = [f"{output}/{shard['file']}" for shard in manifest["splits"][split]]
        parts = [pyarrow.parquet.read_table(file, page_checksum_verification=True, partitioning=None) for file in files]
        return pyarrow.concat_tables(parts) if parts else None

    return read
