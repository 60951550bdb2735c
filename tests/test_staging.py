"""A workdir at a URI: what is there alone goes on with the same bits, and a copy that was killed never looks whole."""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
from ml_collections import config_dict

from research import data, loop, staging, uri
from research.errors import UserError
from tests.data import shard_files
from tests.processes import ROOT, call


@pytest.fixture
def where(tmp_path):
    return f"memory://{tmp_path.name}"


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    # Of staging alone: the processes of other tests are started from a temporary folder, too.
    monkeypatch.setattr(staging, "tempfile", types.SimpleNamespace(gettempdir=lambda: str(tmp_path / "tmp")))
    return tmp_path / "tmp"


def there(where):
    """{name: bytes} of what the index lists."""
    index = json.loads(uri.read(uri.join(where, "staged.json")))
    return {name: uri.read(uri.join(where, name)) for name in index["files"]}


def put(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_a_path_stands_for_itself(tmp_path):
    for name in (str(tmp_path / "run"), f"file://{tmp_path}/run"):
        with staging.folder(name, lambda: 4) as folder:
            assert folder == tmp_path / "run"
    assert not list((tmp_path / "tmp").iterdir())


def test_what_is_written_is_there_and_comes_back(where, tmp_path):
    with staging.folder(where) as folder:
        put(folder, "config.json", "{}")
        put(folder, "checkpoints/10/state/x", "ten")
        put(folder, "checkpoints/20.orbax-checkpoint-tmp/state/x", "half")
        put(folder, ".metrics.jsonl.0123", "half")
    assert there(where) == {"config.json": b"{}", "checkpoints/10/state/x": b"ten"}
    assert uri.files(where) == ["checkpoints/10/state/x", "config.json", "staged.json"]
    assert not list((tmp_path / "tmp").rglob("*.json"))
    with staging.folder(where) as folder:
        assert (folder / "checkpoints/10/state/x").read_text() == "ten"
        (folder / "checkpoints/10/state/x").unlink()
        put(folder, "config.json", "{1}")
    assert there(where) == {"config.json": b"{1}"} and uri.files(where) == ["config.json", "staged.json"]


def test_nothing_is_written_where_nothing_changed(where):
    with staging.folder(where) as folder:
        put(folder, "a", "1")
    fs, path = uri.filesystem(uri.join(where, "staged.json"))
    before = fs.modified(path)
    with staging.folder(where):
        pass
    assert fs.modified(path) == before


def test_changes_are_copied_while_the_run_goes_on(where, monkeypatch):
    monkeypatch.setattr(staging, "EVERY", 0.01)
    with staging.folder(where) as folder:
        for i in range(3):
            put(folder, "metrics.jsonl", "x" * i)
            for _ in range(500):
                if uri.exists(uri.join(where, "staged.json")) and there(where).get("metrics.jsonl") == b"x" * i:
                    break
                threading.Event().wait(0.01)
            else:
                raise AssertionError(f"change {i} did not arrive")


@pytest.mark.parametrize("calls", range(12))
def test_a_copy_that_is_killed_at_any_call_leaves_what_was_whole(where, tmp_path, monkeypatch, calls):
    """The copy dies at its n-th write or removal: the next one finds the old files or the new ones."""
    old = {"config.json": b"{}", "checkpoints/1/a": b"1a", "checkpoints/1/b": b"1b"}
    new = {"config.json": b"{}", "checkpoints/2/a": b"2a", "checkpoints/2/b": b"2b", "metrics.jsonl": b"m"}
    with staging.folder(where) as folder:
        for name, content in old.items():
            put(folder, name, content.decode())
    monkeypatch.setattr(staging, "THREADS", 1)
    left, real = [calls], {name: getattr(uri, name) for name in ("copy", "write", "remove")}

    def dying(name):
        def call(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real[name](*arguments)

        return call

    (tmp_path / "here").mkdir()
    copy = staging.Copy(where, tmp_path / "here")
    copy.fetch()
    for name in old:
        if name not in new:
            (tmp_path / "here" / name).unlink()
    for name, content in new.items():
        put(tmp_path / "here", name, content.decode())
    for name in real:
        monkeypatch.setattr(uri, name, dying(name))
    try:
        copy.send()
        finished = True
    except Killed:
        finished = False
    for name, function in real.items():
        monkeypatch.setattr(uri, name, function)
    with staging.folder(where) as folder:
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    checkpoints = {name for name in found if "checkpoints" in name}
    if finished:
        assert found == new
    else:
        assert checkpoints in ({n for n in old if "checkpoints" in n}, {n for n in new if "checkpoints" in n})
        assert all(found[name] == (old | new)[name] for name in found)
    assert set(uri.files(where)) == {*found, "staged.json"}  # nothing loose is kept


def test_metrics_that_are_sent_know_the_checkpoint_that_is_sent(where, tmp_path, monkeypatch):
    """A checkpoint that is finished while others are copied waits for the next time."""
    copy = staging.Copy(where, tmp_path)
    put(tmp_path, "metrics.jsonl", "1")
    real = uri.copy

    def slow(source, target):
        put(tmp_path, "checkpoints/2/a", "2")
        real(source, target)

    monkeypatch.setattr(uri, "copy", slow)
    copy.send()
    assert there(where) == {"metrics.jsonl": b"1"}
    copy.send()
    assert set(there(where)) == {"metrics.jsonl", "checkpoints/2/a"}


def test_a_folder_that_was_copied_by_other_means_is_taken_as_it_is(where):
    uri.write(uri.join(where, "config.json"), b"{}")
    uri.write(uri.join(where, "checkpoints/3/x"), b"3")
    with staging.folder(where) as folder:
        assert (folder / "checkpoints/3/x").read_text() == "3"
    assert uri.files(where) == ["checkpoints/3/x", "config.json"]


def test_folders_that_are_left_out_stay_there(where):
    with staging.folder(where) as folder:
        put(folder, "a/checkpoints/1/x", "1")
        put(folder, "a/metrics.jsonl", "m")
    with staging.folder(where, without=("checkpoints",)) as folder:
        assert not (folder / "a/checkpoints").exists() and (folder / "a/metrics.jsonl").exists()
        put(folder, "tables/t", "t")
    assert set(there(where)) == {"a/checkpoints/1/x", "a/metrics.jsonl", "tables/t"}


def test_a_mistake_within_names_the_uri_and_is_copied(where):
    with pytest.raises(UserError, match=f"^no good: {where}/config.json$"), staging.folder(where) as folder:
        put(folder, "log", "x")
        raise UserError(f"no good: {folder}/config.json")
    assert set(there(where)) == {"log"}


def test_several_processes_are_refused(where):
    with pytest.raises(UserError, match="serves one process, and here are 2"), staging.folder(where, lambda: 2):
        pass


def test_a_listed_file_that_is_gone_is_one_sentence(where):
    with staging.folder(where) as folder:
        put(folder, "a", "1")
    uri.remove(uri.join(where, "a"))
    with pytest.raises(UserError, match="has lost a, which its staged.json lists"), staging.folder(where):
        pass


def test_when_the_server_is_gone_at_the_end_the_files_stay_here(where, monkeypatch, capsys):
    def dead(*arguments):
        raise UserError("writing failed.")

    with pytest.raises(UserError, match=r"writing failed. What was not copied yet is in (.*)\.$") as caught:  # noqa: SIM117
        with staging.folder(where) as folder:
            monkeypatch.setattr(uri, "write", dead)
            put(folder, "a", "1")
    monkeypatch.undo()
    with staging.folder(where):  # the same command again removes what killed ones left, and not this
        pass
    assert pathlib.Path(str(caught.value).split(" is in ")[1][:-1], "a").read_text() == "1"


def test_a_command_beside_a_run_removes_nothing_and_adds_to_what_is_listed_by_then(where, tmp_path):
    run = staging.Copy(where, tmp_path / "run")
    put(run.here, "config.json", "{}")
    run.send()
    put(run.here, "checkpoints/1/a", "1")
    uri.write(uri.join(where, "checkpoints/1/a"), b"1")  # under way, and listed as loose
    run._list({"config.json"}, {"checkpoints/1/a"})
    with staging.folder(where, beside=True) as folder:
        assert [path.name for path in folder.iterdir()] == ["config.json"]
        run.send()
        put(folder, "report.png", "picture")
    assert there(where) == {"config.json": b"{}", "checkpoints/1/a": b"1", "report.png": b"picture"}


def test_what_a_killed_process_left_here_is_removed(where, own_temporary_folder):
    with staging.folder(where) as folder:
        top, name = folder.parent, folder.name.partition(".")[0]
        assert folder.name == f"{name}.{os.getpid()}"
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    put(top / f"{name}.{dead.pid}", "a", "1")
    put(top / f"{name}.1", "a", "of a process that lives")
    with staging.folder(where):
        assert not (top / f"{name}.{dead.pid}").exists() and (top / f"{name}.1").exists()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [(3,), (7, 12), (10, 11, 18)])
def test_a_run_that_is_killed_goes_on_from_the_uri_alone(where, line, loop_config, tmp_path, monkeypatch, at):
    """Copied all the time, killed at a step after which nothing is copied, begun anew in an empty folder: same bits."""
    program, batches = line
    config = loop_config(num_steps=20, log_every=1, eval_every=1, checkpoint_every=2)
    whole = loop.run(program, batches(), config, tmp_path / "whole")
    monkeypatch.setattr(staging, "EVERY", 0.001)
    dead, real = threading.Event(), staging.Copy.send
    monkeypatch.setattr(staging.Copy, "send", lambda self: None if dead.is_set() else real(self))

    def killed(step):
        def evaluate(state, key):
            if int(state["step"]) == step:
                dead.set()
                raise Killed
            return program.evaluate(state, key)

        return program._replace(evaluate=evaluate)

    for step in at:
        dead.clear()
        with pytest.raises(Killed), staging.folder(where) as folder:
            loop.run(killed(step), batches(), config, folder)
    dead.clear()
    with staging.folder(where) as folder:
        state = loop.run(program, batches(), config, folder)
    np.testing.assert_array_equal(state["w"], whole["w"])
    files = there(where)
    assert files["metrics.jsonl"] == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    steps = {name.split("/")[1] for name in files if name.startswith("checkpoints/")}
    assert steps == {"18", "20"} == {n.split("/")[1] for n in uri.files(where) if n.startswith("checkpoints/")}


def test_a_checkpoint_that_is_removed_while_it_is_copied_arrives_whole(where, tmp_path, monkeypatch):
    """The run keeps one checkpoint, and makes and removes them faster than they are copied."""
    copy, real, steps = staging.Copy(where, tmp_path), uri.copy, iter(range(2, 100))

    def slow(source, target):
        step = next(steps)
        put(tmp_path, f"checkpoints/{step}/a", f"{step}a")
        put(tmp_path, f"checkpoints/{step}/b", f"{step}b")
        shutil.rmtree(tmp_path / "checkpoints" / str(step - 1))
        real(source, target)

    put(tmp_path, "checkpoints/1/a", "1a")
    put(tmp_path, "checkpoints/1/b", "1b")
    monkeypatch.setattr(staging, "THREADS", 1)
    monkeypatch.setattr(uri, "copy", slow)
    for expected in (1, 3, 5):
        copy.send()
        assert there(where) == {f"checkpoints/{expected}/{x}": f"{expected}{x}".encode() for x in "ab"}
        assert set(uri.files(where)) == {*there(where), "staged.json"}


def test_a_checkpoint_that_is_half_removed_is_not_sent(where, tmp_path):
    copy = staging.Copy(where, tmp_path)
    for step in (1, 2):
        put(tmp_path, f"checkpoints/{step}/a", "a")
        put(tmp_path, f"checkpoints/{step}/b", "b")
    copy.send()
    (tmp_path / "checkpoints/1/a").unlink()
    copy.send()
    assert set(there(where)) == {"checkpoints/2/a", "checkpoints/2/b"}
    assert set(uri.files(where)) == {*there(where), "staged.json"}


@pytest.fixture
def bucket(monkeypatch):
    """The URI of a bucket of an S3 on this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    names = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    for name, value in (names | {"AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}).items():
        monkeypatch.setenv(name, value)
    fs = uri.filesystem("s3://bucket")[0]
    fs.makedirs("bucket", exist_ok=True)
    yield "s3://bucket"
    type(fs).clear_instance_cache()
    server.stop()


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_commands_on_s3_are_killed_and_go_on_from_there(bucket, tmp_path, monkeypatch):
    """launch.run killed and gone on with, then launch.evaluate and launch.sample, on a bucket alone."""

    def command(name, *arguments):
        environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "JAX_PLATFORMS": "cpu"}
        often = "import runpy; from research import staging; staging.EVERY = 0.2; "
        code = f"{often}runpy.run_module('launch.{name}', run_name='__main__', alter_sys=True)"
        argv = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.Popen(
            argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    long = [
        *("--config=configs/rectified_flow_toy2d.py:tiny", "--config.train.num_steps=1000"),
        *("--config.train.checkpoint_every=50", "--config.train.eval_every=50", "--config.sampler.num_samples=8"),
        *("--config.sampler.name=euler",),
    ]

    def finish(process):
        """What it printed."""
        out, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
        return out, said

    finish(command("run", *long, f"--workdir={tmp_path}/whole"))
    where = f"{bucket}/runs/a"
    process = command("run", *long, f"--workdir={where}")
    while process.poll() is None and not newest(where):
        time.sleep(0.1)
    process.kill()
    process.communicate()
    assert process.returncode == -9
    shutil.rmtree(tmp_path / "tmp")
    (tmp_path / "tmp").mkdir()
    out, said = finish(command("run", *long, f"--workdir={where}"))
    assert "resumed at step" in said and f"{where}/samples.npz" in out, out + said
    files = there(where)
    assert files["metrics.jsonl"] == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    with np.load(io.BytesIO(files["params.npz"])) as ours, np.load(tmp_path / "whole" / "params.npz") as theirs:
        assert all(np.array_equal(ours[name], theirs[name]) for name in {*ours.files, *theirs.files})
    for name, *arguments in (("evaluate", "--num_samples=8"), ("sample", "--num_samples=4", f"--out={tmp_path}/x.npz")):
        finish(command(name, f"--workdir={where}", *arguments))
    assert (tmp_path / "x.npz").exists() and not list((tmp_path / "tmp").glob("workdirs-*/*"))


def newest(where):
    """The newest checkpoint that is whole, 0 without any."""
    try:
        steps = [int(name.split("/")[1]) for name in there(where) if name.startswith("checkpoints/")]
    except FileNotFoundError:
        return 0
    return max(steps, default=0)


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_shards_are_read_on_s3(bucket, monkeypatch):
    x, _ = shard_files.numbers(f"{bucket}/shards", 500)
    section = config_dict.ConfigDict({"name": "shards", "dir": f"{bucket}/shards", "seed": 0})
    order = np.random.default_rng(0).permutation(500)
    np.testing.assert_array_equal(data.load(section).train.gather(order)["x"], x[order])
    assert uri.listing(f"{bucket}/shards") == ["manifest.json", "test", "train"]
    uri.remove(f"{bucket}/shards/train/00002.parquet")
    with pytest.raises(UserError, match="00002.parquet is gone"):
        data.load(section).train.gather(order)
    monkeypatch.setattr(uri, "WAITS", (0.1, 0.1))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    type(uri.filesystem(bucket)[0]).clear_instance_cache()
    with pytest.raises(UserError, match="manifest.json failed for 0.2 s .*check that the server runs"):
        data.load(section)


def test_what_takes_no_uri_says_so():
    wrong = {
        ("sweep", "--config=configs/rectified_flow_toy2d.py", "--backend=slurm"): "which local and one_program serve",
        ("sweep", "--config=configs/rectified_flow_toy2d.py", "--dry_run"): "no dry run: name a folder",
        ("sample", "--out=s3://bucket/x"): "s3://bucket/x is no path on this machine",
    }
    for (command, *arguments), match in wrong.items():
        done = call(command, "--workdir=s3://bucket/run", *arguments)
        assert done.returncode == 2 and match in done.stderr, done.stderr
