"""The processes of one trial on this machine: what they are told, where they write, how they ended."""

import dataclasses
import glob
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from absl import flags

from launch import cli
from launch.backends import command
from research import distributed

GRACE, LINES = 10.0, 12  # seconds that the others have to end where one did; last lines that are shown of a failure


@dataclasses.dataclass
class Job:
    """A task under way, all of whose processes are one run."""

    task: object
    slot: int  # which of the trials at once
    port: int | None  # where its processes meet
    processes: list
    shown: list  # bytes of each stderr.log that are of earlier tries
    began: float = dataclasses.field(default_factory=time.monotonic)
    failed: tuple = (None, [])  # when the first was seen to have failed, and the exit codes then
    told: bool = False  # that it is to stop


def start(task, code, slot, port, parallel, nproc):
    """The Job of a task whose `nproc` processes run the code in the folder `code`."""
    task.workdir.mkdir(parents=True, exist_ok=True)
    logs = [log(task.workdir, i) for i in range(nproc)]
    shown, processes = [path.stat().st_size if path.exists() else 0 for path in logs], []
    for i, path in enumerate(logs):
        more = variables(code, slot, port, i, parallel, nproc) | {cli.LAUNCHER: str(os.getpid())}
        with log(task.workdir, i, "stdout").open("ab") as out, path.open("ab") as err:
            # In a session of its own Ctrl-C of a terminal does not reach it: the launcher passes it on, once.
            how = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, "start_new_session": True}
            processes.append(subprocess.Popen(arguments(task, code, nproc), env=os.environ | more, **how))
    return Job(task, slot, port, processes, shown)


def arguments(task, code, nproc):
    """The command line of each process."""
    several = [f"--heartbeat={flags.FLAGS.heartbeat}"] if nproc > 1 else []
    return [sys.executable, *command(task, code), *several]


def variables(code, slot, port, index, parallel, nproc):
    """What the environment of process `index` has besides that of the launcher."""
    path = os.environ.get("PYTHONPATH")
    found = {"PYTHONPATH": f"{code}{os.pathsep}{path}" if path else str(code)}
    found |= gpus(slot * nproc + index, parallel * nproc)
    return found | (distributed.variables(f"127.0.0.1:{port}", nproc, index) if port else {})


def gpus(i, count):
    """The environment that gives process `i` of `count` its share of this machine's GPUs; {} where there are none."""
    here = os.environ.get("CUDA_VISIBLE_DEVICES")
    if here is None:
        here = ",".join(str(i) for i in range(len(glob.glob("/dev/nvidia[0-9]*"))))
    names = here.split(",") if here else []
    if not names or count == 1:
        return {}
    if len(names) >= count:
        each = len(names) // count
        return {"CUDA_VISIBLE_DEVICES": ",".join(names[i * each : (i + 1) * each])}
    share = 0.9 / -(-count // len(names))  # of the memory, of which JAX would take three quarters for each
    return {"CUDA_VISIBLE_DEVICES": names[i % len(names)], "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{share:.3f}"}


def free_port(taken=()):
    """A port of this machine that nobody listens on, and none of `taken`."""
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            if free.getsockname()[1] not in taken:
                return free.getsockname()[1]


def send(job, number):
    """Sends a signal to those that still run. Several that are one run agree on a step where they get SIGTERM."""
    number = signal.SIGTERM if number == signal.SIGINT and len(job.processes) > 1 else number
    for process in job.processes:
        if process.poll() is None:
            process.send_signal(number)


def has_ended(job):
    """Whether all processes have; where one failed the others wait for it in vain, and are killed after a grace."""
    codes, now = [process.poll() for process in job.processes], time.monotonic()
    if any(codes) and not job.failed[1]:
        job.failed = now, codes
    if any(codes) and now - job.failed[0] > GRACE:
        send(job, signal.SIGKILL)
    return None not in codes


def ending(job):
    """(which process failed first, how in words)."""
    index, code = next((i, code) for i, code in enumerate(job.failed[1]) if code)
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    return index, f"process {index} {how}" if len(job.processes) > 1 else how


def log(workdir, index=0, stream="stderr"):
    """Where process `index` of a run writes."""
    return pathlib.Path(workdir) / (f"{stream}_{index}.log" if index else f"{stream}.log")


def last_lines(job, index=0):
    """What process `index` said last, of this try."""
    with log(job.task.workdir, index).open("rb") as file:
        file.seek(job.shown[index])
        return file.read().decode(errors="replace").strip().splitlines()[-LINES:]
