"""JobSets: valid by JobSet's own schema, compared with xpk's field by field, submitted by tools that record calls."""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import jsonschema
import pytest
import yaml

from configs import rectified_flow_toy2d
from launch import frozen
from launch.backends import Task, gke, tools
from research.errors import UserError
from tests.launch import pods
from tests.peers import make_xpk

PEERS = pathlib.Path(__file__).parents[1] / "peers"
VALID = jsonschema.Draft202012Validator(json.loads((PEERS / "jobset_schema.json").read_text()))
XPK = json.loads((PEERS / "xpk.json").read_text())
V5E = ("--manifest", "--gke_accelerator=v5e:4x4", "--gke_image=registry/image:1", "--gke_volume=gs://bucket/team")
BY_XPK = ("--gke_image=registry/image:1", "--gke_accelerator=v5e:4x4", *make_xpk.XPK)


def manifest(*words, root="/home/me/lr", name="learning_rate=0.01"):
    """The JobSet of one trial with these flags, which is valid."""
    root = pathlib.Path(root)
    with pods.given(*words):
        (task,), archive = pods.trials(root, name), root / "code" / "hash.tar.gz"
        there, asked = gke.place(root, archive), gke.shape(gke.ACCELERATOR.value, gke.SLICES.value)
        path = there.root / name
        step = gke.by_kubectl(tools.label(path), gke.python(task, path, there, asked), asked, there)
    found = yaml.safe_load(step.stdin)
    VALID.validate(found)
    return found


def job(jobset):
    (found,) = jobset["spec"]["replicatedJobs"]
    return found["template"]["spec"]


def pod(jobset):
    return job(jobset)["template"]["spec"]


def container(jobset):
    (found,) = pod(jobset)["containers"]
    return found


EVERYTHING = (
    "--gke_namespace=team",
    "--gke_queue=queue",
    "--gke_priority=high",
    "--gke_reservation=ours",
    "--gke_spot",
)
MORE = ("--gke_service_account=trainer", "--gke_safe_to_evict", "--gke_grace=60", "--retries=3", "--gke_slices=4")


@pytest.mark.parametrize("case", make_xpk.CASES)
@pytest.mark.parametrize("more", [(), EVERYTHING + MORE])
def test_every_manifest_is_valid(case, more):
    manifest(*V5E, *make_xpk.CASES[case], *more)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: pod(found).update(hostnetwork=True),
        lambda found: pod(found).update(hostNetwork="yes"),
        lambda found: found["spec"]["failurePolicy"]["rules"][0].update(action="Restart"),
        lambda found: found["metadata"]["labels"].update(number=1),
        lambda found: container(found)["env"][0].pop("name"),
    ],
)
def test_the_schema_refuses_what_the_cluster_would(spoil):
    found = manifest(*V5E, *EVERYTHING)
    spoil(found)
    with pytest.raises(jsonschema.ValidationError):
        VALID.validate(found)


