"""Workdirs at a URI: a local folder stands for one while a command runs. Entry point: `folder`.

orbax can write gs:// by itself, a run's other files cannot, so every URI is staged: what it holds is copied here first,
and what changes here is copied back every few seconds and at the end. staged.json, written last, lists the files that
belong together; what it does not list is of a copy that was killed, and is neither read nor kept.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time

from research import uri
from research.errors import UserError

INDEX = "staged.json"
EVERY = 10.0  # seconds between copies
THREADS = 8


@contextlib.contextmanager
def folder(where, processes=lambda: 1, without=(), beside=False):
    """The pathlib.Path that stands for the folder at `where`, a path or a URI; of a path it is the path itself.

    processes: how many share the run. without: names of folders that are not copied here. beside: the run may be under
    way elsewhere, and nothing of it is removed. Whatever ends the block, what it wrote is copied back. Raises UserError
    for a URI with several processes, which would each have a folder of their own, and where copying fails for good:
    then the local folder stays, and the sentence names it.
    """
    if path := uri.local(where):
        yield path
        return
    if processes() > 1:
        raise UserError(
            f"--workdir={where} serves one process, and here are {processes()}: name a folder that all hosts share, "
            "such as a mounted bucket."
        )
    here = _fresh(where)
    copy, stop = Copy(where, here, beside), threading.Event()
    copy.fetch(without)
    thread = threading.Thread(target=copy.keep, args=(stop,), daemon=True)
    thread.start()
    try:
        yield here
    except UserError as error:
        raise UserError(str(error).replace(str(here), str(where).rstrip("/"))) from error
    finally:
        stop.set()
        thread.join()
        try:
            copy.send()
        except UserError as error:
            kept = here.rename(here.with_name(f"kept-{time.time_ns()}"))  # the next command removes what is left here
            raise UserError(f"{error} What was not copied yet is in {kept}.") from error
        shutil.rmtree(here, ignore_errors=True)


def _fresh(where):
    """An empty folder of this process; those of processes that were killed are removed."""
    top = pathlib.Path(tempfile.gettempdir()) / f"workdirs-{os.getuid()}"
    name = hashlib.sha256(str(where).rstrip("/").encode()).hexdigest()[:16]
    for old in top.glob(f"{name}.*"):
        try:
            os.kill(int(old.suffix[1:]), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(old, ignore_errors=True)
        except PermissionError:  # another user's process, which lives
            pass
    here = top / f"{name}.{os.getpid()}"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    return here


class Copy:
    """What is known of a folder at a URI and of the one here that stands for it."""

    def __init__(self, where, here, beside=False):
        self.where, self.here, self.beside, self.held = where, here, beside, here / ".sending"
        self.sent = {}  # name: (size, time) of the file here that is there
        self.apart = set()  # names of files there that are not here

    def fetch(self, without=()):
        """Copies here what is there, but for folders named in `without`; removes there what a killed copy left."""
        index = self._index()
        if not self.beside:
            self._each(lambda name: uri.remove(uri.join(self.where, name)), set(index["loose"]) - set(index["files"]))
        self.apart = {name for name in index["files"] if set(without) & set(name.split("/"))}
        self._each(self._get, set(index["files"]) - self.apart)
        self.sent = self._here()

    def _index(self):
        try:
            return json.loads(uri.read(uri.join(self.where, INDEX)))
        except FileNotFoundError:  # a new run, or one that was copied there by other means
            return {"files": [name for name in uri.files(self.where) if _counts(name)], "loose": []}

    def send(self):
        """Copies there what is new or changed here, and removes what is gone: first what is loose is listed as such."""
        now = self._here()
        if self.beside:
            return self._add({name for name in now if now[name] != self.sent.get(name)}, now)
        now = _without(now, set(self.sent) - set(now))
        changed = {name for name in now if now[name] != self.sent.get(name)}
        lost = self._hold(changed)
        now, changed = _without(now, lost), set(_without(changed, lost))
        gone = set(self.sent) - set(now)
        if not changed and not gone:
            return
        if new := changed - set(self.sent):
            self._list(set(self.sent), new)
        lost = {name for name, there in zip(changed, self._each(self._put, changed)) if not there}
        self.sent = _without(now, lost)
        self._list(set(self.sent), gone | lost)
        self._each(lambda name: uri.remove(uri.join(self.where, name)), gone)

    def _add(self, changed, now):
        """Copies there what is new or changed here, and lists it beside what is listed by now."""
        if changed:
            self._each(self._put, changed)
            self.sent |= {name: now[name] for name in changed}
            index = self._index()
            uri.write(uri.join(self.where, INDEX), _listing(changed.union(index["files"]), index["loose"]))

    def _hold(self, names):
        """Links files of checkpoints, which the run may remove while they are copied; names of what it has removed."""
        shutil.rmtree(self.held, ignore_errors=True)
        lost = set()
        for name in names:
            if _unit(name) != name:
                (self.held / name).parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(self.here / name, self.held / name)
                except FileNotFoundError:
                    lost.add(name)
        return lost

    def keep(self, stop):
        """Sends every few seconds until `stop`; a failure is said, and the next time tries again."""
        while not stop.wait(EVERY):
            try:
                self.send()
            except Exception as error:
                print(f"warning: {self.where} is not up to date: {error}", file=sys.stderr)

    def _here(self):
        """{name: (size, time)} of the finished files here. A checkpoint that is found is older than what is told of
        other files, so that its step is among the metrics that are sent with it."""
        names = [path.relative_to(self.here).as_posix() for path in self.here.rglob("*") if path.is_file()]
        found = {}
        for name in filter(_counts, names):
            with contextlib.suppress(FileNotFoundError):
                stat = (self.here / name).stat()
                found[name] = stat.st_size, stat.st_mtime_ns
        return found

    def _get(self, name):
        try:
            uri.copy(uri.join(self.where, name), self.here / name)
        except FileNotFoundError:
            raise UserError(
                f"{self.where} has lost {name}, which its {INDEX} lists; bring it back, or remove {INDEX} to go on "
                "with what is there."
            ) from None

    def _put(self, name):
        """Whether a file was copied; it may have been removed here in the meantime."""
        with contextlib.suppress(FileNotFoundError):
            uri.copy((self.here if _unit(name) == name else self.held) / name, uri.join(self.where, name))
            return True
        return False

    def _list(self, files, loose):
        uri.write(uri.join(self.where, INDEX), _listing(files | self.apart, loose))

    @staticmethod
    def _each(call, names):
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(call, names))


def _listing(files, loose):
    return json.dumps({"files": sorted(files), "loose": sorted(loose)}, indent=1).encode()


def _counts(name):
    """Whether a file belongs to a run: it is no half of a checkpoint, and under no temporary name."""
    return name != INDEX and not any(part.startswith(".") or "orbax-checkpoint-tmp" in part for part in name.split("/"))


def _unit(name):
    """What a file is whole with: the folder of its checkpoint, or itself."""
    parts = name.split("/")
    return "/".join(parts[: parts.index("checkpoints") + 2]) if "checkpoints" in parts else name


def _without(found, lost):
    """The names of `found`, or their dict, that are not of a unit of one of `lost`."""
    units = set(map(_unit, lost))
    left = [name for name in found if _unit(name) not in units]
    return {name: found[name] for name in left} if isinstance(found, dict) else left
