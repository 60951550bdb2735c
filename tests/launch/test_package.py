"""The code that is packed is the code as it is: named by its commit, whole, and without data."""

import os
import subprocess
import sys
import tarfile

import pytest

from launch.backends import package
from research import workdir
from research.errors import UserError


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A committed checkout of three files, in the place of this one."""
    top = tmp_path / "checkout"
    for name, text in {"launch/run.py": "1", "research/a.py": "2", ".gitignore": "data/\n", "data/big": "3"}.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    monkeypatch.setattr(package, "HERE", top)
    git(top, "init", "-q")
    commit(top)
    return top


def git(top, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", "-C", top, *who, *arguments], check=True, capture_output=True, text=True).stdout


def commit(top):
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "x")


def tree(top):
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


CODE = {"launch/run.py", "research/a.py", ".gitignore"}


def test_a_clean_checkout_is_packed_under_its_commit(checkout, tmp_path, capsys, monkeypatch):
    head = git(checkout, "rev-parse", "HEAD").strip()
    assert package.location(tmp_path / "runs") == tmp_path / "runs" / "code" / head[:12]
    assert not (tmp_path / "runs").exists()
    folder = package.snapshot(tmp_path / "runs")
    assert folder == package.location(tmp_path / "runs") and capsys.readouterr().err == ""
    assert tree(folder) == CODE | {"git_hash"} and (folder / "git_hash").read_text() == head
    monkeypatch.setattr(workdir, "__file__", str(folder / "research" / "workdir.py"))
    assert workdir.versions()["git"] == head  # what runs there says so
    assert os.listdir(folder.parent) == [folder.name]  # nothing half-written is left


def test_a_dirty_tree_is_packed_as_it_is_and_says_so(checkout, tmp_path, capsys):
    head = git(checkout, "rev-parse", "HEAD").strip()
    (checkout / "research" / "a.py").write_text("changed")
    (checkout / "research" / "new.py").write_text("new")
    (checkout / ".gitignore").unlink()
    (checkout / ".gitignore").write_text("data/\n")  # a file that is only touched is no change
    folder = package.snapshot(tmp_path)
    said = capsys.readouterr().err
    assert said == f"files differ from commit {head[:12]}; the tree is packed as it is, as {folder.name}\n"
    assert folder.name.startswith(f"{head[:12]}-dirty-") and len(folder.name) == 12 + 7 + 8
    assert tree(folder) == CODE | {"research/new.py", "git_hash"}
    assert (folder / "research" / "a.py").read_text() == "changed"
    assert (folder / "git_hash").read_text() == head + "+"
    (checkout / "research" / "a.py").write_text("again")
    assert package.snapshot(tmp_path) != folder  # what was packed before stays what it was
    assert (folder / "research" / "a.py").read_text() == "changed"


def test_a_new_file_alone_or_a_removed_one_makes_it_dirty(checkout, tmp_path):
    clean = package.location(tmp_path).name
    (checkout / "research" / "a.py").unlink()
    removed = package.snapshot(tmp_path)
    assert "-dirty-" in removed.name and tree(removed) == CODE - {"research/a.py"} | {"git_hash"}
    git(checkout, "checkout", "-q", ".")
    (checkout / "research" / "b.py").write_text("")
    assert "-dirty-" in package.location(tmp_path).name
    commit(checkout)
    assert "-dirty-" not in package.location(tmp_path).name != clean


def test_runs_and_large_files_that_git_does_not_know_stay_behind(checkout, capsys):
    runs = checkout / "out"
    first = package.snapshot(runs)
    assert "-dirty-" not in first.name  # the packed code itself changes nothing
    (checkout / "weights").write_bytes(bytes(package.LARGEST + 1))
    assert package.snapshot(runs) == first
    assert "weights is not packed: it is large" in capsys.readouterr().err


def test_code_outside_of_a_checkout_is_copied(checkout, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")  # without git
    folder = package.snapshot(tmp_path)
    assert folder.name.startswith("nogit-") and "in no git checkout" in capsys.readouterr().err
    assert {"launch/run.py", "research/loop.py", "configs/base.py"} <= tree(folder)
    assert not any("__pycache__" in name for name in tree(folder))
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import launch, sys; print(launch.__path__[0])"],
        env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(folder / "launch")


def test_an_archive_is_the_same_code_and_the_same_bytes(checkout, tmp_path):
    (checkout / "run.sh").write_text("true")
    (checkout / "run.sh").chmod(0o755)
    more = {"frozen/a.json": b"{}"}
    first = package.archive(tmp_path, tmp_path / "a.tar.gz", more)
    os.utime(checkout / "run.sh", (1, 1))
    second = package.archive(tmp_path, tmp_path / "b.tar.gz", more)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        assert set(tar.getnames()) == CODE | {"run.sh", "git_hash", "frozen/a.json"}
        assert tar.extractfile("frozen/a.json").read() == b"{}"
        assert tar.getmember("run.sh").mode == 0o755 and tar.getmember("research/a.py").mode == 0o644


def test_a_folder_that_cannot_be_written(checkout, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot pack the code to .*choose another --workdir"):
        package.snapshot(tmp_path / "file")