# What xpk's JobSets have of each field, and ours. A row of DIFFERENT says why they are not the same.
FIELDS = {
    "node selector": lambda x: pod(x)["nodeSelector"],
    "devices": lambda x: container(x)["resources"],
    "jobs": lambda x: x["spec"]["replicatedJobs"][0]["replicas"],
    "parallelism": lambda x: job(x)["parallelism"],
    "completions": lambda x: job(x)["completions"],
    "backoff limit": lambda x: job(x)["backoffLimit"],
    "restart policy": lambda x: pod(x)["restartPolicy"],
    "grace": lambda x: pod(x)["terminationGracePeriodSeconds"],
    "ports": lambda x: container(x).get("ports"),
    "memory for /dev/shm": lambda x: [v for v in pod(x)["volumes"] if "emptyDir" in v][:1][0]["emptyDir"],
    "tolerations": lambda x: pod(x)["tolerations"],
    "one job a node pool": lambda x: x["metadata"].get("annotations"),
    "host network": lambda x: (pod(x).get("hostNetwork"), pod(x).get("dnsPolicy")),
    "privileges": lambda x: container(x).get("securityContext"),
    "priority": lambda x: pod(x).get("priorityClassName"),
    "coordinator": lambda x: {e["name"]: e for e in container(x)["env"] or []}.get("JAX_COORDINATOR_ADDRESS"),
    "process": lambda x: container(x)["command"][0],
    "restarts": lambda x: x["spec"]["failurePolicy"]["maxRestarts"],
    "mistakes": lambda x: x["spec"]["failurePolicy"]["rules"][0]["action"],
    "queue": lambda x: x["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name"),
}
DIFFERENT = {
    ("host network", "v6e"): "only where data go from slice to slice: pods then have their own address and account",
    ("host network", "v5p"): "the same",
    ("host network", "v4"): "the same",
    ("host network", "tpu7x"): "the same",
    ("host network", "one chip"): "the same",
    ("host network", "L4"): "the same",
    ("host network", "two nodes of H100"): "xpk leaves it out where a network plugin of theirs carries the data",
    ("node selector", "tpu7x"): "xpk names a placement policy that it made with its cluster",
    ("node selector", "two nodes of H100"): "xpk leaves the choice to its queue; here it must be told",
    ("tolerations", "two nodes of H100"): "xpk's own node pools have a taint of their own",
    ("memory for /dev/shm", "two nodes of H100"): "xpk bounds it to 128 GiB",
    ("one job a node pool", "one chip"): "a host alone is no node pool: several jobs may share that",
    **{("privileges", case): "JAX on GKE 1.28 or newer does without" for case in make_xpk.CASES},
    **{("priority", case): "none by default: a cluster that xpk did not make has no class 'medium'"
       for case in make_xpk.CASES if case != "v6e"},
    **{("coordinator", case): "with its port and our names of count and index" for case in make_xpk.CASES
       if case.startswith("two nodes")},
    ("coordinator", "L4"): "a node alone needs none",
    **{("process", case): "Python itself; xpk has a shell that passes SIGTERM on" for case in make_xpk.CASES},
    **{("restarts", case): "preemptions do not count" for case in make_xpk.CASES},
    **{("queue", case): "as --gke_queue says" for case in make_xpk.CASES},
}  # fmt: skip


@pytest.mark.parametrize("case", make_xpk.CASES)
def test_xpk_took_the_command_that_is_submitted_now(case):
    assert make_xpk.asked(case, pathlib.Path("/runs/sweep")) == XPK[case]["argv"]


@pytest.mark.parametrize("case", make_xpk.CASES)
def test_fields_are_those_of_xpk_or_differ_for_a_reason(case):
    ours, theirs = manifest(*V5E, *make_xpk.CASES[case]), XPK[case]["jobset"]
    differ = {field for field, read in FIELDS.items() if read(ours) != read(theirs)}
    assert differ == {field for field, where in DIFFERENT if where == case}


def fate(jobset, code, taken=False):
    """What Kubernetes and JobSet do after a pod ended with `code`, `taken`: with the condition DisruptionTarget.

    As pod_failure_policy.go of Kubernetes writes the message, and failure_policy.go of JobSet reads it.
    """
    message, reason = "Job has reached the specified backoff limit", "BackoffLimitExceeded"
    for i, rule in enumerate(job(jobset)["podFailurePolicy"]["rules"]):
        codes, conditions = rule.get("onExitCodes", {}), [x["type"] for x in rule.get("onPodConditions", [])]
        if code in codes.get("values", []) and (codes["operator"], codes["containerName"]) == ("In", "main"):
            message = f"Container main for pod team/x failed with exit code {code} matching FailJob rule at index {i}"
        elif taken and "DisruptionTarget" in conditions:
            message = f"Pod team/x has condition DisruptionTarget matching FailJob rule at index {i}"
        else:
            continue
        reason = "PodFailurePolicy"
        break
    for rule in jobset["spec"]["failurePolicy"]["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", [""])
        if reason in rule["onJobFailureReasons"] and any(re.search(pattern, message) for pattern in patterns):
            return rule["action"]
    return "RestartJobSet"


@pytest.mark.parametrize(
    "code, taken, expected",
    [
        (2, False, "FailJobSet"),
        (75, False, "RestartJobSetAndIgnoreMaxRestarts"),
        (75, True, "RestartJobSetAndIgnoreMaxRestarts"),
        (137, True, "RestartJobSetAndIgnoreMaxRestarts"),
        *((code, False, "RestartJobSet") for code in (1, 130, 134, 137, 143, 22, 175)),
    ],
)
def test_exit_codes_decide_whether_all_start_again(code, taken, expected):
    assert fate(manifest(*V5E), code, taken) == expected


