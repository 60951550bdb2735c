"""Where trials run. Each backend only builds what an existing launcher takes, and hands it over.

A backend is a module with flags of its own and `run(tasks, root, dry_run)`, which yields (task name, result): its
evaluation, {} if it has `until`; the UserError that ended it; or one line about what was submitted. With dry_run it
prints what would run and yields nothing.
"""

import pathlib
from typing import Any, NamedTuple

from absl import flags

RETRIES = flags.DEFINE_integer("retries", 1, "how often a trial that failed, but for a mistake, is run again", 0)


class Task(NamedTuple):
    """A run to launch: its name, "" if it is no trial of a sweep; its workdir, which holds frozen.json; the module;
    its config; the step at which it ends for now, without an evaluation.
    """

    name: str
    workdir: pathlib.Path
    module: str = "launch.run"
    config: Any = None
    until: int | None = None


def command(task, code):
    """Arguments for the Python interpreter that runs a task by the code in the folder `code`.

    -P: the current folder, which may hold newer code, is not looked into.
    """
    config = f"--config={code}/launch/frozen.py:{task.workdir}/frozen.json"
    until = [] if task.until is None else [f"--until={task.until}"]
    return ["-P", "-m", task.module, config, f"--workdir={task.workdir}", *until]
