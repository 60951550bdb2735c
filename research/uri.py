"""Files by URI, through fsspec: `open`, `replacing`, `retrying`, and what is there."""

import builtins
import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
import time
import uuid

import fsspec

from research import atomic
from research.errors import UserError

SCHEMES = "a bare path, file:// hdfs:// webhdfs:// gs:// s3:// memory://"
WAITS = (0.5, 1, 2, 4, 8)  # seconds before each further try; HDFS forgets a dead node within about three
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
RENAMES = {"hdfs", "webhdfs"}  # they rename, but onto no file that is there
LASTING = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
NETWORK = {"aiohttp", "botocore", "aiobotocore", "gcsfs", "google", "http", "requests", "urllib3"}


def filesystem(uri):
    """(the fsspec filesystem, the path in it) of a URI. Raises UserError for one that nothing here can open."""
    scheme = str(uri).partition("://")[0]
    try:
        return fsspec.core.url_to_fs(os.path.expanduser(uri))
    except ImportError as error:
        package = PACKAGES.get(scheme)
        advice = f"pip install {package}" if package else "install what it asks for"
        raise UserError(f"{uri} cannot be opened here ({error}); {advice}.") from None
    except ValueError as error:
        raise UserError(f"{uri} is no address that can be opened ({error}); use {SCHEMES}.") from None
    except OSError as error:  # hdfs:// is pyarrow's, which loads the libraries of an installed Hadoop
        advice = "use webhdfs://HOST:PORT/PATH, which needs no Hadoop here" if scheme == "hdfs" else "check the address"
        raise UserError(f"{uri} cannot be opened here ({str(error).splitlines()[0]}); {advice}.") from None


def local(uri):
    """The pathlib.Path of a bare path or a file:// URI, None of any other."""
    scheme, found, rest = str(uri).partition("://")
    if not found:
        return pathlib.Path(uri).expanduser()
    return pathlib.Path(rest) if scheme in ("file", "local") else None


def join(uri, *names):
    """The URI of a file below a folder."""
    return "/".join([str(uri).rstrip("/"), *names])


def open(uri, mode="rb"):
    """A file object; folders above a new file are made. Raises FileNotFoundError where there is no such file."""
    if path := local(uri):
        if "r" not in mode:
            path.parent.mkdir(parents=True, exist_ok=True)
        return builtins.open(path, mode)
    fs, path = filesystem(uri)
    return retrying(lambda: fs.open(path, mode), f"opening {uri}")


def read(uri):
    """All bytes of a file. Raises FileNotFoundError."""

    def once():
        with open(uri) as file:
            return file.read()

    return retrying(once, f"reading {uri}")


def write(uri, content):
    """Writes bytes as a file, whole or not at all; see `replacing`."""

    def once():
        with replacing(uri) as file:
            file.write(content)

    retrying(once, f"writing {uri}")


def exists(uri):
    """Whether there is such a file or folder."""
    try:
        info(uri)
    except FileNotFoundError:
        return False
    return True


def info(uri):
    """fsspec's dict about a file: "size", "type". Raises FileNotFoundError."""
    fs, path = filesystem(uri)
    fs.invalidate_cache()  # what was listed before may be older than the file
    return retrying(lambda: fs.info(path), f"looking for {uri}")  # fs.exists takes a dead server for an absent file


def size(uri):
    """Bytes of a file. Raises FileNotFoundError."""
    return info(uri)["size"]


def listing(uri):
    """Sorted names of what lies in a folder; none where there is no such folder."""
    fs, path = filesystem(uri)
    fs.invalidate_cache()
    return sorted(entry["name"].rstrip("/").rpartition("/")[2] for entry in _entries(fs, path))


def files(uri):
    """Sorted names of all files below a folder, at any depth; none where there is no such folder."""
    fs, path = filesystem(uri)
    fs.invalidate_cache()

    def below(folder):
        for entry in _entries(fs, folder):
            yield from below(entry["name"]) if entry["type"] == "directory" else [entry["name"]]

    return sorted(name[len(path.rstrip("/")) + 1 :] for name in below(path))


def _entries(fs, folder):
    """fsspec's dicts of what lies in a folder; a store of objects may list the folder itself."""
    try:
        found = retrying(lambda: fs.ls(folder, detail=True), f"listing {folder}")
    except FileNotFoundError:
        return []
    return [entry for entry in found if entry["name"].rstrip("/") != folder.rstrip("/")]


def remove(uri):
    """Removes a file, if it is there."""
    fs, path = filesystem(uri)
    with contextlib.suppress(FileNotFoundError):
        retrying(lambda: fs.rm_file(path), f"removing {uri}")


def copy(source, target):
    """Copies a file, whole or not at all. Raises FileNotFoundError."""
    fs, path = filesystem(target)

    def once():
        if local(source) and not local(target) and not _renames(fs):
            return fs.put_file(str(local(source)), path)
        with open(source) as old, replacing(target) as new:
            shutil.copyfileobj(old, new, 1 << 20)

    retrying(once, f"copying {source} to {target}")


@contextlib.contextmanager
def replacing(uri):
    """A binary file that is at `uri` when the block ends without an error, whole, and else not at all.

    It lies beside `uri` under a temporary name; of a store of objects, which shows them whole, on this machine. HDFS
    renames onto nothing: there the old file is gone for a moment before the new one is in its place.
    """
    fs, path = filesystem(uri)
    if here := local(uri):
        here.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(here) as file:
            yield file
    elif _renames(fs):
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}"
        try:
            with retrying(lambda: fs.open(temporary, "wb"), f"opening {uri}") as file:
                yield file
            retrying(lambda: _move(fs, temporary, path), f"writing {uri}")
        except BaseException:
            with contextlib.suppress(Exception):
                fs.rm_file(temporary)
            raise
    else:
        with tempfile.NamedTemporaryFile() as file:
            yield file
            file.flush()
            retrying(lambda: fs.put_file(file.name, path), f"writing {uri}")


def _renames(fs):
    return bool(RENAMES.intersection([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol))


def _move(fs, old, new):
    """Renames a file, in the place of one that may be there."""
    with contextlib.suppress(FileNotFoundError):  # then it is moved already, by a try whose answer was lost
        fs.info(old)
        with contextlib.suppress(FileNotFoundError):
            fs.rm_file(new)
        fs.mv(old, new)
    fs.info(new)  # WebHDFS says nothing of a rename that it did not do


def retrying(call, what):
    """What call() returns; tried again after 0.5, 1, 2, 4 and 8 s where the network or a server fails.

    `what` says what it does, such as "reading hdfs://...". Raises what lasts (a missing file, a full disk) at once,
    and a UserError when all tries failed.
    """
    for wait in (*WAITS, None):
        try:
            return call()
        except Exception as error:
            if not _passing(error):
                raise
            if wait is None or "Credentials" in type(error).__name__:
                spent = f" for {sum(WAITS):g} s" if wait is None else ""
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise UserError(
                    f"{what} failed{spent} ({reason}); check that the server runs, that this machine reaches it and "
                    "may use it, then run the same command again."
                ) from error
            time.sleep(wait)


def _passing(error):
    """Whether trying again may help: of the network's errors, and of those that a server has for a while."""
    if isinstance(error, OSError):
        return not isinstance(error, LASTING) and error.errno not in FULL
    if type(error) is RuntimeError:  # what fsspec makes of a NameNode that is in safe mode, or starts
        return True
    return type(error).__module__.partition(".")[0] in NETWORK