def test_rules_have_names_that_jobset_takes():
    names = [rule["name"] for rule in manifest(*V5E)["spec"]["failurePolicy"]["rules"]]
    assert len(set(names)) == len(names) and all(
        re.fullmatch("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", x) for x in names
    )


def test_retries_bound_the_failures_that_count():
    assert manifest(*V5E, "--retries=7")["spec"]["failurePolicy"]["maxRestarts"] == 7


def test_optional_flags_reach_their_fields():
    found = manifest(*V5E, *EVERYTHING, *MORE)
    assert found["metadata"]["namespace"] == "team"
    assert found["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "queue"}
    labels = pod(found)["nodeSelector"]
    assert labels["cloud.google.com/reservation-name"] == "ours" and labels["cloud.google.com/gke-spot"] == "true"
    assert {"key": "cloud.google.com/gke-spot", "operator": "Exists"} in pod(found)["tolerations"]
    assert pod(found)["priorityClassName"] == "high" and pod(found)["serviceAccountName"] == "trainer"
    assert pod(found)["terminationGracePeriodSeconds"] == 60
    assert found["spec"]["replicatedJobs"][0]["replicas"] == 4
    evict = "cluster-autoscaler.kubernetes.io/safe-to-evict"
    assert job(found)["template"]["metadata"]["annotations"][evict] == "true"
    assert job(manifest(*V5E))["template"]["metadata"]["annotations"][evict] == "false"


def test_without_optional_flags_their_fields_are_absent():
    found = manifest(*V5E)
    assert set(found["metadata"]) == {"name", "annotations"}
    assert not {"priorityClassName", "serviceAccountName", "hostNetwork"} & set(pod(found))
    assert pod(found)["tolerations"] == [{"key": "google.com/tpu", "operator": "Exists"}]


def test_a_bucket_is_mounted_where_runs_are_kept():
    found = manifest(*V5E)
    volume = pod(found)["volumes"][0]["csi"]
    assert volume["driver"] == "gcsfuse.csi.storage.gke.io"
    assert volume["volumeAttributes"]["bucketName"] == "bucket"
    assert "only-dir=team" in volume["volumeAttributes"]["mountOptions"].split(",")
    assert "hostNetworkPodKSA" not in volume["volumeAttributes"]
    assert job(found)["template"]["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"
    assert {"name": "runs", "mountPath": "/runs"} in container(found)["volumeMounts"]
    assert (
        container(found)["workingDir"] == "/runs"
        and "--workdir=/runs/lr/learning_rate=0.01" in container(found)["command"]
    )


def test_pods_on_the_hosts_network_keep_their_own_account():
    attributes = pod(manifest(*V5E, "--gke_slices=2"))["volumes"][0]["csi"]["volumeAttributes"]
    assert attributes["hostNetworkPodKSA"] == "true"


def test_gpu_nodes_are_told_where_they_meet():
    found = manifest(*V5E, "--gke_accelerator=nvidia-l4:2", "--gke_slices=3")
    name, env = found["metadata"]["name"], {x["name"]: x for x in container(found)["env"]}
    (replicated,) = found["spec"]["replicatedJobs"]
    host, _, port = env["JAX_COORDINATOR_ADDRESS"]["value"].partition(":")
    assert host == f"{name}-{replicated['name']}-0-0.{name}" and port.isdigit()  # as JobSet names its first pod
    assert env["JAX_NUM_PROCESSES"]["value"] == "3" == str(job(found)["parallelism"])
    path = env["JAX_PROCESS_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert job(found)["completionMode"] == "Indexed" and "--heartbeat=100" in container(found)["command"]


@pytest.mark.parametrize("size, slices, several", [("1x1", 1, 0), ("2x2", 1, 0), ("2x2", 2, 1), ("4x4", 1, 1)])
def test_several_processes_agree_on_the_heartbeat(size, slices, several):
    found = manifest(*V5E, f"--gke_accelerator=v5e:{size}", f"--gke_slices={slices}", "--heartbeat=30")
    assert container(found)["command"].count("--heartbeat=30") == several


def test_a_node_alone_meets_nobody():
    found = manifest(*V5E, "--gke_accelerator=nvidia-l4:2")
    assert [x["name"] for x in container(found)["env"]] == ["PYTHONPATH"]
    assert not any("heartbeat" in word for word in container(found)["command"])


@pytest.mark.parametrize("name", ["", "learning_rate=0.001,seed=0", "x" * 200, "Ünï=1e-05", "9=a_b", "---"])
def test_names_are_what_kubernetes_and_xpk_take(name):
    path = pathlib.Path("/runs/Sweep_1") / name
    label = tools.label(path)
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", label) and len(label) <= 40
    assert len(f"{label}-slice-99-9999-abcde") <= 63
    assert label != tools.label(pathlib.Path("/runs/Sweep_2") / name) and label == tools.label(path)


def test_the_archive_brings_code_and_config(tmp_path):
    """The unpacking container's own command, on this machine."""
    with pods.given(*V5E):
        tasks = pods.trials(tmp_path / "lr", "seed=0", "seed=1")
        archive, more = tools.carried(tasks, tmp_path / "lr")
        tools.pack(tmp_path / "lr", archive, more)
        there = gke.place(tmp_path / "lr", archive)._replace(packed=str(archive), code=str(tmp_path / "code"))
        shape = gke.shape("v5e:4x4", 1)
        found = yaml.safe_load(
            gke.by_kubectl("x", gke.python(tasks[1], there.root / "seed=1", there, shape), shape, there).stdin
        )
    (unpack,) = pod(found)["initContainers"]
    assert unpack["volumeMounts"] == container(found)["volumeMounts"][:2]
    subprocess.run([sys.executable, *unpack["command"][1:]], check=True, capture_output=True)
    (config,) = [word for word in container(found)["command"] if word.startswith("--config=")]
    file, _, argument = config.removeprefix("--config=").partition(":")
    assert pathlib.Path(file).read_bytes() == pathlib.Path(frozen.__file__).read_bytes()
    assert frozen.get_config(argument).to_dict() == tasks[1].config.to_dict()
    assert (tmp_path / "code" / "launch" / "run.py").exists()
    assert container(found)["env"][0] == {"name": "PYTHONPATH", "value": str(tmp_path / "code")}


def test_the_archives_name_tells_code_and_configs(tmp_path, monkeypatch):
    pods.fixed(monkeypatch)
    one, two = pods.trials(tmp_path, "seed=0", "seed=1")
    renamed = one._replace(name="seed=2")
    names = {tools.carried(tasks, tmp_path)[0].name for tasks in ([one], [two], [one, two], [renamed], [one])}
    assert len(names) == 4 and all(name.startswith(pods.CODE) for name in names)


def test_a_sweep_is_uploaded_once_and_submitted_trial_by_trial(tmp_path, monkeypatch):
    calls, root = pods.tools(tmp_path, monkeypatch, "gcloud", "kubectl"), tmp_path / "lr"
    pods.fixed(monkeypatch)
    with pods.given(*V5E, "--gke_namespace=team"):
        found = dict(gke.run(pods.trials(root, "seed=0", "seed=1"), root, False))
    upload, first, second = calls()
    (archive,) = (root / "code").iterdir()
    target = f"gs://bucket/team/lr/code/{archive.name}"
    assert upload == ["gcloud", "storage", "cp", str(archive), target, {"stdin": ""}]
    assert first[:-1] == second[:-1] == ["kubectl", "apply", "--validate=strict", "--filename=-"]
    submitted = [yaml.safe_load(call[-1]["stdin"]) for call in (first, second)]
    for (name, line), jobset in zip(found.items(), submitted):
        VALID.validate(jobset)
        assert f"--workdir=/runs/lr/{name}" in container(jobset)["command"]
        follow = (
            f"jobset.sigs.k8s.io/jobset-name={jobset['metadata']['name']},batch.kubernetes.io/job-completion-index=0"
        )
        assert line.startswith(f"{name}: submitted") and follow in line and "--namespace=team" in line
    assert pod(submitted[0])["initContainers"][0]["command"][-2:] == [f"/runs/lr/code/{archive.name}", "/code"]


def test_xpk_gets_a_folder_to_make_an_image_of(tmp_path, monkeypatch, capsys):
    root = tmp_path / "lr"
    pods.fixed(monkeypatch)
    with pods.given(*BY_XPK, "--gke_spot", "--gke_reservation=ours"):
        lines = pods.dry(gke, pods.trials(root), root, capsys).replace("\\\n", "").splitlines()
    comment, unpack, submit = lines
    archive, folder = shlex.split(unpack)[-2:]
    assert shlex.split(unpack)[:4] == ["python3", "-m", "tarfile", "-e"] and archive == f"{folder}.tar.gz"
    assert archive in comment and "1 frozen config" in comment
    words = shlex.split(submit)
    assert f"--script-dir={folder}" in words and "--base-docker-image=registry/image:1" in words and "--spot" in words
    assert "--reservation=ours" in words and not any(word.startswith("--docker-image") for word in words)
    config = f"--config=/app/launch/frozen.py:/app/frozen/run.json --workdir=/runs/{root.name} --heartbeat=100"
    assert words[-1] == f"--command=cd /runs && export PYTHONPATH=/app && exec python -P -m launch.run {config}"


@pytest.mark.parametrize("words", [V5E, (*V5E[:-1], "--gke_volume=claim"), BY_XPK])
def test_on_a_volume_that_is_mounted_here_nothing_is_copied(words, tmp_path, monkeypatch, capsys):
    root = tmp_path / "volume" / "lr"
    pods.fixed(monkeypatch)
    with pods.given(*words, f"--gke_mount={tmp_path / 'volume'}"):
        text = pods.dry(gke, pods.trials(root, "seed=0"), root, capsys)
    code = f"{root}/code/{pods.CODE}"
    assert text.startswith(("kubectl", "xpk")) and "frozen/" not in text and "initContainers" not in text
    assert f"--config={code}/launch/frozen.py:{root}/seed=0/frozen.json" in text and f"--workdir={root}/seed=0" in text
    if words[0] == "--manifest":
        VALID.validate(yaml.safe_load(text.partition("\n")[2].removesuffix("END\n")))
    else:
        assert f"export PYTHONPATH={code} " in text and "--docker-image=registry/image:1" in text


def test_the_snapshot_is_written_where_pods_look(tmp_path, monkeypatch):
    calls, root = pods.tools(tmp_path, monkeypatch, "kubectl"), tmp_path / "volume" / "lr"
    pods.fixed(monkeypatch)
    with pods.given(*V5E, f"--gke_mount={tmp_path / 'volume'}"):
        assert len(list(gke.run(pods.trials(root), root, False))) == 1
    (call,) = calls()
    (code,) = (root / "code").iterdir()
    assert container(yaml.safe_load(call[-1]["stdin"]))["env"][0]["value"] == str(code)


def test_xpks_shell_passes_sigterm_on_to_python(tmp_path):
    """xpk's wrapper as it is, around our command, with a fake python that saves and ends with 75."""
    (tmp_path / "bin").mkdir()
    python = "import os, pathlib, signal, sys, time\nhere = pathlib.Path('ready')\n"
    python += "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\nhere.write_text(os.environ['PYTHONPATH'])\n"
    python += "time.sleep(60)\n"
    (tmp_path / "fake.py").write_text(python)
    (tmp_path / "bin" / "python").write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path}/fake.py\n")
    (tmp_path / "bin" / "sleep").write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} 0.05\n")  # xpk looks every 5 s
    for tool in (tmp_path / "bin").iterdir():
        tool.chmod(0o700)
    shell = [word.replace("/runs", str(tmp_path)) for word in container(XPK["v6e"]["jobset"])["command"]]
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    with subprocess.Popen(shell, env={**os.environ, "PATH": path}, stdout=subprocess.DEVNULL) as process:
        while not (tmp_path / "ready").exists() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 75
    assert (tmp_path / "ready").read_text() == f"{tmp_path}/code"


BAD = {
    "--gke_image is missing": V5E[:2],
    "--gke_accelerator is missing": (V5E[0], *V5E[2:]),
    "--gke_volume is missing": V5E[:3],
    "--gke_zone is missing": BY_XPK[:2] + tuple(x for x in make_xpk.XPK if "zone" not in x),
    "--gke_cluster has no meaning with --manifest": (*V5E, "--gke_cluster=c"),
    "--gke_queue has no meaning without --manifest": (*BY_XPK, "--gke_queue=q"),
    "v5e has no topology '4x5'; did you mean '4x": (*V5E, "--gke_accelerator=v5e:4x5"),
    "v5e has no topology '32x32'": (*V5E, "--gke_accelerator=v5e:32x32"),
    "v5e has no topology '4x4x4'": (*V5E, "--gke_accelerator=v5e:4x4x4"),
    "v5p has no topology '4x4'": (*V5E, "--gke_accelerator=v5p:4x4"),
    "v5p has no topology '4x4x6'": (*V5E, "--gke_accelerator=v5p:4x4x6"),
    "v5p has no topology '8x4x4'": (*V5E, "--gke_accelerator=v5p:8x4x4"),
    "v4 has no topology ''": (*V5E, "--gke_accelerator=v4"),
    "there is no chip 'v5'": (*V5E, "--gke_accelerator=v5:4x4"),
    "must say how many GPUs a node has": (*V5E, "--gke_accelerator=nvidia-l4"),
    "is not on the claim": (*V5E[:3], "--gke_volume=claim"),
}


@pytest.mark.parametrize("sentence", BAD)
def test_mistakes_are_one_sentence(sentence, tmp_path):
    with pods.given(*BAD[sentence]), pytest.raises(UserError, match=re.escape(sentence)):
        list(gke.run(pods.trials(tmp_path), tmp_path, True))


@pytest.mark.parametrize("words, tool", [(V5E, "gcloud"), (BY_XPK, "xpk")])
def test_a_tool_that_is_absent_is_named_with_the_way_to_get_it(words, tool, tmp_path, monkeypatch):
    pods.tools(tmp_path, monkeypatch, "python3")
    pods.fixed(monkeypatch)
    with pods.given(*words):
        try:
            ((_, error),) = gke.run(pods.trials(tmp_path), tmp_path, False)
        except UserError as raised:
            error = raised
    assert str(error) == f"{tool} is not on PATH; {tools.GET[tool]}."


def test_a_trial_that_is_refused_does_not_stop_the_others(tmp_path, monkeypatch):
    root = tmp_path / "volume" / "lr"
    calls = pods.tools(tmp_path, monkeypatch, "kubectl", status=3)
    pods.fixed(monkeypatch)
    with pods.given(*V5E, f"--gke_mount={tmp_path / 'volume'}"):
        found = dict(gke.run(pods.trials(root, "seed=0", "seed=1"), root, False))
    assert len(calls()) == 2 and list(found) == ["seed=0", "seed=1"]
    assert all("`kubectl apply` ended with 3" in str(error) for error in found.values())


LITTLE = """#!{python}
# A cluster in little, whose bucket is the folder $VOLUME: gcloud copies there, kubectl runs the containers of a pod.
import os, re, shutil, subprocess, sys, yaml
volume = os.environ["VOLUME"]
if "gcloud" in sys.argv[0]:
    target = sys.argv[4].replace("gs://bucket/team", volume)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    sys.exit(shutil.copy(sys.argv[3], target) is None)
jobset = yaml.safe_load(sys.stdin)
here = lambda word: re.sub("(^|[=:])/code", r"\\1" + volume + "-pod", re.sub("(^|[=:])/runs", r"\\1" + volume, word))
pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
for container in pod["initContainers"] + pod["containers"]:
    env = dict(os.environ, **{{x["name"]: here(x["value"]) for x in container.get("env", [])}})
    words = [sys.executable, *map(here, container["command"][1:])]
    status = subprocess.run(words, env=env, cwd=here(container.get("workingDir", "/runs"))).returncode
    if status:
        sys.exit(status)
"""


@pytest.mark.slow
def test_a_sweep_on_a_cluster_in_little_leaves_its_metrics_on_the_volume(tmp_path, monkeypatch):
    """Archive, upload, unpacking, the pod's command, the frozen config and the code that was packed, all for real."""
    before, volume, root = os.environ["PATH"], tmp_path / "volume", tmp_path / "data"
    pods.tools(tmp_path, monkeypatch, "gcloud", "kubectl")
    for tool in (tmp_path / "bin").iterdir():
        tool.write_text(LITTLE.format(python=sys.executable))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{before}")
    monkeypatch.setenv("VOLUME", str(volume))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    config = rectified_flow_toy2d.get_config("tiny")
    with pods.given(*V5E, "--gke_accelerator=v5e:1x1"):
        ((name, line),) = gke.run([Task("seed=0", root / "seed=0", config=config)], root, False)
    assert name == "seed=0" and "submitted" in line
    found = volume / "data" / "seed=0"
    assert (found / "evaluation.json").exists() and (found / "samples.npz").exists()
    assert json.loads((found / "config.json").read_text())["train"]["num_steps"] == config.train.num_steps
    assert not (root / "seed=0").exists()
