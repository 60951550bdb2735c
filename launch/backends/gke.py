"""Trials on Google Kubernetes Engine, each a JobSet: by xpk, or with --manifest as one of our own, by kubectl.

A JobSet has a job for each TPU slice, or one for all GPU nodes, and a pod for each host. SIGTERM reaches Python: all
processes save the same step and end with 75, and the JobSet starts all pods again.
"""

import json
import math
import pathlib
import shlex
from typing import NamedTuple

from absl import flags

from launch import cli
from launch.backends import command, jobset, package, tools
from launch.backends.tools import Step
from research import distributed
from research.errors import UserError, nearest

MANIFEST = flags.DEFINE_bool("manifest", False, "gke: kubectl and a JobSet of our own, for clusters xpk did not make")
ACCELERATOR = flags.DEFINE_string(
    "gke_accelerator", None, "chip and topology of a slice, v5e:4x4, or GPUs of a node, nvidia-h100-80gb:8"
)
SLICES = flags.DEFINE_integer("gke_slices", 1, "TPU slices, or GPU nodes, of a trial", 1)
IMAGE = flags.DEFINE_string("gke_image", None, "container with Python and the packages; the code is put into it")
VOLUME = flags.DEFINE_string(
    "gke_volume", None, "where runs are kept: with --manifest gs://BUCKET[/FOLDER] or a claim, else a storage of xpk"
)
MOUNT = flags.DEFINE_string("gke_mount", "/runs", "where pods see the volume")
NAMESPACE = flags.DEFINE_string("gke_namespace", None, "of Kubernetes; that of the context by default")
PRIORITY = flags.DEFINE_string("gke_priority", None, "a priority class; xpk knows very-low to very-high")
RESERVATION = flags.DEFINE_string("gke_reservation", None, "only nodes of this reservation")
SPOT = flags.DEFINE_bool("gke_spot", False, "only spot nodes")
GRACE = flags.DEFINE_integer("gke_grace", 120, "seconds from SIGTERM to SIGKILL", 1)
CLUSTER = flags.DEFINE_string("gke_cluster", None, "xpk: name of the cluster")
PROJECT = flags.DEFINE_string("gke_project", None, "xpk: project of Google Cloud")
ZONE = flags.DEFINE_string("gke_zone", None, "xpk: zone of the cluster")
QUEUE = flags.DEFINE_string("gke_queue", None, "--manifest: a LocalQueue of Kueue")
ACCOUNT = flags.DEFINE_string("gke_service_account", None, "--manifest: a Kubernetes account that may use the bucket")
EVICT = flags.DEFINE_bool("gke_safe_to_evict", False, "--manifest: the autoscaler may move pods to other nodes")

SMALL = ["1x1x1", "2x2x1", "2x2x2", "2x2x4", "2x4x4"]  # larger ones are made of cubes of 4x4x4
FLAT = ["1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"]
TPUS = {  # chip: (label of GKE, name of xpk, topologies)
    "v4": ("tpu-v4-podslice", "v4", SMALL[1:]),
    "v5e": ("tpu-v5-lite-podslice", "v5litepod", FLAT),
    "v5p": ("tpu-v5p-slice", "v5p", SMALL[1:]),
    "v6e": ("tpu-v6e-slice", "v6e", FLAT),
    "tpu7x": ("tpu7x", "tpu7x", SMALL),
}
RESTARTS = 100  # xpk has one number for preemptions, lost hosts and failures


class Shape(NamedTuple):
    """What a trial asks for: labels of nodes, devices of a host, hosts of a job, jobs, and how xpk says all that."""

    labels: dict
    resource: str
    devices: int
    hosts: int
    jobs: int
    xpk: list


class Place(NamedTuple):
    """Where pods find the sweep's folder and the code, and what the code comes in, None where it is there already.

    That is the archive, on the volume; for xpk a folder on this machine, which it makes an image of.
    """

    root: pathlib.Path
    code: str
    packed: str | None


def run(tasks, root, dry_run):
    """Submits a JobSet for each task; yields (name, one line that says how to follow it, or the UserError)."""
    xpk, kubectl = (CLUSTER, PROJECT, ZONE), (QUEUE, ACCOUNT, EVICT)
    needed, wrong = ((), xpk) if MANIFEST.value else (xpk, kubectl)
    how = "with --manifest" if MANIFEST.value else "without --manifest"
    tools.check((ACCELERATOR, IMAGE, VOLUME, *needed), wrong, how)
    asked, (archive, more) = shape(ACCELERATOR.value, SLICES.value), tools.carried(tasks, root)
    there, submit = place(root, archive), by_kubectl if MANIFEST.value else by_xpk
    before = delivery(archive, there) if there.packed else []
    paths = [there.root / task.workdir.relative_to(root) for task in tasks]
    argvs = [python(task, path, there, asked) for task, path in zip(tasks, paths)]
    steps = [submit(tools.label(path), argv, asked, there) for path, argv in zip(paths, argvs)]
    if dry_run:
        contents = [tools.describe(archive, more)] if there.packed else []
        print("\n".join([*contents, *map(tools.show, [*before, *steps])]))
        return
    if there.packed:
        tools.pack(root, archive, more)
    else:
        package.snapshot(root)
    for step in before:
        tools.call(step)
    for task, path, step in zip(tasks, paths, steps):
        try:
            tools.call(step)
            yield task.name, f"{task.name or root}: submitted; `{shlex.join(logs(tools.label(path)))}` follows it"
        except UserError as error:
            yield task.name, error


