"""What tests of the backends for pods share: flags as a command line gives them, trials, and tools that write down."""

import contextlib
import json
import pathlib
import stat
import sys

from absl import flags
from absl.testing import flagsaver

import launch.sweep  # noqa: F401  its flags are read by backends
from configs import base
from launch.backends import Task, package

CODE = "0123456789ab"  # where a test wants output that stays the same
FILES = ("launch/backends/setup_host.sh", "launch/frozen.py", "pyproject.toml", "requirements.txt")
RECORD = """#!{python}
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    said = "" if sys.stdin.isatty() else sys.stdin.read()
    file.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:], {{"stdin": said}}]) + "\\n")
sys.exit(int(os.environ.get("STATUS", 0)))
"""


@contextlib.contextmanager
def given(*words):
    """Within the block flags have the values of these words of a command line, others their defaults."""
    with flagsaver.flagsaver():
        for name in flags.FLAGS:
            flags.FLAGS[name].unparse()
        flags.FLAGS(["test", *words])
        yield


def trials(root, *names):
    """Tasks of a sweep in `root`; no name: the run itself."""
    configs = [base.config(seed=i, train=base.train()) for i in range(max(len(names), 1))]
    if not names:
        return [Task("", root, config=configs[0])]
    return [Task(name, root / name, config=config) for name, config in zip(names, configs)]


def dry(backend, tasks, root, capsys):
    """What a backend prints with --dry_run; it yields nothing and writes nothing."""
    before = set(pathlib.Path(root).rglob("*"))
    assert list(backend.run(tasks, root, True)) == []
    assert set(pathlib.Path(root).rglob("*")) == before
    return capsys.readouterr().out


def fixed(monkeypatch):
    """The code becomes FILES, and its name CODE, so that dry runs are the same on any commit."""
    files = {name: package.HERE / name for name in FILES}
    monkeypatch.setattr(package, "found", lambda root: (CODE, CODE, files))


def tools(folder, monkeypatch, *names, status=0):
    """Puts commands of these names, and no others, on PATH; returns a function that lists how they were called."""
    bin, calls = folder / "bin", folder / "calls.jsonl"
    bin.mkdir()
    for name in names:
        (bin / name).write_text(RECORD.format(python=sys.executable))
        (bin / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(bin))
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("STATUS", str(status))
    return lambda: [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
