"""Trials as jobs of a SLURM cluster, an array where there are several, submitted by submitit.

A job runs the command line of launch.run, once in each of --slurm_nodes x --slurm_tasks_per_node tasks, which JAX joins
to one run. It is given back to the queue where it was preempted, or comes to the end of its time, and has saved; and up
to --retries times where it died.
"""

import shlex
import shutil
import subprocess
import sys

from absl import flags

from launch.backends import command, package, slurm_task
from research.errors import UserError

JOB = "slurm_job.txt"  # in a workdir: the id of its job
PARTITION = flags.DEFINE_string("slurm_partition", None, "partition; the cluster's own by default")
ACCOUNT = flags.DEFINE_string("slurm_account", None, "account that is billed")
TIME = flags.DEFINE_string("slurm_time", "1-00:00:00", "limit of a job, D-HH:MM:SS; it goes on in another")
NODES = flags.DEFINE_integer("slurm_nodes", 1, "of each trial", 1)
TASKS = flags.DEFINE_integer("slurm_tasks_per_node", None, "JAX processes; one for each GPU of several nodes", 1)
GPUS = flags.DEFINE_integer("slurm_gpus_per_node", None, "GPUs of each node", 1)
CPUS = flags.DEFINE_integer("slurm_cpus_per_task", None, "CPUs of each task", 1)
MEM = flags.DEFINE_string("slurm_mem", None, "memory of each node, such as 64G")
AT_ONCE = flags.DEFINE_integer("slurm_at_once", 256, "trials of a sweep that may run at once", 1)
GRACE = flags.DEFINE_integer("slurm_grace", 90, "seconds before the limit at which a job is told to save", 1)
OPTIONS = flags.DEFINE_multi_string(
    "slurm_option", [], "any other of sbatch, such as qos=high or exclusive; may repeat"
)
SETUP = flags.DEFINE_multi_string(
    "slurm_setup", [], "a shell line before the run, such as 'module load cuda'; may repeat"
)


def run(tasks, root, dry_run):
    """Yields (task name, a line that says as which job it was submitted, or is queued already).

    Raises UserError without submitit or sbatch, for sizes that do not fit, and where sbatch refuses.
    """
    root, tasks = root.absolute(), [task._replace(workdir=task.workdir.absolute()) for task in tasks]
    submitit, code = _submitit(), package.location(root)
    asked = parameters(root, code)
    if dry_run:
        print(script(submitit, root, asked, tasks, code))
        return
    if shutil.which("sbatch") is None:
        raise UserError("sbatch is not on PATH; run this on a login node of the cluster, or look at it with --dry_run.")
    queued, left = _queued(), []
    for task in tasks:
        job = task.workdir / JOB
        if job.exists() and job.read_text() in queued:
            yield task.name, f"{task.name or task.workdir}: is in the queue, as job {job.read_text()}"
        else:
            left.append(task)
    if left:
        code = package.snapshot(root)
        for task, job in zip(left, _submit(submitit, root, parameters(root, code), left, code)):
            (task.workdir / JOB).write_text(job)
            yield task.name, f"{task.name or task.workdir}: submitted as job {job}; it writes {task.workdir}/stderr.log"


def _submit(submitit, root, asked, tasks, code):
    """The ids of the jobs of tasks, those of an array where there are several."""
    executor = submitit.SlurmExecutor(root / "slurm")
    executor.update_parameters(**asked)
    try:
        with executor.batch():
            jobs = [executor.submit(slurm_task.run, arguments(task, code), str(task.workdir)) for task in tasks]
    except submitit.core.utils.FailedJobError as error:
        reason = [line for line in str(error).splitlines() if "error" in line] or [str(error).strip()]
        raise UserError(f"sbatch refused the job: {reason[-1].removeprefix('sbatch: ')}") from error
    return [job.job_id for job in jobs]


def arguments(task, code):
    """Those of the interpreter in each task of a job."""
    several = [f"--heartbeat={flags.FLAGS.heartbeat}"] if NODES.value * _tasks() > 1 else []
    return [*command(task, code), *several]


def parameters(root, code):
    """What submitit is told: sizes, and shell lines before and after the run. Raises UserError."""
    if GPUS.value and NODES.value * _tasks() > 1 and _tasks() != GPUS.value:
        raise UserError(
            f"--slurm_tasks_per_node is {_tasks()} with {GPUS.value} GPUs a node; JAX gives each task one GPU where "
            "there are several tasks: make them equal."
        )
    sizes = {"partition": PARTITION, "account": ACCOUNT, "nodes": NODES, "gpus_per_node": GPUS, "cpus_per_task": CPUS}
    sizes = {name: flag.value for name, flag in (sizes | {"mem": MEM, "array_parallelism": AT_ONCE}).items()}
    more = {"time": TIME.value, "signal": f"TERM@{GRACE.value}", "requeue": True}
    more |= {name: value or True for name, _, value in (option.partition("=") for option in OPTIONS.value)}
    before = [*SETUP.value, f"export PYTHONPATH={shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}} PYTHONSAFEPATH=1"]
    sizes |= {"ntasks_per_node": _tasks(), "job_name": root.name, "wckey": None, "additional_parameters": more}
    return sizes | {"setup": before, "teardown": _teardown(root)}


def _teardown(root):
    """Shell lines that give a job back to the queue: always where it has saved, else as often as may be retried."""
    failed = f"{shlex.quote(f'{root}/slurm/failed_')}$SLURM_JOB_ID"
    return [
        "status=$?  # 0: done; 2: a mistake; 130: stopped by a person; 75: saved; else it died",
        "case $status in",
        "  0|2|130) ;;",
        "  75) scontrol requeue $SLURM_JOB_ID ;;",
        f"  *) echo $status >> {failed}",
        f"     [ $(wc -l < {failed}) -gt {flags.FLAGS.retries} ] || scontrol requeue $SLURM_JOB_ID ;;",
        "esac",
        "exit $status",
    ]


def script(submitit, root, asked, tasks, code):
    """The sbatch script that would be submitted, and what each of its tasks runs."""
    several = {"map_count": len(tasks)} if len(tasks) > 1 else {}
    line = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(root / 'slurm'))}"
    text = submitit.slurm.slurm._make_sbatch_string(command=line, folder=root / "slurm", **asked, **several)
    for i, task in enumerate(tasks):
        what = f"array task {i} runs" if several else "which runs"
        text += f"\n# {what} {shlex.join([sys.executable, *arguments(task, code)])}"
    return text


def _tasks():
    """Tasks of a node."""
    return TASKS.value or (GPUS.value if GPUS.value and NODES.value > 1 else 1)


def _queued():
    """Ids of the jobs that the queue knows."""
    return subprocess.run(
        ["squeue", "-h", "-r", "-o", "%i"], capture_output=True, text=True, check=False
    ).stdout.split()


def _submitit():
    try:
        import submitit
    except ImportError:
        raise UserError("--backend=slurm needs submitit: pip install 'generative-tabular-research[slurm]'.") from None
    return submitit
