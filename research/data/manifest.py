"""manifest.json of a folder of shards: what its Parquet files hold. A folder without one is not whole.

A plain dict. version 1; kind "table" or "images"; columns: [{"name", "kind": "number" | "category", "borders": finite
ones or None, "has_missing", "vocabulary": [...] or None, "missing": how many}], the features in order; target and
classes (words, whose places are the targets); bins: the most borders of a column where codes are stored, 0 where values
are; missing and side: of binning.Borders; image: {"shape": [H, W, C], "classes": [...] or None}; splits: {"train" |
"valid" | "test": [{"file", "rows", "bytes", "sha256", "groups": rows of each row group}]}; generation, raised by each
append; seed, key, input, git, spark, plan: how it was made.
"""

import json

from research import uri
from research.errors import UserError
from research.trees import binning

VERSION, NAME = 1, "manifest.json"
SPLITS = ("train", "valid", "test")
FIELDS = ("kind", "columns", "target", "classes", "bins", "missing", "side", "image", "splits", "generation")


def read(folder):
    """The manifest of a folder, checked. Raises UserError where there is none, or it is not one of this version."""
    where = uri.join(folder, NAME)
    try:
        found = json.loads(uri.read(where))
    except FileNotFoundError:
        raise UserError(
            f"{folder} has no {NAME}, so it holds no shards, or their making did not end; make them by launch.prepare "
            "--output, or mend data.dir."
        ) from None
    except ValueError as error:
        raise UserError(f"{where} is damaged ({error}); make the shards again by launch.prepare.") from None
    return check(found, where)


def check(manifest, where="the manifest"):
    """The manifest itself. Raises UserError for another version, missing fields or sizes that contradict each other."""
    version = manifest.get("version") if isinstance(manifest, dict) else None
    if version != VERSION:
        raise UserError(
            f"{where} has version {version}, this code reads {VERSION}; make the shards again by its launch.prepare."
        )
    lacking = [name for name in FIELDS if name not in manifest]
    if lacking or manifest["kind"] not in ("table", "images") or set(manifest["splits"]) - set(SPLITS):
        what = f"lacks '{lacking[0]}'" if lacking else "is of another kind or has other splits"
        raise UserError(f"{where} {what}; make the shards again by launch.prepare.")
    for shard in [shard for split in manifest["splits"].values() for shard in split]:
        if sum(shard["groups"]) != shard["rows"]:
            raise UserError(
                f"{where} gives {shard['file']} {shard['rows']} rows, its row groups {sum(shard['groups'])}; make the "
                "shards again by launch.prepare."
            )
    return manifest


def write(folder, manifest):
    """Writes the manifest of a folder, whole; it is the last of a folder's files."""
    where = uri.join(folder, NAME)
    text = json.dumps(check(manifest, where), indent=1, sort_keys=True, allow_nan=False) + "\n"
    uri.write(where, text.encode())


def rows(manifest, split):
    """How many rows a split has."""
    return sum(shard["rows"] for shard in manifest["splits"].get(split, ()))


def names(manifest):
    """The names of the features, in order."""
    return tuple(column["name"] for column in manifest["columns"])


def borders(manifest):
    """The binning.Borders of a table, with the infinite one of missing values; None where values are stored."""
    if not manifest["bins"]:
        return None
    inf = float("inf")

    def whole(column):
        low, high = (column["has_missing"] and manifest["missing"] == end for end in ("min", "max"))
        return [*[-inf] * low, *column["borders"], *[inf] * high]

    values = [whole(column) for column in manifest["columns"]]
    return binning.given(values, manifest["side"], manifest["missing"], names(manifest))
