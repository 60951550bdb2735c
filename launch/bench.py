"""Runs one benchmark of research.benchmarks and prints its figures as one JSON object.

python -m launch.bench loop
python -m launch.bench loop --results=benchmarks/results    # also keeps them there, with what they were measured on
"""

import importlib
import json
import os
import pathlib
import pkgutil
import platform
import sys

from absl import flags

from launch import cli
from research import benchmarks, workdir
from research.atomic import replacing
from research.errors import UserError, nearest

RESULTS = flags.DEFINE_string("results", None, "folder in which to keep NAME.json, with facts of the machine")


def main(name):
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.ispkg]
    if name not in names:
        raise UserError(f"there is no benchmark '{name}'; {nearest(name, names)}")
    found = importlib.import_module(f"research.benchmarks.{name}").main()
    if RESULTS.value:
        folder = pathlib.Path(RESULTS.value)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / f"{name}.json") as file:
            file.write(json.dumps({"benchmark": name} | facts() | {"result": found}, indent=1).encode() + b"\n")
    print(json.dumps(found))


def facts():
    """What was measured on: versions as in a run's folder, and the host's processor, cores and memory in GiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines() if pathlib.Path("/proc/cpuinfo").exists() else []
    models = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    processor = ", ".join(sorted(models)) or platform.processor()
    return workdir.versions() | {"processor": processor, "cores": os.cpu_count(), "memory_gib": round(memory, 1)}


if __name__ == "__main__":
    name = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    cli.run(lambda: main(name))
