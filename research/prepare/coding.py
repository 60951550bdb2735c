"""Rows as they are stored: values or codes, by what is known of their columns."""

import numpy as np
from pyspark.sql import functions as F
from pyspark.sql import types as T


def coder(columns, classes, bins, keep):
    """(function for mapInPandas, StructType): typed rows to what is stored, f0, f1, ... and "target", and `keep`.

    Values are float32, NaN where missing, with words by their places; or, with bins, codes: how many borders lie below
    a value, behind one of -inf where some are missing, which have code 0. Spark has no unsigned numbers: codes
    are the bits of uint8 in signed bytes where bins is at most 255, else of uint16 in signed 16 bits. The function
    holds numbers and numpy alone, so that workers need nothing of this package.
    """
    plans = []
    for i, entry in enumerate(columns):
        words = None if entry["vocabulary"] is None else {word: j for j, word in enumerate(entry["vocabulary"])}
        borders = np.array([-np.inf] * entry["has_missing"] + (entry["borders"] or []), np.float32) if bins else None
        plans.append((f"f{i}", words, borders))
    places = None if classes is None else {word: i for i, word in enumerate(classes)}
    unsigned, signed = (np.uint8, np.int8) if bins <= 255 else (np.uint16, np.int16)
    kept = [field.name for field in keep]
    stored = (T.ByteType() if bins <= 255 else T.ShortType()) if bins else T.FloatType()
    fields = [T.StructField(name, stored) for name, *_ in plans] + [T.StructField("target", T.FloatType())]
    fields = [*(fields if "target" in kept else fields[:-1]), *(field for field in keep if field.name != "target")]

    def code(frames):
        for frame in frames:
            out = {}
            for name, words, borders in plans:
                x = frame[name] if words is None else frame[name].map(words)
                x = x.to_numpy(np.float32, na_value=np.nan)
                if borders is not None:
                    below = np.searchsorted(borders, x, "left")
                    below[np.isnan(x)] = 0
                    x = below.astype(unsigned).view(signed)
                out[name] = x
            for name in kept:
                out[name] = frame[name]
            if places is not None:
                out["target"] = frame["target"].map(places).to_numpy(np.float32)
            yield type(frame)(out)

    return code, T.StructType(fields)


def coded(frame, columns, classes, bins):
    """A frame of `divided` as it is stored, no cell null, with "split" and "hash"."""
    keep = [field for field in frame.schema if field.name in ("target", "split", "hash")]
    code, schema = coder(columns, classes, bins, keep)
    rows = frame.drop("key").mapInPandas(code, schema)
    nothing = F.lit(0).cast("byte" if bins <= 255 else "short") if bins else F.lit(float("nan")).cast("float")
    stored = {f"f{i}": F.coalesce(F.col(f"f{i}"), nothing) for i in range(len(columns))}
    if "target" in frame.columns:
        stored["target"] = F.coalesce("target", F.lit(float("nan")).cast("float"))
    return rows.withColumns(stored)
