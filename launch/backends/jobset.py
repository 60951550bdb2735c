"""The manifest of a JobSet (jobset.x-k8s.io/v1alpha2, version 0.10 or newer) that runs a trial, from flags of gke.

Exit codes: a mistake (2) ends the JobSet. After 75, and where Kubernetes took a pod away, all pods start again, which
does not count. Whatever else fails starts all again up to --retries times.
"""

from absl import flags

from launch import cli
from research import distributed

FLAGS = flags.FLAGS
TPU, GPU = "google.com/tpu", "nvidia.com/gpu"
PORT = 8482  # where processes on GPUs meet
# Processes of several hosts must see each other's folders at once; a checkpoint's folder is renamed when it is whole.
FUSE = "implicit-dirs,metadata-cache:ttl-secs:0,metadata-cache:negative-ttl-secs:0,rename-dir-limit=100000"


def manifest(name, argv, asked, there):
    """The JobSet `name` as a dict. argv: the command of each pod; asked, there: a gke.Shape and a gke.Place."""
    job = "slice" if asked.resource == TPU else "nodes"
    metadata = {"name": name} | _given(namespace=FLAGS.gke_namespace)
    if FLAGS.gke_queue:
        metadata["labels"] = {"kueue.x-k8s.io/queue-name": FLAGS.gke_queue}
    if job == "slice" and asked.hosts > 1:  # a slice of several hosts is a node pool; each gets one job
        metadata["annotations"] = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    template = {"metadata": {"annotations": _annotations()}, "spec": _pod(name, argv, asked, there)}
    spec = {
        "parallelism": asked.hosts,
        "completions": asked.hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": _endings()},
        "template": template,
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "ttlSecondsAfterFinished": 86400,
            "failurePolicy": {"maxRestarts": FLAGS.retries, "rules": _rules()},
            "replicatedJobs": [{"name": job, "replicas": asked.jobs, "template": {"spec": spec}}],
        },
    }


def _endings():
    """Ends of pods that end their job with the reason PodFailurePolicy, and a message that tells the exit code."""
    codes = {"containerName": "main", "operator": "In", "values": [cli.EXIT_MISTAKE, cli.EXIT_PREEMPTED]}
    taken = [{"type": "DisruptionTarget", "status": "True"}]
    return [{"action": "FailJob", "onExitCodes": codes}, {"action": "FailJob", "onPodConditions": taken}]


def _rules():
    """What becomes of a JobSet whose job ended so; other ends are counted against maxRestarts."""
    reason = {"onJobFailureReasons": ["PodFailurePolicy"]}
    message = f"failed with exit code {cli.EXIT_MISTAKE} matching"
    return [
        {"name": "mistake", "action": "FailJobSet", **reason, "onJobFailureMessagePatterns": [message]},
        {"name": "preempted", "action": "RestartJobSetAndIgnoreMaxRestarts", **reason},
    ]


def _annotations():
    evict = {"cluster-autoscaler.kubernetes.io/safe-to-evict": str(FLAGS.gke_safe_to_evict).lower()}
    return evict | ({"gke-gcsfuse/volumes": "true"} if _bucket() else {})


def _bucket():
    return FLAGS.gke_volume.startswith("gs://")


def _pod(name, argv, asked, there):
    spot, image = "cloud.google.com/gke-spot", FLAGS.gke_image
    place = {"cloud.google.com/reservation-name": FLAGS.gke_reservation, spot: "true" if FLAGS.gke_spot else None}
    keys = [asked.resource, *([spot] if FLAGS.gke_spot else [])]
    mounts = [{"name": "runs", "mountPath": FLAGS.gke_mount}]
    volumes = [{"name": "runs", **_volume(_on_host_network(asked))}, {"name": "shm", "emptyDir": {"medium": "Memory"}}]
    more = {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"} if _on_host_network(asked) else {}
    if there.packed:
        mounts.append({"name": "code", "mountPath": there.code})
        volumes.append({"name": "code", "emptyDir": {}})
        unpack = ["python", "-m", "tarfile", "-e", there.packed, there.code]
        more["initContainers"] = [{"name": "unpack", "image": image, "command": unpack, "volumeMounts": list(mounts)}]
    main = {
        "name": "main",
        "image": image,
        "command": argv,  # no shell between: Python is the process that SIGTERM goes to
        "workingDir": FLAGS.gke_mount,
        "env": _env(name, asked, there),
        "resources": {"limits": {asked.resource: asked.devices}},
        "volumeMounts": [*mounts, {"name": "shm", "mountPath": "/dev/shm"}],
    }
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": FLAGS.gke_grace,
        **_given(priorityClassName=FLAGS.gke_priority, serviceAccountName=FLAGS.gke_service_account),
        "nodeSelector": {**asked.labels, **_given(**place)},
        "tolerations": [{"key": key, "operator": "Exists"} for key in keys],
        **more,
        "containers": [main],
        "volumes": volumes,
    }


def _given(**fields):
    return {field: value for field, value in fields.items() if value}


def _on_host_network(asked):
    """Where data go from slice to slice, or from node to node, the pods' own network would slow them down."""
    return asked.jobs > 1 or (asked.resource == GPU and asked.hosts > 1)


def _volume(on_host_network):
    if not _bucket():
        return {"persistentVolumeClaim": {"claimName": FLAGS.gke_volume}}
    bucket, _, folder = FLAGS.gke_volume.removeprefix("gs://").rstrip("/").partition("/")
    options = f"{FUSE},only-dir={folder}" if folder else FUSE
    account = {"hostNetworkPodKSA": "true"} if on_host_network else {}  # else it would be the node's account
    attributes = {"bucketName": bucket, "mountOptions": options, **account}
    return {"csi": {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": attributes}}


def _env(name, asked, there):
    """Variables of a pod. GKE itself tells TPU pods who is there; GPU pods get what research.distributed reads."""
    env = [{"name": "PYTHONPATH", "value": there.code}]
    if asked.resource == TPU or asked.hosts == 1:
        return env
    index = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
    return [
        *env,
        {"name": distributed.ADDRESS, "value": f"{name}-nodes-0-0.{name}:{PORT}"},
        {"name": distributed.COUNT, "value": str(asked.hosts)},
        {"name": distributed.INDEX, "valueFrom": index},
    ]
