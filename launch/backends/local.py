"""Trials as processes of this machine: --parallel of them at once, each of --nproc JAX processes that are one run.

What a trial prints is in stdout.log and stderr.log of its workdir, that of its other processes in stderr_1.log and so
on. A trial that dies starts again, all of its processes together, up to --retries times; one that was preempted goes
on, however often.
"""

import collections
import contextlib
import os
import shlex
import signal
import stat
import sys
import time

from absl import flags

from launch import cli
from launch.backends import package, processes
from research.errors import UserError

PARALLEL = flags.DEFINE_integer("parallel", 1, "trials at once, with --backend=local", 1)
NPROC = flags.DEFINE_integer("nproc", 1, "JAX processes of each trial, with --backend=local", 1)


def run(tasks, root, dry_run):
    """Yields (task name, {} or UserError) of each task as it ends; what it found is in its workdir.

    SIGTERM and Ctrl-C are passed on to all trials; when they have saved, the process exits with 75 or 130.
    """
    if dry_run:
        code = package.location(root).absolute()
        print("\n".join(line for task in tasks for line in lines(task, code)))
        return
    code, tries = package.snapshot(root).absolute(), collections.Counter()
    waiting, running = collections.deque(tasks), []
    with signals() as received:
        try:
            while running or (waiting and not received):
                while waiting and len(running) < PARALLEL.value and not received:
                    running.append(_start(waiting.popleft(), code, running))
                    _say(running[-1].task, f"started{f'; {len(waiting)} more wait' if waiting else ''}")
                for job in running:
                    _pass_on(received, job)
                for job in [job for job in running if processes.has_ended(job)]:
                    running.remove(job)
                    result = _judge(job, tries, bool(received))
                    if result is not None:
                        yield job.task.name, result
                    else:
                        waiting.appendleft(job.task)
                time.sleep(0.02)
        finally:
            for job in running:
                processes.send(job, signal.SIGKILL)
    if received:
        _exit(received[0], f"{len(waiting)} of {len(tasks)}")


def lines(task, code):
    """Shell lines, one a process, that do what `run` does for a task."""
    port, nproc = processes.free_port() if NPROC.value > 1 else None, NPROC.value
    for i in range(nproc):
        more = processes.variables(code, 0, port, i, 1, nproc)
        words = [f"{name}={shlex.quote(value)}" for name, value in more.items()]
        words.append(shlex.join(processes.arguments(task, code, nproc)))
        yield f"cd {shlex.quote(os.getcwd())} && {' '.join(words)}{' &' if i < nproc - 1 else ''}"


@contextlib.contextmanager
def signals():
    """Yields the list of signals that have come; one that is ignored, as nohup does, stays so."""
    received, before = [], {}

    def receive(number, _):
        received.append(number)
        if number == signal.SIGHUP:
            _leave_terminal()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_terminal():
    """To write to one that was closed would raise, and end the trials before they have saved."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if stat.S_ISCHR(os.fstat(stream.fileno()).st_mode):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)


def _start(task, code, running):
    slot = min(set(range(PARALLEL.value)) - {job.slot for job in running})
    port = processes.free_port({job.port for job in running}) if NPROC.value > 1 else None
    return processes.start(task, code, slot, port, PARALLEL.value, NPROC.value)


def _pass_on(received, job):
    """Sends a signal that came to a trial, which saves and ends; a second one kills it."""
    if len(received) > 1:
        processes.send(job, signal.SIGKILL)
    elif received and not job.told:
        processes.send(job, signal.SIGINT if received[0] == signal.SIGINT else signal.SIGTERM)
        job.told = True


def _judge(job, tries, stopping):
    """{} or the UserError that a job ended with, or None where its task is to run again."""
    codes, seconds = [process.returncode for process in job.processes], time.monotonic() - job.began
    if not any(codes):
        _say(job.task, f"done in {seconds:.0f} s")
        return {}
    if cli.EXIT_MISTAKE in codes:
        return UserError(_mistake(job, codes.index(cli.EXIT_MISTAKE)))
    saved = {cli.EXIT_PREEMPTED, 130} & set(codes)
    if stopping or cli.EXIT_PREEMPTED in codes:
        _say(job.task, f"{'saved and ' * bool(saved)}stopped after {seconds:.0f} s")
        return None
    if saved:
        return UserError("was stopped by Ctrl-C, and saved; the same command goes on from there.")
    return _lost(job, tries, seconds)


def _lost(job, tries, seconds):
    """The same of a job that died, whose last lines are shown."""
    index, how = processes.ending(job)
    log = processes.log(job.task.workdir, index)
    _say(job.task, f"{how} after {seconds:.0f} s; the end of {log}:")
    print("\n".join(f"    {line}" for line in processes.last_lines(job, index)), file=sys.stderr, flush=True)
    tries[job.task.name] += 1
    if tries[job.task.name] > flags.FLAGS.retries:
        return UserError(f"{how}, at try {tries[job.task.name]} of {flags.FLAGS.retries + 1}; see {log}.")
    _say(job.task, f"starts again: try {tries[job.task.name] + 1} of {flags.FLAGS.retries + 1}")
    return None


def _mistake(job, index):
    """The sentence of a process that ended with one."""
    said = [line for line in processes.last_lines(job, index) if line.startswith("error: ")]
    return said[-1].removeprefix("error: ") if said else f"a mistake; see {processes.log(job.task.workdir, index)}."


def _exit(number, left):
    what = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    print(f"stopped by {what} with {left} trials left; the same command goes on from there.", file=sys.stderr)
    sys.exit(130 if number == signal.SIGINT else cli.EXIT_PREEMPTED)


def _say(task, what):
    print(f"{f'trial {task.name}' if task.name else task.workdir}: {what}", file=sys.stderr, flush=True)
