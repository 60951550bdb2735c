"""The code that runs is the code that was submitted: the checkout as it is now, packed once, under its git hash."""

import gzip
import hashlib
import importlib.util
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import uuid

from research.atomic import replacing
from research.errors import UserError

HERE = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ("research", "launch", "configs")
LARGEST = 10 << 20  # bytes of a file that git does not know; code is smaller, and weights should not go along unseen


def snapshot(root):
    """The folder ROOT/code/NAME with the code as it is now; written once, whole or not at all.

    NAME is the commit, with -dirty-... and a digest where files differ from it, or nogit-... and a digest outside of a
    checkout. The file `git_hash` in it says which commit it was. Raises UserError where it cannot be written.
    """
    name, commit, files = found(root)
    target = root / "code" / name
    if target.exists():
        return target
    _say(name, commit)
    part = target.with_name(f".{name}.{uuid.uuid4().hex}")
    try:
        for relative, path in files.items():
            (part / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, part / relative)
        (part / "git_hash").write_text(commit)
        part.rename(target)
    except OSError as error:
        if not target.exists():  # else another launcher was faster
            raise UserError(f"cannot pack the code to {target}: {error.strerror}; choose another --workdir.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def location(root):
    """Where `snapshot` puts the code, without writing anything."""
    return root / "code" / found(root)[0]


def archive(root, out, more=None):
    """Writes the code as a tar.gz to `out`, with the files {relative path: bytes} of `more` added; returns `out`.

    The same code gives the same bytes.
    """
    name, commit, files = found(root)
    _say(name, commit)
    more = {"git_hash": commit.encode(), **(more or {})}
    content = {relative: (path.read_bytes(), os.access(path, os.X_OK)) for relative, path in files.items()}
    content |= {relative: (data, False) for relative, data in sorted(more.items())}
    with (
        replacing(out) as file,
        gzip.GzipFile("", "wb", mtime=0, fileobj=file) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for relative, (data, executable) in content.items():
            entry = tarfile.TarInfo(relative)
            entry.size, entry.mode = len(data), 0o755 if executable else 0o644
            tar.addfile(entry, io.BytesIO(data))
    return out


def found(root):
    """(name, commit, {relative path: file}) of the code; `root`, where runs are kept, is left out.

    commit: the whole hash, with + where files differ, or "" outside of a checkout.
    """
    commit, known = _git("rev-parse", "HEAD").strip(), _git("ls-files", "-z", "--cached")
    if "launch/run.py" not in known.split("\0"):
        files = _installed()
        return f"nogit-{_digest(files)}", "", files
    files = {name: HERE / name for name in known.split("\0") if (HERE / name).is_file()}
    new = _unknown(root)
    changed = bool(new or _git("status", "--porcelain", "--untracked-files=no", "--", "."))
    files = dict(sorted((files | new).items()))
    name = f"{commit[:12]}-dirty-{_digest(files)}" if changed else commit[:12]
    return name, commit + "+" * changed, files


def _unknown(root):
    """{relative path: file} of what git neither knows nor ignores."""
    names = _git("ls-files", "-z", "--others", "--exclude-standard").split("\0")
    root, files = pathlib.Path(root).resolve(), {}
    runs = root if HERE in root.parents else root / "code"
    for path in (HERE / name for name in names if name):
        if runs in path.parents or not path.is_file():
            continue
        if path.stat().st_size > LARGEST:
            print(f"{path} is not packed: it is large, and git does not know it.", file=sys.stderr)
            continue
        files[str(path.relative_to(HERE))] = path
    return files


def _installed():
    """{relative path: file} of the packages themselves, wherever they are installed."""
    tops = [pathlib.Path(importlib.util.find_spec(name).submodule_search_locations[0]) for name in PACKAGES]
    files = [(path.relative_to(top.parent), path) for top in tops for path in sorted(top.rglob("*")) if path.is_file()]
    return {str(relative): path for relative, path in files if "__pycache__" not in path.parts}


def _digest(files):
    total = hashlib.sha256()
    for name, path in files.items():
        total.update(f"{name}\0{os.access(path, os.X_OK)}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:8]


def _git(*arguments):
    """What git says in the folder of this code; "" without git, or where it is no checkout."""
    try:
        return subprocess.run(["git", "-C", HERE, *arguments], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _say(name, commit):
    if not commit:
        print(f"this code is in no git checkout; packed as it is, as {name}", file=sys.stderr)
    elif commit.endswith("+"):
        print(f"files differ from commit {commit[:12]}; the tree is packed as it is, as {name}", file=sys.stderr)
