"""From inputs to a folder of shards and its manifest. Entry points: `prepare` and `append`."""

import contextlib

import pyspark
from pyspark.sql import functions as F

from research import workdir
from research.data import manifest as manifests
from research.errors import UserError
from research.prepare import coding, columns, images, reading, schema, session, writing
from research.prepare.folder import Folder
from research.prepare.request import record, shown

OURS = {*columns.SPLITS, "_stream", "word_count.csv"}  # what may lie in an output that has no manifest yet


def prepare(spark, request):
    """The manifest of the folder that a request asks for, made unless it is there already; and whether it was made.

    Rows go to a folder beside the output, their files are renamed into it, the manifest comes last. What ends this
    before leaves neither. Raises UserError for inputs and options that give no such folder, or another one is there.
    """
    with session.explained():
        output = Folder(spark, request.output)
        if found := output.manifest():
            _same(found, request)
            return found, False
        if others := sorted(set(output.names()) - OURS):
            where = shown(output.uri)
            raise UserError(f"{where} holds '{others[0]}' and no {manifests.NAME}; name a new folder by --output.")
        with _beside(spark, output) as aside:
            make = images.make if request.format == "images" else _table
            rows, names, manifest, counts = make(spark, request)
            counts_of_shards = [
                writing.shards(n, manifest.pop("rows_per_shard", request.rows_per_shard)) for n in counts
            ]
            writing.write(rows, aside, counts_of_shards, request.row_group_rows, names)
            splits = {}
            for split in columns.SPLITS:
                output.delete(split)  # of a try that ended before its manifest
                splits[split] = writing.place(aside, output, split)
            found = writing.describe(spark, output, [name for names in splits.values() for name in names])
            if sum(file["rows"] for file in found) != sum(counts):
                raise UserError(
                    "--input changed while it was read; let nobody write there and run the same command again."
                )
            manifest |= {
                "splits": {split: [f for f in found if f["file"] in splits[split]] for split in splits},
                **{"version": manifests.VERSION, "generation": 1, "seed": request.seed, "key": request.key},
                **{"input": list(request.input), "request": record(request), "git": workdir.git_hash()},
                **{"spark": pyspark.__version__, "plan": writing.plan(rows)},
            }
            output.write_manifest(manifest)
    spark.catalog.clearCache()
    return manifest, True


def _table(spark, request):
    frame = reading.table(spark, request)
    types = schema.types(frame, request)
    # Kept, on disk where memory is short, since each pass over text would parse it anew.
    divided = columns.divided(schema.typed(frame, types, request.missing_word), request).persist()
    entries, classes, counts = columns.learn(divided, types, request)
    manifest = {"kind": "table", "columns": entries, "target": request.target, "classes": classes, "image": None}
    manifest |= {"bins": request.bins, **columns.MISSING, "raw": frame.schema.jsonValue()}
    return coding.coded(divided, entries, classes, request.bins), stored(types), manifest, counts


def stored(types):
    """{a typed frame's column: its name in files}."""
    names = {f"f{i}": name for i, (name, _) in enumerate(types.features)}
    return names | ({"target": types.target[0]} if types.target else {})


def append(spark, frame, manifest, request, more):
    """Adds the rows of a raw frame to train, by the manifest's columns, and writes the manifest with `more` in it.

    Files are named by how many there are: a try that ended before its manifest is written over by the next.
    """
    output, kinds = Folder(spark, request.output), {c["name"]: c["kind"] for c in manifest["columns"]}
    target = (request.target, "category" if manifest["classes"] else "number") if request.target else None
    types = schema.Types(tuple(kinds.items()), target, request.key)
    frame = schema.whole(frame)
    said = kinds | dict([target] if target else [])
    schema.check(frame, list(said), said, request.missing_word)
    rows = columns.divided(schema.typed(frame, types, request.missing_word), request).withColumn("split", F.lit(0))
    right = F.col("target").isin(manifest["classes"]) if manifest["classes"] else F.col("target").isNotNull()
    if target and (wrong := rows.where(~F.coalesce(right, F.lit(False))).select("target").first()):
        raise UserError(
            f"column '{request.target}' of new rows has '{wrong[0]}', which is no target of this folder; mend it."
        )
    with _beside(spark, output) as aside:
        coded = coding.coded(rows, manifest["columns"], manifest["classes"], manifest["bins"])
        counts = [writing.shards(rows.count(), request.rows_per_shard), 0, 0]
        writing.write(coded, aside, counts, request.row_group_rows, stored(types))
        new = writing.place(aside, output, "train", len(manifest["splits"]["train"]))
        train = manifest["splits"]["train"] + writing.describe(spark, output, new)
    grown = {"splits": manifest["splits"] | {"train": train}, "generation": manifest["generation"] + 1}
    output.write_manifest(manifest | grown | more)


def _same(manifest, request):
    asked, there = record(request), manifest.get("request", {})
    differs = [name for name in asked if name != "output" and asked[name] != there.get(name)]
    if differs:
        name, where = differs[0], shown(request.output)
        raise UserError(
            f"{where} was made with --{name}={there.get(name)}, not {asked[name]}; name another --output, or delete it."
        )


@contextlib.contextmanager
def _beside(spark, output):
    """A Folder beside the output for a while; an interrupt ends Spark first, whose tasks would go on writing there."""
    top, _, name = output.uri.rpartition("/")
    aside = Folder(spark, f"{top}/.{name}.prepare")
    aside.delete()

    def undo(stop):
        if stop:
            spark.stop()
        if not output.fs.exists(output.path(manifests.NAME)):
            for split in columns.SPLITS:
                output.delete(split)
            if not output.names():
                output.delete()
        aside.delete()

    try:
        yield aside
    except BaseException as error:
        interrupted = not isinstance(error, Exception)
        session.apart(lambda: undo(stop=interrupted))
        raise
    aside.delete()
