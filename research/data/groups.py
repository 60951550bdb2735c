"""Row groups of Parquet files, read where rows of them are asked for. Entry point: `Groups`."""

import collections
import concurrent.futures
import io
import threading
import time

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from research import uri
from research.errors import UserError

AGAIN = "copy it there anew, or make the shards again by launch.prepare"
AHEAD = 4  # row groups that are read at once
ROWS_KEPT = 65536  # a group is let go once so many rows came from others


class Groups:
    """The rows of a split's files, gathered by index; threads may share it.

    folder: URI. shards: the split in the manifest. columns: names of those to read. decode: (pyarrow.Table) -> a dict
    of arrays [rows, ...], which are kept for a while.
    """

    def __init__(self, folder, shards, columns, decode):
        self.folder, self.columns, self.decode, self.shards = folder, columns, decode, []
        self.extend(shards)
        self.pool, self.lock = concurrent.futures.ThreadPoolExecutor(AHEAD), threading.Lock()
        self.kept, self.clock = collections.OrderedDict(), 0  # group -> (Future, clock); the last used is last
        self.metadata = {}  # file -> its footer
        self.read = collections.Counter()  # how often each group was read
        self.bytes, self.seconds = 0, 0.0
        self.own = threading.local()  # the file that a thread read last stays open

    def extend(self, shards):
        """Takes in the files behind those that are known. Raises UserError where the known ones are not the first."""
        if shards[: len(self.shards)] != self.shards:
            raise UserError(f"{self.folder} has other files than when this began; bring them back, or start anew.")
        self.places = [(shard, i) for shard in shards for i in range(len(shard["groups"]))]
        self.rows = np.array([shard["groups"][i] for shard, i in self.places], np.int64)
        self.starts, self.size = np.cumsum(self.rows) - self.rows, int(self.rows.sum())
        self.shards = list(shards)

    def gather(self, indices):
        """A dict of arrays [B, ...] of the rows at indices [B], B above 0. Raises UserError for what cannot be read."""
        first = int(np.searchsorted(self.starts, indices[0], "right")) - 1
        whole = np.arange(self.starts[first], self.starts[first] + self.rows[first])
        if np.array_equal(indices, whole):
            return dict(self._ask(first, len(indices), here=True).result())  # a group as it is, read-only
        which = np.searchsorted(self.starts, indices, "right") - 1
        in_order = bool((np.diff(which) >= 0).all())
        order = slice(None) if in_order else np.argsort(which, kind="stable")
        which = which[order]
        local = indices[order] - self.starts[which]
        edges = [0, *(np.flatnonzero(np.diff(which)) + 1).tolist(), len(which)]
        parts = list(zip(which[edges[:-1]].tolist(), edges[:-1], edges[1:]))
        found, asked = {}, collections.deque()
        for i, (_, begin, end) in enumerate(parts):
            for group, first, last in parts[i + len(asked) : i + AHEAD]:
                asked.append(self._ask(group, last - first))
            for name, array in asked.popleft().result().items():
                if name not in found:
                    found[name] = np.empty((len(indices), *array.shape[1:]), array.dtype)
                np.take(array, local[begin:end], axis=0, out=found[name][begin:end], mode="clip")
        if in_order:
            return found
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        return {name: array[places] for name, array in found.items()}

    def say(self):
        """One line: what was read so far, and how fast. Groups are read side by side, which this does not count."""
        rows = sum(self.rows[group] * times for group, times in self.read.items())
        seconds = max(self.seconds, 1e-9)
        return (
            f"{rows:,} rows read at {rows / seconds:,.0f} rows/s, {self.bytes / seconds / 1e6:,.0f} MB/s, by one thread"
        )

    def _ask(self, group, rows, here=False):
        """The Future of a group's arrays, which other threads read, or this one: here=True."""
        with self.lock:
            self.clock += rows
            future, _ = self.kept.pop(group, (None, 0))
            new = future is None or (future.done() and future.exception())
            if new:
                future = concurrent.futures.Future() if here else self.pool.submit(self._load, group)
            self.kept[group] = future, self.clock
            while next(iter(self.kept.values()))[1] < self.clock - ROWS_KEPT:
                self.kept.popitem(last=False)
        if new and here:
            try:
                future.set_result(self._load(group))
            except BaseException as error:
                future.set_exception(error)
        return future

    def _load(self, group):
        shard, i = self.places[group]
        where, start = uri.join(self.folder, shard["file"]), time.perf_counter()
        try:
            table = self._open(shard, where).read_row_group(i, self.columns, use_threads=False)
            arrays = self.decode(table)
            for array in arrays.values():
                array.setflags(write=False)
        except FileNotFoundError:
            raise UserError(f"{where} is gone, which the manifest lists; {AGAIN}.") from None
        except (pa.ArrowException, OSError, IndexError) as error:
            self.own.name, reason = None, " ".join(str(error).split())[:200]
            raise UserError(f"{where} is damaged in row group {i} ({reason}); {AGAIN}.") from error
        with self.lock:
            self.read[group] += 1
            self.bytes += table.nbytes
            self.seconds += time.perf_counter() - start
        return arrays

    def _open(self, shard, where):
        path, name = uri.local(where), shard["file"]
        if getattr(self.own, "name", None) == name:
            return self.own.file
        if name not in self.metadata:
            size = path.stat().st_size if path else uri.size(where)
            if size != shard["bytes"]:
                raise UserError(f"{where} has {size:,} bytes and should have {shard['bytes']:,}; {AGAIN}.")
        source = path or pa.PythonFile(Ranged(where, shard["bytes"]), "r")
        file = parquet.ParquetFile(
            source, metadata=self.metadata.get(name), pre_buffer=not path, page_checksum_verification=True
        )
        if name not in self.metadata:
            rows = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
            if rows != shard["groups"]:
                raise UserError(f"{where} has other row groups than the manifest says; {AGAIN}.")
            for lacking in set(self.columns) - set(file.schema_arrow.names):
                raise UserError(f"{where} has no column '{lacking}'; {AGAIN}.")
            self.metadata[name] = file.metadata
        self.own.name, self.own.file = name, file
        return file


class Ranged(io.RawIOBase):
    """A file at a URI, each range of it read anew, so that a server that fails is asked again.

    pyarrow seeks and reads from several threads at once, hence a place of each.
    """

    def __init__(self, where, size):
        self.where, self.size, self.own = where, size, threading.local()
        self.fs, self.path = uri.filesystem(where)
        self.options = {} if self.fs.async_impl else {"block_size": 1}  # others would read far ahead

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return getattr(self.own, "place", 0)

    def seek(self, offset, whence=io.SEEK_SET):
        self.own.place = (0, self.tell(), self.size)[whence] + offset
        return self.own.place

    def read(self, count=-1):
        start = self.tell()
        end = self.size if count is None or count < 0 else min(start + count, self.size)
        self.own.place = max(start, end)
        if end <= start:
            return b""
        part = {"start": start, "end": end, **self.options}
        return uri.retrying(lambda: self.fs.cat_file(self.path, **part), f"reading {self.where}")
