"""A stream adds each row once, with the columns as they were prepared, whatever crashes."""

import collections
import threading

import numpy as np
import pytest

from research.data import manifest as manifests
from research.errors import UserError

pytest.importorskip("pyspark")
pytestmark = pytest.mark.cluster
OPTIONS = {"target": "y", "bins": 0, "rows_per_shard": 500}


@pytest.fixture
def prepared(prepare, tmp_path):
    """A folder of shards of 1000 rows, and an empty one where files will arrive."""
    write(tmp_path / "in" / "a.csv", range(1000))
    prepare(tmp_path / "out", tmp_path / "in", **OPTIONS)
    (tmp_path / "new").mkdir()
    return tmp_path


def write(path, numbers):
    path.parent.mkdir(exist_ok=True)
    path.write_text("n,word,y\n" + "".join(f"{n},{'ab'[n % 2] if n < 5000 else 'c'},{n % 3}\n" for n in numbers))


def follow(spark, top, every=None, stopped=None, **more):
    from research.prepare import streaming

    given = {"input": (str(top / "new"),), "output": str(top / "out"), **more}
    return streaming.follow(spark, given, every, stopped)


def train(rows, top):
    manifest = manifests.read(str(top / "out"))
    found = rows(top / "out", manifest, "train")
    return manifest, collections.Counter(int(n) for n in found["n"].to_numpy()), found


def test_files_are_added_once_though_a_batch_is_read_again(prepared, spark, rows, monkeypatch):
    from research.prepare import run

    before, had, _ = train(rows, prepared)
    write(prepared / "new" / "a.csv", range(4000, 5200))
    assert follow(spark, prepared) == 1200
    manifest, now, found = train(rows, prepared)
    assert now == had + collections.Counter(range(4000, 5200)) and max(now.values()) == 1
    assert manifest["generation"] == 2 and manifest["columns"] == before["columns"]
    assert manifest["splits"]["train"][: len(before["splits"]["train"])] == before["splits"]["train"]
    words = {int(n): w for n, w in zip(found["n"].to_numpy(), found["word"].to_numpy())}
    assert words[4000] == 0 and words[4001] == 1 and np.isnan(words[5001])  # unseen when it was prepared
    assert follow(spark, prepared) == 0 and train(rows, prepared)[1] == now

    write(prepared / "new" / "b.csv", range(6000, 6100))
    whole = run.append

    def crash_after(*args):  # the manifest is written, and Spark does not learn of it
        whole(*args)
        raise RuntimeError

    monkeypatch.setattr(run, "append", crash_after)
    with pytest.raises(RuntimeError):
        follow(spark, prepared)
    monkeypatch.setattr(run, "append", whole)
    assert follow(spark, prepared) == 0
    assert train(rows, prepared)[1] == now + collections.Counter(range(6000, 6100))

    def crash(*_):
        raise RuntimeError

    write(prepared / "new" / "c.csv", range(7000, 7100))
    monkeypatch.setattr(run.Folder, "write_manifest", crash)  # files are in place, the manifest is not
    with pytest.raises(RuntimeError):
        follow(spark, prepared)
    monkeypatch.undo()
    assert follow(spark, prepared) == 100
    manifest, found, _ = train(rows, prepared)
    assert found == now + collections.Counter(range(6000, 6100)) + collections.Counter(range(7000, 7100))
    assert manifest["generation"] == 4


def test_it_goes_on_until_it_is_stopped(prepared, spark, rows):
    stopped, added = threading.Event(), []
    thread = threading.Thread(target=lambda: added.append(follow(spark, prepared, 0.5, stopped)))
    thread.start()
    try:
        for i in range(2):
            write(prepared / f"{i}.csv", range(4000 + i, 4100, 2))
            (prepared / f"{i}.csv").rename(prepared / "new" / f"{i}.csv")
            for _ in range(120):
                if len(train(rows, prepared)[1] & collections.Counter(range(4000, 4100))) == 50 * (i + 1):
                    break
                stopped.wait(0.5)
    finally:
        stopped.set()
        thread.join()
    assert added == [100] and manifests.read(str(prepared / "out"))["generation"] == 3


def test_mistakes(prepared, spark, prepare, rows):
    write(prepared / "new" / "a.csv", range(4000, 4100))
    for more, match in (
        ({"output": str(prepared / "other")}, "no prepared table to add to"),
        ({"bins": 7}, "--bins=7 is not what .* made with \\(0\\)"),
        ({"input": (str(prepared / "in"),)}, "that was not prepared before"),
        ({"input": (str(prepared / "absent"),)}, "absent is not there"),
    ):
        with pytest.raises(UserError, match=match):
            follow(spark, prepared, **more)
    (prepared / "new" / "b.csv").write_text("n,word,y\nmany,a,1\n")
    with pytest.raises(UserError, match=r"new/b.csv: column 'n' has 'many', which is no number"):
        follow(spark, prepared)
    for text, match in (
        ("n,word,y\n5,a,1\n6,a\n", "new/b.csv is '6,a', of another form"),
        ("n,wort,y\n5,a,1\n", "b.csv has another header"),
        ("n,word,y\n5,a,\n", "column 'y' of new rows has 'None'"),
    ):
        (prepared / "new" / "b.csv").write_text(text)
        with pytest.raises(UserError, match=match):
            follow(spark, prepared)
    (prepared / "new" / "b.csv").unlink()
    assert follow(spark, prepared) == 100
    (prepared / "out" / "_stream").rename(prepared / "gone")
    with pytest.raises(UserError, match="_stream is gone or another one"):
        follow(spark, prepared)
