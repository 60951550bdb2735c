"""Files by URI: the same on a local disk and elsewhere, whole or not at all; what is done about servers that fail."""

import errno

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from research import uri
from research.errors import UserError


@pytest.fixture(params=["path", "file", "memory"])
def top(request, tmp_path):
    return {"path": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{tmp_path.name}"}[request.param]


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were waited, without waiting."""
    spent = []
    monkeypatch.setattr(uri.time, "sleep", spent.append)
    return spent


def test_what_is_written_is_there(top):
    where = uri.join(top, "a", "b.txt")
    assert not uri.exists(where) and uri.listing(uri.join(top, "a")) == []
    uri.write(where, b"first")
    uri.write(where, b"second")
    with uri.open(uri.join(top, "a", "c"), "wb") as file:
        file.write(b"")
    assert uri.exists(where) and uri.size(where) == 6 and uri.read(where) == b"second"
    assert uri.listing(uri.join(top, "a")) == ["b.txt", "c"] and "a" in uri.listing(top)


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(top):
    where = uri.join(top, "b.txt")
    uri.write(where, b"old")
    with pytest.raises(KeyError), uri.replacing(where) as file:
        file.write(b"half of the new")
        raise KeyError
    assert uri.read(where) == b"old" and uri.listing(top) == ["b.txt"]


def test_what_is_not_there(top):
    with pytest.raises(FileNotFoundError):
        uri.open(uri.join(top, "none"))
    with pytest.raises(FileNotFoundError):
        uri.size(uri.join(top, "none"))


def test_local_paths():
    assert uri.local("a/b") and uri.local("file:///a/b").parts == ("/", "a", "b") and uri.local("s3://a/b") is None
    assert "~" not in str(uri.local("~/x"))


@pytest.mark.parametrize(
    "where, match",
    [
        ("nothing://x", "no address"),
        ("gs://bucket/x", "pip install gcsfs|credentials|failed|exist"),
        ("hdfs://host:1/x", "webhdfs://"),
    ],
)
def test_what_cannot_be_opened_is_one_sentence(where, match, waits):
    if where.startswith("gs"):
        try:
            import gcsfs  # noqa: F401

            pytest.skip("gcsfs is here")
        except ImportError:
            pass
    with pytest.raises(UserError, match=match):
        uri.exists(where)


@pytest.mark.parametrize("failures, waited", [(0, []), (1, [0.5]), (3, [0.5, 1, 2]), (5, [0.5, 1, 2, 4, 8])])
def test_a_server_that_comes_back_is_waited_for(failures, waited, waits):
    answers = iter([ConnectionResetError("gone")] * failures + ["here"])

    def call():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert uri.retrying(call, "reading x") == "here" and waits == waited


def fails(error):
    def call():
        raise error

    return call


def test_a_server_that_stays_away_is_one_sentence(waits):
    with pytest.raises(UserError, match=r"reading x failed for 15.5 s \(gone\); check that the server runs"):
        uri.retrying(fails(ConnectionRefusedError("gone")), "reading x")
    assert sum(waits) == 15.5


LASTING = [
    FileNotFoundError(),
    PermissionError(),
    OSError(errno.ENOSPC, "full"),
    KeyError(),
    UserError("no"),
    ValueError(),
]


@pytest.mark.parametrize("error", LASTING, ids=lambda e: type(e).__name__)
def test_what_lasts_is_raised_at_once(error, waits):
    with pytest.raises(type(error)):
        uri.retrying(fails(error), "reading x")
    assert waits == []


class Renaming(MemoryFileSystem):
    """Renames as HDFS does: onto no file, saying nothing where it did not; its first answers are lost."""

    protocol = "webhdfs"
    store, pseudo_dirs = {}, [""]
    lost = 0

    def mv(self, old, new, **kwargs):
        if new not in self.store and old in self.store:
            self.store[new] = self.store.pop(old)
        if Renaming.lost:
            Renaming.lost -= 1
            raise ConnectionResetError("the answer is lost")


@pytest.mark.parametrize("lost", [0, 1])
def test_where_files_are_renamed_a_lost_answer_loses_no_file(monkeypatch, waits, lost):
    monkeypatch.setattr(uri, "filesystem", lambda where: (Renaming(), "/" + where.partition("://")[2]))
    for i in range(3):
        Renaming.lost = lost
        uri.write("webhdfs://a/b", b"%d" % i)
        assert Renaming.store["/a/b"].getvalue() == b"%d" % i and list(Renaming.store) == ["/a/b"]
    assert len(waits) == 3 * lost


def test_absence_and_a_dead_server_are_told_apart(monkeypatch, waits):
    class Dead(MemoryFileSystem):
        def info(self, path, **kwargs):
            raise ConnectionRefusedError("dead")

    monkeypatch.setattr(uri, "filesystem", lambda where: (Dead(skip_instance_cache=True), "/a"))
    with pytest.raises(UserError, match="dead"):
        uri.exists("webhdfs://a")


def test_fsspec_is_asked_for_the_scheme():
    assert isinstance(uri.filesystem("memory://a")[0], fsspec.get_filesystem_class("memory"))
