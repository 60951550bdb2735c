"""Runs one benchmark of research.benchmarks and prints its figures as one JSON object.

python -m launch.bench loop
"""

import importlib
import json
import pkgutil
import sys

from launch import cli
from research import benchmarks
from research.errors import UserError, nearest


def main(name):
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.ispkg]
    if name not in names:
        raise UserError(f"there is no benchmark '{name}'; {nearest(name, names)}")
    print(json.dumps(importlib.import_module(f"research.benchmarks.{name}").main()))


if __name__ == "__main__":
    name = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    cli.run(lambda: main(name))
