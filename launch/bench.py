"""Runs benchmarks of research.benchmarks, prints their figures as JSON, and makes BENCHMARKS.md of those that are kept.

python -m launch.bench loop
python -m launch.bench trees --against=xgboost,lightgbm
python -m launch.bench all --quick --results=benchmarks/results --summary=BENCHMARKS.md    # within 20 minutes
python -m launch.bench --results=benchmarks/results --summary=BENCHMARKS.md    # the page alone, of what is kept

Kept is benchmarks/results/HARDWARE/NAME.json, with what was measured on. Peers that are not installed are absent there.
"""

import importlib
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import jax
from absl import flags

from launch import cli
from research import benchmarks, workdir
from research.atomic import replacing
from research.benchmarks import page
from research.errors import UserError, nearest

RESULTS = flags.DEFINE_string("results", None, "folder in which to keep HARDWARE/NAME.json, with facts of the machine")
SUMMARY = flags.DEFINE_string("summary", None, "file to write of all that --results keeps, as Markdown")
QUICK = flags.DEFINE_bool("quick", False, "fewer turns and rows: all benchmarks within 20 minutes on two cores")
AGAINST = flags.DEFINE_string("against", None, f"peers, with commas between, of {', '.join(benchmarks.PEERS)}")


def main(names):
    """Runs the benchmarks of those names, several in a process each, and writes the page if one is asked for.

    Raises UserError for a name or a peer that there is not, a page without results, and at the end where one failed.
    """
    for name in names:
        if name not in benchmarks.NAMES:
            raise UserError(f"there is no benchmark '{name}'; {nearest(name, benchmarks.NAMES)}")
    if not names and not SUMMARY.value:
        raise UserError(f"no benchmark is named; name one of {', '.join(benchmarks.NAMES)}, or all.")
    if SUMMARY.value and not RESULTS.value:
        raise UserError("--summary is made of what --results keeps; give both.")
    if AGAINST.value is not None:
        os.environ[benchmarks.AGAINST] = AGAINST.value
    benchmarks.picked(benchmarks.AGAINST, benchmarks.PEERS)  # now, and not after the first benchmark
    failed = several(names) if len(names) > 1 else []
    if len(names) == 1:
        one(names[0])
    if SUMMARY.value:
        write(pathlib.Path(SUMMARY.value), page.text(kept(RESULTS.value)))
        print(SUMMARY.value, file=sys.stderr)
    if failed:
        raise UserError(f"failed: {', '.join(failed)}; the others are done, and what these said is above.")


def one(name):
    """Runs one benchmark in this process, prints its figures and keeps them if asked to."""
    module = importlib.import_module(f"research.benchmarks.{name}")
    if QUICK.value:
        benchmarks.hasten(module)
    found = module.main()
    if RESULTS.value:
        record = {"benchmark": name, "quick": QUICK.value} | facts() | {"result": found}
        folder = pathlib.Path(RESULTS.value, hardware())
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{name}.json", json.dumps(record, indent=1) + "\n")
    print(json.dumps(found), flush=True)


def several(names):
    """Runs each benchmark in a process of its own, as some set how many devices there are; the names that failed."""
    options = [f"--{flag.name}={flag.value}" for flag in (RESULTS, QUICK, AGAINST) if flag.value is not None]
    failed, begin = [], time.monotonic()
    for count, name in enumerate(names, 1):
        done = subprocess.run([sys.executable, "-m", "launch.bench", name, *options])
        failed += [name] if done.returncode else []
        how = f"failed with status {done.returncode}" if done.returncode else "done"
        minutes = (time.monotonic() - begin) / 60
        print(f"{name}: {how}; {count} of {len(names)} after {minutes:.1f} min", file=sys.stderr, flush=True)
    return failed


def kept(folder):
    """{hardware: {benchmark: record}} of a folder of results. Raises UserError for a file that is no record."""
    records = {}
    for path in sorted(pathlib.Path(folder).glob("*/*.json")):
        try:
            record = json.loads(path.read_text())
            records.setdefault(path.parent.name, {})[record["benchmark"]] = record
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is no record of a benchmark ({error}); delete it, or run it again.") from None
    return records


def write(path, text):
    """Replaces the file at once, so that none is half written."""
    with replacing(path) as file:
        file.write(text.encode())


def hardware():
    """A name for what runs here, for a folder: 2_cpu_cores, nvidia_h200."""
    kind = jax.devices()[0].device_kind
    return f"{os.cpu_count()}_cpu_cores" if kind == "cpu" else re.sub(r"\W+", "_", kind.lower())


def facts():
    """What was measured on: versions as in a run's folder, and the host's processor, cores and memory in GiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines() if pathlib.Path("/proc/cpuinfo").exists() else []
    models = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    processor = ", ".join(sorted(models)) or platform.processor()
    return workdir.versions() | {"processor": processor, "cores": os.cpu_count(), "memory_gib": round(memory, 1)}


if __name__ == "__main__":
    named = []
    while len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        named.append(sys.argv.pop(1))
    cli.run(lambda: main(list(benchmarks.NAMES) if named == ["all"] else named))
