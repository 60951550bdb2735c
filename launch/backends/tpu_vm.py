"""Trials on a Cloud TPU VM, in turn, each on all of its hosts, by gcloud.

python -m launch.backends.tpu_vm --tpu_action=create --tpu_name=NAME --tpu_zone=ZONE --tpu_type=v5litepod-8
python -m launch.sweep --backend=tpu_vm --tpu_name=NAME --tpu_zone=ZONE ...

The second copies the code to all hosts, makes their environments, and starts a script there that outlives the
connection. --tpu_action=tail shows what it prints, and delete ends the cost.
"""

import pathlib
import shlex

from absl import flags

from launch import cli
from launch.backends import tools
from launch.backends.tools import Step
from research.errors import UserError, nearest

ACTION = flags.DEFINE_enum("tpu_action", "run", ["create", "run", "tail", "delete"], "what to do with the TPU VM")
NAME = flags.DEFINE_string("tpu_name", None, "of the TPU VM")
ZONE = flags.DEFINE_string("tpu_zone", None, "such as us-west4-a")
PROJECT = flags.DEFINE_string("tpu_project", None, "of Google Cloud; that of gcloud by default")
TYPE = flags.DEFINE_string("tpu_type", None, "accelerator type, such as v5litepod-8 or v4-32")
RUNTIME = flags.DEFINE_string("tpu_runtime", None, "software version; the one for JAX by default")
QUEUED = flags.DEFINE_bool("tpu_queued", False, "create it by a queued resource, which waits for its turn")
SPOT = flags.DEFINE_bool("tpu_spot", False, "create a spot VM: cheaper, and taken away at any time")
RESERVED = flags.DEFINE_bool("tpu_reserved", False, "create it from the project's reservation")
VOLUME = flags.DEFINE_string("tpu_volume", None, "gs://BUCKET[/FOLDER] where runs are kept; the VM's disk by default")

RUNTIMES = {  # as Google's page of TPU software versions has them for JAX
    **dict.fromkeys(("v2", "v3", "v4"), "tpu-ubuntu2204-base"),
    "v5litepod": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
}
LOG = "run.log"  # of each host, in its home, where all paths start

SCRIPT = """\
# The trials in turn, on each host of a TPU VM. One that fails, but for a mistake, is tried {tries} times.
export PYTHONPATH="$PWD/{code}"
each() {{
  for try in $(seq {tries}); do
    venv/bin/python "$@"
    status=$?
    [ $status = {preempted} ] && exit $status  # the machine is being taken away; the run is saved
    [ $status = 0 ] || [ $status = {mistake} ] && return
  done
}}
{lines}
echo "all trials have ended"
"""


def run(tasks, root, dry_run):
    """Does --tpu_action; yields (name, one line) of each task whose turn comes on the TPU VM."""
    tools.check((NAME, ZONE), (), "")
    if ACTION.value != "run":
        return manage(dry_run)
    archive, more = tools.carried(tasks, root)
    steps, more["run.sh"] = start(archive), script(tasks, root, archive).encode()
    if dry_run:
        print("\n".join([tools.describe(archive, more), *map(tools.show, steps)]))
        return
    tools.pack(root, archive, more)
    for step in steps:
        tools.call(step)
    for task in tasks:
        yield task.name, f"{task.name or root}: its turn comes on {NAME.value}; --tpu_action=tail shows when"


def manage(dry_run):
    """The actions that need no task."""
    for step in {"create": create, "tail": tail, "delete": delete}[ACTION.value]():
        if dry_run:
            print(tools.show(step))
        else:
            tools.call(step)


