"""Files that arrive in a folder, added to a folder of shards by Structured Streaming."""

import threading

from pyspark.sql import types as T

from research.errors import UserError
from research.prepare import reading, run, session
from research.prepare.folder import Folder
from research.prepare.request import Request, make, record, shown

CHECKPOINT = "_stream"  # below the output: which files have been read


def follow(spark, given, every=None, stopped=None):
    """Adds what files of given["input"] hold to train of given["output"], by what its manifest says; the rows added.

    given: options as of request.make; those beside input and output are the manifest's, and may not differ from it.
    every: None reads what is there and ends; else seconds between looks, until `stopped`, a threading.Event, is set.
    A batch and its number get into the manifest at once, so that one which is read again after a crash adds nothing.
    Raises UserError for a folder that was not prepared or cannot be gone on with, and for bad rows, by file.
    """
    asked, stopped = make(**given), stopped or threading.Event()
    with session.explained():
        output = Folder(spark, asked.output)
        manifest, where = output.manifest(), shown(asked.output)
        if not manifest or not manifest.get("raw"):
            raise UserError(f"{where} is no prepared table to add to; prepare one first, without --stream.")
        request = _frozen(given, asked, manifest["request"])
        (folder,) = asked.input if len(asked.input) == 1 else (None,)
        if not folder or folder.rstrip("/") in [uri.rstrip("/") for uri in request.input]:
            raise UserError(
                "--stream takes one --input, a folder that was not prepared before: its rows would be there twice."
            )
        _same_stream(output, manifest, where)
        frame = reading.stream(spark, request, folder, T.StructType.fromJson(manifest["raw"]))
        before, failed, busy = sum(f["rows"] for f in manifest["splits"]["train"]), [], threading.Lock()

        def add(batch, number):
            with busy:
                try:
                    now = output.manifest()
                    if number > now.get("stream", {}).get("batch", -1) and not batch.isEmpty():
                        run.append(spark, batch, now, request, {"stream": {"id": _id(output), "batch": number}})
                except Exception as error:
                    failed.append(error)
                    raise

        writer = frame.writeStream.foreachBatch(add).option("checkpointLocation", f"{output.uri}/{CHECKPOINT}")
        trigger = {"availableNow": True} if every is None else {"processingTime": f"{every} seconds"}
        query = writer.trigger(**trigger).start()
        try:
            while not query.awaitTermination(1) and not stopped.is_set():
                pass
        except Exception as error:
            raise (failed or [error])[0] from error
        finally:
            with busy:  # a batch is written to its end
                session.apart(query.stop)
        return sum(f["rows"] for f in output.manifest()["splits"]["train"]) - before


def _frozen(given, asked, there):
    """The manifest's Request. Raises UserError for an option that was given and differs from it."""
    for name in set(given) - {"input", "output"}:
        if record(asked)[name] != there[name]:
            raise UserError(
                f"--{name}={given[name]} is not what the folder was made with ({there[name]}); leave it out."
            )
    frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in there.items()}
    return Request(**frozen)._replace(output=asked.output)


def _id(output):
    """The id of the query that the checkpoint is of, None where there is none."""
    found = output.read_json(CHECKPOINT, "metadata")
    return found and found["id"]


def _same_stream(output, manifest, where):
    if (known := manifest.get("stream", {}).get("id")) and known != _id(output):
        raise UserError(
            f"{where}/{CHECKPOINT} is gone or another one, so that nobody knows which files are in the shards; put it "
            "back, or prepare the folder anew."
        )
