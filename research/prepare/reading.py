"""Inputs as Spark DataFrames. Text formats come as words, one string a cell, so that a bad one can be named later."""

from pyspark.sql import functions as F
from pyspark.sql import types as T

from research.data.image_folder import SUFFIXES
from research.errors import UserError
from research.prepare import schema
from research.prepare.request import shown

WIDEST = 16384  # columns of a libsvm file, whose rows become dense
BAD = schema.BAD


def table(spark, request):
    """The DataFrame of a request's rows; with --sql, inputs are the views input, input1, ... of its sentence.

    libsvm: "label" and "column 0", "column 1", ...; what is not written is missing, the first index is 0. text: "text".
    Raises UserError for what is not there, has no rows, or has rows of another form, by file and row.
    """
    for uri in request.input:
        _there(spark, uri)
    if not request.sql:
        return schema.whole(_read(spark.read, request, list(request.input)))
    for i, uri in enumerate(request.input):
        schema.whole(_read(spark.read, request, [uri])).createOrReplaceTempView(f"input{i or ''}")
    return spark.sql(request.sql)


def stream(spark, request, folder, raw):
    """The streaming DataFrame of files that arrive in a folder, of the StructType `raw`, and "file" beside."""
    if request.sql or request.format not in ("csv", "json", "parquet"):
        raise UserError("--stream takes files of csv, json or parquet, and no --sql; prepare those anew instead.")
    _there(spark, folder)
    if request.format != "parquet":
        raw = T.StructType([*raw.fields, T.StructField(BAD, T.StringType())])
    reader = spark.readStream.option("ignoreMissingFiles", True).schema(raw)
    return _read(reader, request, folder).select("*", F.col("_metadata.file_path").alias("file"))


def _there(spark, uri):
    path = spark._jvm.org.apache.hadoop.fs.Path(uri)
    fs = path.getFileSystem(spark._jsc.hadoopConfiguration())
    if not fs.globStatus(path):
        raise UserError(f"--input={shown(uri)} is not there; check the path.")


def _read(reader, request, paths):
    """The DataFrame of files, with a column BAD, the text of rows of another form, where the format can have any."""
    kind = request.format
    if kind in ("text", "libsvm"):
        lines = reader.text(paths)
        return lines.withColumnRenamed("value", "text") if kind == "text" else _libsvm(lines)
    if kind == "csv":
        return _csv(reader, request, paths)
    if kind == "json":
        reader = reader.option("primitivesAsString", True).option("columnNameOfCorruptRecord", BAD)
        return reader.json(paths)
    if kind != "parquet" and not (request.sql and kind == "sql"):
        raise UserError(f"--format={kind} is no table; see --help.")
    return reader.option("mergeSchema", True).parquet(*([paths] if isinstance(paths, str) else paths))


def _csv(reader, request, paths):
    names = list(request.names)
    reader = reader.option("escape", '"').option("header", not names).option("enforceSchema", False)
    reader = reader.option("ignoreLeadingWhiteSpace", True).option("ignoreTrailingWhiteSpace", True)
    if isinstance(paths, str):  # a stream, which has its schema
        return reader.option("columnNameOfCorruptRecord", BAD).csv(paths)
    names = names or reader.csv(paths).columns
    if not names:
        raise UserError(f"--input={shown(paths[0])} has no rows; check the path.")
    if doubled := {name for name in names if names.count(name) > 1}:
        raise UserError(f"--names has '{min(doubled)}' twice; give each column a name of its own.")
    raw = T.StructType([T.StructField(name, T.StringType()) for name in [*names, BAD]])
    return reader.schema(raw).option("columnNameOfCorruptRecord", BAD).csv(paths)


def _libsvm(lines):
    """Rows of "label index:value ..." as words; a row with an index twice, or with none before a colon, is BAD."""
    words = F.filter(F.split(F.trim(F.regexp_replace("value", "#.*", "")), r"\s+"), lambda w: ~w.startswith("qid:"))
    cells = F.slice(words, 2, 1 << 30)
    indices = F.transform(cells, lambda cell: F.regexp_extract(cell, r"^(\d{1,8}):\S+$", 1).try_cast("int"))
    rows = lines.where(F.trim(F.regexp_replace("value", "#.*", "")) != "").select("value", words.alias("words"))
    parsed = rows.select(
        "value", F.get("words", F.lit(0)).alias("label"), cells.alias("cells"), indices.alias("indices")
    )
    right = ~F.exists("indices", lambda i: i.isNull()) & (F.size(F.array_distinct("indices")) == F.size("indices"))
    last = parsed.agg(F.max(F.array_max("indices"))).first()[0]
    if last is None or last >= WIDEST:
        has = (
            "has no index:value"
            if last is None
            else f"has the index {last}, beyond the {WIDEST} columns of a dense row"
        )
        raise UserError(f"--input {has}; check the path and --format.")
    values = F.map_from_arrays("indices", F.transform("cells", lambda cell: F.substring_index(cell, ":", -1)))
    parsed = parsed.withColumn("values", F.when(right, values)).withColumn(BAD, F.when(~right, F.col("value")))
    cells = [F.try_element_at("values", F.lit(i)).alias(f"column {i}") for i in range(last + 1)]
    return parsed.select("label", *cells, BAD)


def images(spark, request):
    """A DataFrame of "image", the bytes of PNG or JPEG files, "class", their folder's name or null, and "file".

    Images lie in --input or in a folder a class below it, as in data.image_folder. Raises UserError where they do not.
    """
    for uri in request.input:
        _there(spark, uri)
    files = spark.read.format("binaryFile").option("recursiveFileLookup", True).load(list(request.input))
    lower = F.lower("path")
    files = files.where(F.expr(" or ".join(f"lower(path) like '%{suffix}'" for suffix in SUFFIXES)))
    other = files.where(~lower.rlike(r"\.(png|jpe?g)$")).select("path").first()
    if other:
        raise UserError(f"{shown(other[0])} is neither PNG nor JPEG; convert it first.")
    tops = [F.lit(shown(uri).rstrip("/") + "/") for uri in request.input]
    plain = F.regexp_replace("path", "^file:/+", "/")
    rest = F.coalesce(*[F.when(plain.startswith(top), F.substr(plain, F.length(top) + 1)) for top in tops], plain)
    parts = F.split(rest, "/")
    deep = files.where(F.size(parts) > 2).select("path").first()
    if deep:
        raise UserError(
            f"{shown(deep[0])} lies deeper than a folder a class; name the folder above the classes, no glob."
        )
    name = F.when(F.size(parts) == 2, parts[0])
    return files.select(F.col("content").alias("image"), name.alias("class"), F.col("path").alias("file"))
