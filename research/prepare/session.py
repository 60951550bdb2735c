"""A Spark session, its files by Hadoop's FileSystem, and what its errors mean."""

import contextlib
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time

from research.errors import UserError

JAVA = "Spark needs Java 17 or newer: install one (Debian: apt install openjdk-17-jre-headless), or set JAVA_HOME"
SETTINGS = {  # files of this machine without Hadoop's .crc files beside; names of columns as they are written
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "OFF",
    "spark.sql.caseSensitive": "true",
    "spark.sql.csv.parser.columnPruning.enabled": "false",  # else rows of other lengths are noticed by chance
    "spark.sql.session.timeZone": "UTC",
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.hadoop.fs.AbstractFileSystem.file.impl": "org.apache.hadoop.fs.local.RawLocalFs",
    "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
}
HERE = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}  # where the master is local
MEANINGS = (  # of what Spark says, the first that is found: (pattern, sentence; {0} is what the pattern's group holds)
    (r"No FileSystem for scheme \"?(\w+)|ClassNotFoundException: Class \S*?(\w+FileSystem)",
     "Spark here has no files of '{0}'; add their package by --conf=spark.jars.packages=GROUP:NAME:VERSION."),
    (r"Cannot run program \"([^\"]+)\"",
     "Spark's workers cannot run {0}; set PYSPARK_PYTHON to a Python that they have."),
    (r"(No space left on device|DiskOutOfSpace|quota of \S+ is exceeded|Disk quota exceeded)",
     "the disk is full ({0}); make room, also in spark.local.dir, and run the same command again."),
    (r"(could only be (?:replicated|written) to 0 nodes|Failed to replace a bad datanode)",
     "HDFS has too few DataNodes to write to ({0}); start them, or see docs/data.md, and run the same command again."),
    (r"(?:AccessControlException|AccessDenied|Mkdirs failed)\w*:? ([^\n]*)|([^\n:]*\(Permission denied\))",
     "a file may not be read or written ({0}); change its rights, or run as its owner."),
    (r"(?:Call From \S+ to (\S+) failed on connection|UnknownHostException: (\S+))",
     "{0} did not answer; check that the name node runs there and that this machine reaches it."),
    (r"(?:ConnectException|NoRouteToHost\w*|SocketTimeout\w*)[^\n]*?: ([^\n]*)",
     "the server did not answer ({0}); check that it runs and that this machine reaches it."),
    (r"(?:ParentNotDirectory|FileAlreadyExists)\w*: ([^\n]*)",
     "a file is in the place of a folder ({0}); name another --output."),
    (r"PATH_NOT_FOUND\] Path does not exist: (\S+?)\.? ", "{0} is not there; check --input."),
    (r"FileNotFoundException:? ([^\n]*)", "a file is gone ({0}); check --input, and let nobody change it meanwhile."),
    (r"UNABLE_TO_INFER_SCHEMA", "--input has no rows; check the path and --format."),
    (r"CSV header does not conform to the schema[^\n]*\s+Header: ([^\n]*)[\s\S]*?CSV file: (\S+)",
     "{1} has another header ({0}) than the first file, or a name empty or twice; give all files the same names."),
    (r"(is not a Parquet file|CANNOT_READ_FILE_FOOTER)[\s\S]*?(\S+)",
     "--input holds a file that is no Parquet or is damaged ({0}); check the path and --format."),
    (r"CANNOT_MERGE_SCHEMAS?\]?([^\n]*)", "files of --input have columns of the same name and other types ({0})."),
    (r"No module named '(\w+)'", "Python on Spark's workers has no {0}; pip install numpy pandas pyarrow there."),
)  # fmt: skip


def start(master, conf=()):
    """A SparkSession of a master such as local[*], with further settings. Raises UserError where it cannot start."""
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise UserError("Spark is not installed: pip install '.[spark]'.") from None
    java = os.path.join(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else "java"
    if not shutil.which(java):
        raise UserError(f"there is no Java here; {JAVA}.")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    logging.getLogger("py4j").setLevel(logging.CRITICAL)  # it prints the traceback of what a stream raises
    local = master.startswith("local")
    builder = SparkSession.builder.master(master).appName("prepare")
    for name, value in (SETTINGS | (HERE if local else {}) | dict(conf)).items():
        builder = builder.config(name, value)
    if local:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    with tempfile.TemporaryFile() as log:
        try:
            with _stderr(log):
                spark = builder.getOrCreate()
            # A stop breaks the connection of its accumulators, of which their thread would print a traceback.
            spark.sparkContext._accumulatorServer.handle_error = lambda *_: None
            return spark
        except Exception as error:
            log.seek(0)
            lines = [
                line for line in log.read().decode(errors="replace").splitlines() if "rror" in line or "xcept" in line
            ]
            if "JAVA_GATEWAY_EXITED" not in str(error) or any("UnsupportedClassVersion" in line for line in lines):
                raise UserError(
                    f"Spark did not start at {master} ({_first(error)}); check --master. {JAVA}."
                ) from error
            raise UserError(f"Spark did not start ({(lines or [_first(error)])[0]}); check --conf. {JAVA}.") from error


@contextlib.contextmanager
def _stderr(file):
    """Standard error goes to a file for a while: that of the JVM, which is started meanwhile, for good."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def explained():
    """Errors of Spark that a user can mend become UserErrors; others pass."""
    began = time.monotonic()
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith(("pyspark", "py4j")):
            raise
        text = str(error)
        for pattern, sentence in MEANINGS:
            if found := re.search(pattern, text):
                groups = [group.strip() for group in found.groups() if group]
                sentence = sentence.replace("not answer", f"not answer in {time.monotonic() - began:.0f} s of tries")
                raise UserError(sentence.format(*groups, "")) from error
        if type(error).__name__ in ("AnalysisException", "ParseException"):
            raise UserError(f"Spark does not understand this: {_first(error)}") from error
        raise


def _first(error):
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def apart(call):
    """Runs call() on a thread of its own: after an interrupt this one's connection still awaits the JVM's answer."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