def create():
    """The step that makes the TPU VM, or asks for it."""
    tools.check((TYPE,), (), "")
    kind = TYPE.value.split("-")[0]
    if RUNTIME.value is None and kind not in RUNTIMES:
        raise UserError(f"--tpu_type={TYPE.value}: {nearest(kind, RUNTIMES)} Or name its software by --tpu_runtime.")
    if SPOT.value and RESERVED.value:
        raise UserError("--tpu_spot and --tpu_reserved are two ways to pay; take one.")
    runtime = RUNTIME.value or RUNTIMES[kind]
    how = ["--spot"] * SPOT.value + ["--reserved"] * RESERVED.value
    if QUEUED.value:
        what = [f"--node-id={NAME.value}", f"--accelerator-type={TYPE.value}", f"--runtime-version={runtime}"]
        return [_gcloud("queued-resources", "create", NAME.value, *what, *how)]
    what = [f"--accelerator-type={TYPE.value}", f"--version={runtime}"]
    return [_gcloud("tpu-vm", "create", NAME.value, *what, *how)]


def several():
    """Whether a --tpu_type has more hosts than one: the smallest have up to 8 chips, or cores where those count."""
    tools.check((TYPE,), (), "")
    size = TYPE.value.rpartition("-")[2]
    if not size.isdigit():
        raise UserError(f"--tpu_type={TYPE.value} must end with a size, such as v5litepod-8 or v4-32.")
    return int(size) > 8


def start(archive):
    """Steps that bring the code to all hosts, make their environments, and start the script."""
    code, volume = _code(archive), f" --bucket={VOLUME.value} --mount=runs" if VOLUME.value else ""
    if several() and not VOLUME.value:
        raise UserError(
            f"the hosts of a {TYPE.value} write one checkpoint together: give --tpu_volume=gs://BUCKET, which all see."
        )
    unpack = f"mkdir -p {code} && tar -xzf {archive.name} -C {code}"
    setup = f"bash {code}/launch/backends/setup_host.sh --accelerator=tpu --venv=venv{volume}"
    begin = f"nohup bash {code}/run.sh > {LOG} 2>&1 < /dev/null &"
    return [
        _gcloud("tpu-vm", "scp", str(archive), f"{NAME.value}:{archive.name}", "--worker=all"),
        _gcloud("tpu-vm", "ssh", NAME.value, "--worker=all", f"--command={unpack} && {setup}"),
        _gcloud("tpu-vm", "ssh", NAME.value, "--worker=all", f"--command={begin}"),
    ]


def tail():
    """The step that shows what the first host prints, until Ctrl-C."""
    return [_gcloud("tpu-vm", "ssh", NAME.value, "--worker=0", f"--command=tail -n 100 -F {LOG}")]


def delete():
    """The step after which nothing costs any more."""
    if QUEUED.value:
        return [_gcloud("queued-resources", "delete", NAME.value, "--force", "--quiet")]
    return [_gcloud("tpu-vm", "delete", NAME.value, "--quiet")]


def script(tasks, root, archive):
    """The text of run.sh, which is started in the home folder of each host."""
    runs, code = pathlib.Path("runs") / root.absolute().name, _code(archive)
    more = [f"--heartbeat={flags.FLAGS.heartbeat}"] if several() else []
    there = [task._replace(workdir=runs / task.workdir.relative_to(root)) for task in tasks]
    lines = "\n".join(f"each {shlex.join([*tools.arguments(task, code), *more])}" for task in there)
    codes = {"mistake": cli.EXIT_MISTAKE, "preempted": cli.EXIT_PREEMPTED}
    return SCRIPT.format(code=code, tries=flags.FLAGS.retries + 1, lines=lines, **codes)


def _code(archive):
    return f"code/{archive.name.removesuffix('.tar.gz')}"


def _gcloud(group, *words):
    where = [f"--zone={ZONE.value}", *([f"--project={PROJECT.value}"] if PROJECT.value else [])]
    return Step(["gcloud", "compute", "tpus", group, *words, *where])


def main():
    if ACTION.value == "run":
        raise UserError(
            "give --tpu_action=create, tail or delete; trials are started by launch.sweep --backend=tpu_vm."
        )
    tools.check((NAME, ZONE), (), "")
    manage(DRY_RUN.value)


if __name__ == "__main__":
    DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the command, and stop")
    cli.run(main)
