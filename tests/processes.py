"""Real processes for tests, forked from one that has imported the heavy libraries: half a second instead of five."""

import multiprocessing
import os
import pathlib
import resource
import runpy
import sys
import tempfile
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        *("jax", "flax", "optax", "orbax.checkpoint", "grain", "sklearn.datasets", "diffrax", "tensorboardX"),
        *("tests.conftest", "research.results", "research.experiment", "research.loop", "research.warm_start"),
    ]
)


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def start(command, *arguments, folder, limit=None):
    """A command line under way, its output in files in `folder`. limit: the largest file in bytes it may write."""
    argv = [f"launch.{command}", *map(str, arguments)]
    process = FORKS.Process(target=_command, args=(argv, str(folder), limit))
    process.start()
    return process


def call(command, *arguments, limit=None):
    """A finished command line."""
    with tempfile.TemporaryDirectory() as folder:
        process = start(command, *arguments, folder=folder, limit=limit)
        process.join(240)
        return Done(process.exitcode, *(pathlib.Path(folder, name).read_text() for name in ("stdout", "stderr")))


def _command(argv, folder, limit):
    os.chdir(ROOT)
    for name, stream in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    if limit:  # the compile cache must not be left with truncated entries
        sys.modules["jax"].config.update("jax_enable_compilation_cache", False)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv[:] = argv
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