def shape(text, slices):
    """The Shape of --gke_accelerator and --gke_slices. Raises UserError for a chip or topology that does not exist."""
    chip, _, size = text.partition(":")
    if chip in TPUS:
        label, name, known = TPUS[chip]
        if size not in known and (known is FLAT or not _is_of_cubes(size)):
            more = "" if known is FLAT else " Larger ones have three sides that 4 divides, in rising order."
            raise UserError(f"--gke_accelerator={text}: {chip} has no topology '{size}'; {nearest(size, known)}{more}")
        chips = math.prod(map(int, size.split("x")))
        labels = {"cloud.google.com/gke-tpu-accelerator": label, "cloud.google.com/gke-tpu-topology": size}
        xpk = [f"--tpu-type={name}-{size}", f"--num-slices={slices}"]
        return Shape(labels, jobset.TPU, min(chips, 4), max(chips // 4, 1), slices, xpk)
    if not chip.startswith("nvidia-"):
        raise UserError(
            f"--gke_accelerator={text}: there is no chip '{chip}'; give one of {', '.join(TPUS)}, or GPUs by the label "
            "that GKE gives their nodes, such as nvidia-l4:1 or nvidia-h100-80gb:8."
        )
    if not size.isdigit() or int(size) < 1:
        raise UserError(f"--gke_accelerator={text} must say how many GPUs a node has, such as {chip}:8.")
    name = {"nvidia-tesla-a100": "a100-40gb"}.get(chip, chip.removeprefix("nvidia-"))
    xpk = [f"--device-type={name}-{size}", f"--num-nodes={slices}"]
    return Shape({"cloud.google.com/gke-accelerator": chip}, jobset.GPU, int(size), slices, 1, xpk)


def _is_of_cubes(size):
    sides = [int(side) if side.isdigit() else 0 for side in size.split("x")]
    return len(sides) == 3 and all(side and side % 4 == 0 for side in sides) and sides == sorted(sides)


def place(root, archive):
    """The Place of a sweep: --workdir itself where the volume is mounted on this machine too, else its name there.

    Raises UserError for a volume that nothing can be copied to from here.
    """
    mount, here = pathlib.Path(MOUNT.value), root.absolute()
    if here.is_relative_to(mount):
        return Place(here, str(package.location(here)), None)
    if MANIFEST.value and not VOLUME.value.startswith("gs://"):
        raise UserError(
            f"--workdir={root} is not on the claim {VOLUME.value}: mount it at {mount} on this machine too and give a "
            "--workdir in there, or keep runs in a bucket by --gke_volume=gs://BUCKET."
        )
    if MANIFEST.value:
        return Place(mount / here.name, "/code", f"{mount}/{here.name}/code/{archive.name}")
    return Place(mount / here.name, "/app", str(archive).removesuffix(".tar.gz"))


def delivery(archive, there):
    """Steps that bring the archive to the bucket, or for xpk unpack it."""
    if not MANIFEST.value:
        return [Step(["python3", "-m", "tarfile", "-e", str(archive), there.packed])]
    inside = pathlib.Path(there.packed).relative_to(MOUNT.value)
    return [Step(["gcloud", "storage", "cp", str(archive), f"{VOLUME.value.rstrip('/')}/{inside}"])]


def python(task, path, there, asked):
    """The command of a pod, whose run is kept in `path` there."""
    task = task._replace(workdir=path)
    found = tools.arguments(task, there.code) if there.packed else command(task, there.code)
    several = [f"--heartbeat={flags.FLAGS.heartbeat}"] if asked.hosts * asked.jobs > 1 else []
    return ["python", *found, *several]


def by_xpk(name, argv, asked, there):
    """The Step that submits by xpk, which wraps a command in a shell that passes SIGTERM on to what it started."""
    variables = {"PYTHONPATH": there.code}
    if asked.resource == jobset.GPU:  # xpk has names of its own for these
        variables |= distributed.variables("$JAX_COORDINATOR_ADDRESS:$JAX_COORDINATOR_PORT", "$NNODES", "$NODE_RANK")
    exports = " ".join(f"{variable}={value}" for variable, value in variables.items())
    image = [f"--docker-image={IMAGE.value}"]
    if there.packed:
        image = [f"--base-docker-image={IMAGE.value}", f"--script-dir={there.packed}"]
    optional = {"namespace": NAMESPACE, "priority": PRIORITY, "reservation": RESERVATION}
    return Step(
        [
            *("xpk", "workload", "create", f"--workload={name}"),
            *(f"--cluster={CLUSTER.value}", f"--project={PROJECT.value}", f"--zone={ZONE.value}", *asked.xpk, *image),
            *(f"--storage={VOLUME.value}", f"--max-restarts={RESTARTS}"),
            *(f"--restart-on-exit-codes={cli.EXIT_PREEMPTED}", f"--termination-grace-period-seconds={GRACE.value}"),
            *(f"--{option}={flag.value}" for option, flag in optional.items() if flag.value),
            *(["--spot"] if SPOT.value else []),
            f"--command=cd {MOUNT.value} && export {exports} && exec {shlex.join(argv)}",
        ]
    )


def by_kubectl(name, argv, asked, there):
    """The Step that submits by kubectl, which refuses fields that the cluster does not know."""
    import yaml  # ml_collections needs it

    plain = json.loads(json.dumps(jobset.manifest(name, argv, asked, there)))  # without YAML's references
    text = yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=120)
    return Step(["kubectl", "apply", "--validate=strict", "--filename=-"], text)


def logs(name):
    """The command that shows what the first process prints."""
    first = f"--selector=jobset.sigs.k8s.io/jobset-name={name},batch.kubernetes.io/job-completion-index=0"
    where = [f"--namespace={NAMESPACE.value}"] if NAMESPACE.value else []
    return ["kubectl", "logs", "--follow", first, *where]
