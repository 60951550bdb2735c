"""Makes raw tables, images and text on any storage into a folder of shards with a manifest, by Spark.

python -m launch.prepare --input=URI --output=URI [--target=NAME --categorical=a,b ...]
python -m launch.prepare --input=URI [--target=NAME] --describe=FILE.html|FILE.png|-
python -m launch.prepare --input=URI --word_count=COLUMN [--output=URI]
python -m launch.prepare --stream --input=URI --output=URI [--every=SECONDS]
"""

import contextlib
import signal
import sys
import threading

from absl import flags

from launch import cli
from research.data import manifest as manifests
from research.errors import UserError

FORMAT = "csv, parquet, json (a line a row), libsvm, images, text or sql; by the name of the first input by default"
OPTIONS = {  # fields of research.prepare.request.Request
    "input": flags.DEFINE_multi_string(
        "input", [], "a file, a folder or a glob: path, hdfs:// s3:// gs://; repeatable"
    ),
    "output": flags.DEFINE_string("output", None, "the folder to make"),
    "format": flags.DEFINE_string("format", None, FORMAT),
    "sql": flags.DEFINE_string("sql", None, "a select over the views input, input1, ... and tables of the catalog"),
    "target": flags.DEFINE_string("target", None, "the column to predict"),
    "names": flags.DEFINE_list("names", [], "the columns of a CSV that has no header"),
    "categorical": flags.DEFINE_list("categorical", [], "columns of words, even where the words look like numbers"),
    "schema": flags.DEFINE_list("schema", [], "name:number or name:category, checked"),
    "missing_word": flags.DEFINE_string("missing_word", "", "what stands for a missing value, besides nothing"),
    "bins": flags.DEFINE_integer("bins", 254, "borders a column at most; 0 stores values and not codes"),
    "rows_per_shard": flags.DEFINE_integer("rows_per_shard", 65536, "rows of a file, about"),
    "row_group_rows": flags.DEFINE_integer("row_group_rows", 8192, "rows that are read at once"),
    "splits": flags.DEFINE_list("splits", ["0.8", "0.1", "0.1"], "shares of train, valid and test"),
    "key": flags.DEFINE_string("key", None, "rows of the same key are in the same split; it is no feature"),
    "seed": flags.DEFINE_integer("seed", 0, "of the order and the splits"),
}
MASTER = flags.DEFINE_string("master", "local[*]", "Spark's master: local[N], spark://HOST:PORT, yarn, k8s://...")
CONF = flags.DEFINE_multi_string("conf", [], "a setting of Spark, name=value; repeatable")
DESCRIBE = flags.DEFINE_string("describe", None, "write what the columns are like to .html or .png, or print it: -")
WORD_COUNT = flags.DEFINE_string("word_count", None, "print how often each word of this column of text comes")
STREAM = flags.DEFINE_bool("stream", False, "add files that arrive in --input to train of --output")
EVERY = flags.DEFINE_float("every", None, "with --stream: look every so many seconds until Ctrl-C; else once")
SHOWN = 20  # words printed


def main():
    from research.prepare import request, session  # pyspark is an extra

    given = {name: _value(name, flag.value) for name, flag in OPTIONS.items() if flags.FLAGS[name].present}
    asked = request.make(**given)
    if not asked.output and not (DESCRIBE.value or WORD_COUNT.value):
        raise UserError("--output is missing: name the folder to make; see --help.")
    if (EVERY.value is not None) and (not STREAM.value or EVERY.value <= 0):
        raise UserError(f"--every={EVERY.value:g} goes with --stream and is a number of seconds above 0.")
    wrong = next((setting for setting in CONF.value if not all(setting.partition("="))), None)
    if wrong:
        raise UserError(f"--conf={wrong} should be name=value, such as spark.driver.memory=4g.")
    with _session(session, [setting.split("=", 1) for setting in CONF.value]) as spark:
        if WORD_COUNT.value:
            count(spark, asked)
        elif STREAM.value:
            stream(spark, given)
        else:
            table(spark, asked)


def count(spark, asked):
    from research.prepare import describe

    found = describe.words(spark, asked, WORD_COUNT.value)
    for word, number in found[:SHOWN]:
        print(f"{number:8d} {word}")
    print(f"{sum(number for _, number in found)} words, {len(found)} of them different", file=sys.stderr)


def stream(spark, given):
    from research.prepare import streaming

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    rows = streaming.follow(spark, given, EVERY.value, stopped)
    print(f"{rows} rows were added to {given['output']}")


def table(spark, asked):
    from research.prepare import describe, run

    if DESCRIBE.value:
        describe.check(DESCRIBE.value)
        describe.write(describe.table(spark, asked), DESCRIBE.value)
    if asked.output:
        manifest, made = run.prepare(spark, asked)
        rows = ", ".join(f"{manifests.rows(manifest, split)} rows of {split}" for split in manifests.SPLITS)
        where = OPTIONS["output"].value
        print(f"{where}: {rows}" if made else f"nothing to do: {where} was made with the same options; {rows}")


@contextlib.contextmanager
def _session(session, conf):
    """A session; SIGTERM and Ctrl-C end the work, and what was half made is gone."""
    spark = session.start(MASTER.value, conf)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Spark's own would wait for an answer that never comes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(cli.EXIT_PREEMPTED))
    try:
        yield spark
    except (KeyboardInterrupt, SystemExit):
        print("stopped; nothing was made; the same command starts anew.", file=sys.stderr)
        raise
    finally:
        session.apart(spark.stop)


def _value(name, value):
    from research.prepare import request

    if name == "splits":
        try:
            return tuple(map(float, value))
        except ValueError:
            raise UserError(f"--splits is {','.join(value)}; give three numbers, such as 0.8,0.1,0.1.") from None
    if name == "schema":
        return request.pairs(value)
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    cli.run(main)
