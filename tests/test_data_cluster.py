"""From a raw file on a real HDFS through a real Spark to shards and to training, while servers are killed."""

import collections
import filecmp
import json
import time

import fsspec
import numpy as np
import pytest

from configs import gbdt_oblivious_adult
from research import data, trees
from research.data import manifest, shards, tables
from research.trees import binning
from tests import hdfs_cluster, spark_cluster
from tests.conftest import ROOT
from tests.processes import call, start

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::ResourceWarning")]
pytest.importorskip("pyspark")
pytest.importorskip("requests")
REAL = ROOT.parent / "shared" / "data" / "adult"
ROWS, NAMES = 150_000, "abcde"
OPTIONS = [
    "--rows_per_shard=10000",
    "--row_group_rows=2000",
    "--bins=0",
    "--splits=0.9,0,0.1",
    f"--names={','.join(NAMES)}",
]


@pytest.fixture(scope="module")
def hdfs(tmp_path_factory):
    cluster = hdfs_cluster.Cluster(hdfs_cluster.jars(ROOT / ".cache" / "hadoop"), tmp_path_factory.mktemp("hdfs"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def files(hdfs):
    """fsspec's view of the cluster."""
    host, port = hdfs.web.split(":")
    return fsspec.filesystem("webhdfs", host=host, port=int(port), user="tester")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A folder of three CSV files without a header."""
    folder, rng = tmp_path_factory.mktemp("raw"), np.random.default_rng(0)
    for i, part in enumerate(np.split(rng.normal(size=(ROWS, len(NAMES))).astype(np.float32), 3)):
        np.savetxt(folder / f"{i}.csv", part, "%.6g", ",")
    return folder


def prepare(*arguments):
    done = call("prepare", *arguments, "--master=local[2]")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def quiet(raw, tmp_path_factory):
    """The shards that an undisturbed run on this machine makes."""
    folder = tmp_path_factory.mktemp("quiet") / "shards"
    prepare(f"--input={raw}", f"--output={folder}", *OPTIONS)
    return folder


def fetch(files, name, folder):
    files.get(f"/{name}", str(folder), recursive=True)
    return folder


def assert_same_shards(one, other):
    a, b = manifest.read(one), manifest.read(other)
    assert a["splits"] == b["splits"] and manifest.rows(a, "train") + manifest.rows(a, "test") == ROWS
    for shard in [shard for split in a["splits"].values() for shard in split]:
        assert filecmp.cmp(one / shard["file"], other / shard["file"], shallow=False)


def wait(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_adult_from_raw_text_on_hdfs_to_the_trees_of_the_table_in_memory(hdfs, files, tmp_path):
    if not REAL.exists():
        pytest.skip("no real adult here")
    with files.open("/raw/adult.data", "wb") as file:
        file.write((REAL / "adult.data").read_bytes())
    top = f"hdfs://{hdfs.address}"
    columns = ["--target=income", f"--names={','.join([*tables.ADULT, 'income'])}", "--missing_word=?"]
    sizes = ["--rows_per_shard=4096", "--row_group_rows=1024", "--splits=0.9,0,0.1"]
    prepare(f"--input={top}/raw/adult.data", f"--output={top}/adult", *columns, *sizes)
    where, trained = f"webhdfs://{hdfs.web}/adult", ["--config.train.num_steps=4", "--config.model.num_trees=40"]
    of = [
        "--config=configs/gbdt_oblivious_adult.py",
        "--config.data.name=shards",
        f"--config.data.dir={where}",
        *trained,
    ]
    done = call("run", *of, f"--workdir={tmp_path}/run")
    assert done.returncode == 0, done.stderr

    section = gbdt_oblivious_adult.get_config().data
    section.dir = str(REAL.parent)
    table = data.load(section).train
    rows = table.gather(np.arange(table.size))
    made = manifest.read(where)
    borders = manifest.borders(made)
    text = [line.split(", ") for line in (REAL / "adult.data").read_text().splitlines() if line]
    for i, column in enumerate(made["columns"]):  # a word that train does not have is missing in shards
        if column["kind"] == "category":
            words = sorted({row[i] for row in text} - {"?"})
            places = [column["vocabulary"].index(w) if w in column["vocabulary"] else np.nan for w in words]
            rows["x"][:, i] = np.append(places, np.nan)[np.nan_to_num(rows["x"][:, i], nan=-1).astype(int)]
    section.update({"name": "shards", "dir": where})
    train = shards.load(section).train
    read = train.gather(np.arange(train.size))
    left = collections.Counter(keys(borders, read))
    kept = []  # the rows of the table that the splits put into train
    for i, key in enumerate(keys(borders, rows)):
        if left[key]:
            left[key] -= 1
            kept.append(i)
    assert len(kept) == manifest.rows(made, "train") and 0.89 < len(kept) / table.size < 0.91
    model = gbdt_oblivious_adult.get_config().model
    model.num_trees = 40
    fields = type("Fields", (), {**model.to_dict(), "borders": list(borders.values)})
    wanted = trees.fit(rows["x"][kept], rows["y"][kept], fields)
    found = np.load(tmp_path / "run" / "params.npz")
    for name in ("feature", "threshold", "leaves"):
        np.testing.assert_array_equal(found[name], getattr(wanted, name))


def keys(borders, rows):
    """Of each row the codes and the target, which tell rows apart as far as trees do."""
    return [(code.tobytes(), float(y)) for code, y in zip(binning.apply(borders, rows["x"]).T, rows["y"])]


def test_a_node_of_hdfs_dies_while_spark_writes(hdfs, files, raw, quiet, tmp_path):
    top = f"hdfs://{hdfs.address}"
    two = "--conf=spark.hadoop.dfs.client.block.write.replace-datanode-on-failure.policy=NEVER"  # there is no third
    argv = [f"--input={raw}", f"--output={top}/written", "--master=local[2,4]", two, *OPTIONS]
    process = start("prepare", *argv, folder=tmp_path)
    wait(lambda: blocks(hdfs) > 0)
    hdfs.kill(0)
    process.join(240)
    try:
        if process.exitcode:  # HDFS found no node in time: a sentence, nothing that looks whole, and anew
            said = (tmp_path / "stderr").read_text()
            assert process.exitcode == 2 and "too few DataNodes" in said and "Traceback" not in said, said
            assert not files.exists("/written/manifest.json")
            done = call("prepare", *argv)
            assert done.returncode == 0, done.stderr
        assert_same_shards(fetch(files, "written", tmp_path / "shards"), quiet)
    finally:
        hdfs.start(0)
        hdfs.wait_for(2)


def blocks(hdfs):
    """Files of blocks that DataNode 0 has begun under the way to /written."""
    return len(list((hdfs.folder / "data0" / "blocks").rglob("rbw/blk_*")))


def test_a_node_of_hdfs_dies_while_training_reads(hdfs, files, quiet, tmp_path):
    files.put(str(quiet), "/read", recursive=True)
    of = ["--config=configs/ddpm_tabular.py:tiny", "--config.data.name=shards", "--config.data.batch_size=64"]
    of += ["--config.train.num_steps=1800", "--config.train.checkpoint_every=600", "--config.train.eval_every=0"]
    process = start(
        "run", *of, f"--config.data.dir=webhdfs://{hdfs.web}/read", f"--workdir={tmp_path}/run", folder=tmp_path
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    wait(lambda: metrics.exists() and metrics.read_text().count("\n") > 3)
    hdfs.kill(1)
    try:
        seen = metrics.read_text().count("\n")
        process.join(240)
        assert process.exitcode == 0, (tmp_path / "stderr").read_text()
        assert json.loads(metrics.read_text().splitlines()[seen - 1])["step"] < 900
        done = call("run", *of, f"--config.data.dir={quiet}", f"--workdir={tmp_path}/here")
        assert done.returncode == 0, done.stderr
        one, other = (np.load(tmp_path / name / "params.npz") for name in ("run", "here"))
        assert all(np.array_equal(one[name], other[name]) for name in one.files)
    finally:
        hdfs.start(1)
        hdfs.wait_for(2)


@pytest.mark.parametrize("master", ["local-cluster[2,1,1024]", "standalone"])
def test_workers_of_their_own_make_the_same_shards(master, raw, quiet, tmp_path):
    """A worker of the standalone cluster is killed midway."""
    cluster = None
    if master == "standalone":
        cluster = spark_cluster.Cluster(tmp_path)
        master = cluster.address
    try:
        argv = [f"--input={raw}", f"--output={tmp_path}/shards", f"--master={master}", *OPTIONS]
        process = start("prepare", *argv, "--conf=spark.executor.memory=600m", folder=tmp_path)
        if cluster:
            wait(lambda: any((tmp_path / ".shards.prepare").rglob("*.parquet*")))
            cluster.kill(0)
        process.join(240)
        assert process.exitcode == 0, (tmp_path / "stderr").read_text()
        assert_same_shards(tmp_path / "shards", quiet)
    finally:
        if cluster:
            cluster.stop()
