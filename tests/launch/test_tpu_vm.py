"""TPU VMs: the exact words for gcloud, and a gcloud in little whose host is a folder of this machine."""

import re
import subprocess
import sys
import types

import pytest

from launch.backends import package, tools, tpu_vm
from research.errors import UserError
from tests.launch import pods
from tests.launch.test_setup_host import PYTHON

NAME = ("--tpu_name=mine", "--tpu_zone=us-west4-a")
SMALL = (*NAME, "--tpu_type=v5litepod-8")
LARGE = (*NAME, "--tpu_type=v4-32", "--tpu_volume=gs://bucket/team", "--tpu_project=ours")


def planned(*words):
    """The commands of an action."""
    with pods.given(*words):
        return [step.argv for step in getattr(tpu_vm, tpu_vm.ACTION.value)()]


@pytest.mark.parametrize(
    "words, expected",
    [
        (SMALL, "tpu-vm create mine --accelerator-type=v5litepod-8 --version=v2-alpha-tpuv5-lite --zone=us-west4-a"),
        (
            (*LARGE, "--tpu_spot"),
            "tpu-vm create mine --accelerator-type=v4-32 --version=tpu-ubuntu2204-base --spot --zone=us-west4-a "
            "--project=ours",
        ),
        (
            (*NAME, "--tpu_type=v6e-8", "--tpu_reserved", "--tpu_runtime=mine"),
            "tpu-vm create mine --accelerator-type=v6e-8 --version=mine --reserved --zone=us-west4-a",
        ),
        (
            (*NAME, "--tpu_type=v5p-8", "--tpu_queued", "--tpu_spot"),
            "queued-resources create mine --node-id=mine --accelerator-type=v5p-8 --runtime-version=v2-alpha-tpuv5 "
            "--spot --zone=us-west4-a",
        ),
    ],
)
def test_create(words, expected):
    assert planned(*words, "--tpu_action=create") == [["gcloud", "compute", "tpus", *expected.split()]]


def test_tail():
    command = ["ssh", "mine", "--worker=0", "--command=tail -n 100 -F run.log", "--zone=us-west4-a"]
    assert planned(*NAME, "--tpu_action=tail") == [["gcloud", "compute", "tpus", "tpu-vm", *command]]


def test_delete():
    found = planned(*NAME, "--tpu_action=delete")
    assert " ".join(found[0]) == "gcloud compute tpus tpu-vm delete mine --quiet --zone=us-west4-a"
    (found,) = planned(*NAME, "--tpu_action=delete", "--tpu_queued")
    assert " ".join(found) == "gcloud compute tpus queued-resources delete mine --force --quiet --zone=us-west4-a"


def test_run_copies_sets_up_and_starts_on_all_hosts(tmp_path, monkeypatch):
    calls, root = pods.tools(tmp_path, monkeypatch, "gcloud"), tmp_path / "lr"
    pods.fixed(monkeypatch)
    with pods.given(*LARGE):
        found = dict(tpu_vm.run(pods.trials(root, "seed=0", "seed=1"), root, False))
    assert list(found) == ["seed=0", "seed=1"] and all("mine" in line for line in found.values())
    (archive,) = (root / "code").iterdir()
    file, code = archive.name, f"code/{archive.name.removesuffix('.tar.gz')}"
    setup = f"bash {code}/launch/backends/setup_host.sh --accelerator=tpu --venv=venv"
    setup += " --bucket=gs://bucket/team --mount=runs"
    expected = [
        ["scp", str(archive), f"mine:{file}", "--worker=all"],
        ["ssh", "mine", "--worker=all", f"--command=mkdir -p {code} && tar -xzf {file} -C {code} && {setup}"],
        ["ssh", "mine", "--worker=all", f"--command=nohup bash {code}/run.sh > run.log 2>&1 < /dev/null &"],
    ]
    where = ["--zone=us-west4-a", "--project=ours"]
    assert [call[:-1] for call in calls()] == [["gcloud", "compute", "tpus", "tpu-vm", *x, *where] for x in expected]


GCLOUD = """#!/bin/bash
# A host that is the folder $HOST: scp copies to its home, ssh runs there, here until all has ended.
cd "$HOST" || exit 1
case "$4" in
  scp) cp "$5" "${6#mine:}" ;;
  ssh) for word in "$@"; do
         case $word in --command=*) HOME=$HOST exec bash -c "${word#--command=}"$'\nwait' ;; esac
       done ;;
esac
"""


@pytest.fixture
def host(tmp_path, monkeypatch):
    """The home of a host in little, whose python writes down its arguments and ends as the file `plan` says."""
    bin, home = tmp_path / "bin", tmp_path / "home"
    bin.mkdir(), home.mkdir()
    (bin / "gcloud").write_text(GCLOUD)
    run = 'echo "$PYTHONPATH $*" >> ran; read -r now < plan; sed -i 1d plan; exit "$now"'
    text = PYTHON.format(version="3.12", real=sys.executable).replace(
        '"-m pip', f'"-P -m launch"*) {run} ;;\n  "-m pip'
    )
    (bin / "python3.12").write_text(text)
    for tool in bin.iterdir():
        tool.chmod(0o700)
    monkeypatch.delenv("PYTHON", raising=False)  # by which setup_host.sh, as make, would take another one
    monkeypatch.setenv("PATH", f"{bin}:/usr/bin:/bin")
    monkeypatch.setenv("HOST", str(home))
    monkeypatch.setenv("CALLS", str(tmp_path / "installed"))
    return home


def ended(home, root, plan, names=("seed=0", "seed=1"), *words):
    """Runs trials whose processes end with the codes of `plan`; what they were, a line each."""
    (home / "plan").write_text("\n".join(map(str, plan)) + "\n")
    (home / "ran").unlink(missing_ok=True)
    with pods.given(*SMALL, *words):
        list(tpu_vm.run(pods.trials(root, *names), root, False))
    return (home / "ran").read_text().splitlines()


def test_a_host_runs_the_code_and_configs_that_were_submitted(host, tmp_path, capfd):
    root = tmp_path / "lr"
    first, second = ended(host, root, [0, 0])
    (code,) = (host / "code").iterdir()
    inside = f"code/{code.name}"
    config = f"--config={inside}/launch/frozen.py:{inside}/frozen/seed=1.json"
    assert second == f"{host}/{inside} -P -m launch.run {config} --workdir=runs/lr/seed=1"
    assert "seed=0" in first and (host / "run.log").read_text().endswith("all trials have ended\n")
    for name in ("launch/frozen.py", "launch/backends/setup_host.sh", "requirements.txt"):
        assert (code / name).read_bytes() == (package.HERE / name).read_bytes()
    assert (code / "frozen" / "seed=1.json").exists() and "ready: Python 3.12, tpu" in capfd.readouterr().out
    assert "jax[tpu]" in (tmp_path / "installed").read_text()


@pytest.mark.parametrize(
    "plan, expected",
    [
        ([0, 0], "01"),
        ([2, 0], "01"),  # a mistake is not tried again
        ([1, 0, 0], "001"),
        ([137, 134, 0], "001"),  # one retry
        ([75, 0], "0"),  # saved, since the machine goes away
        ([0, 1, 75], "011"),
    ],
)
def test_exit_codes_decide_what_comes_next(host, tmp_path, monkeypatch, plan, expected):
    pods.fixed(monkeypatch)
    ran = ended(host, tmp_path / "lr", plan)
    assert "".join(re.search("--workdir=runs/lr/seed=(.)", line)[1] for line in ran) == expected


def test_retries_bound_the_tries(host, tmp_path, monkeypatch):
    pods.fixed(monkeypatch)
    assert len(ended(host, tmp_path / "lr", [1] * 9, ("seed=0",), "--retries=4")) == 5
    assert len(ended(host, tmp_path / "lr", [1] * 9, ("seed=0",), "--retries=0")) == 1


def test_several_hosts_agree_on_the_heartbeat(tmp_path, monkeypatch):
    pods.fixed(monkeypatch)
    with pods.given(*LARGE, "--heartbeat=30"):
        text = tpu_vm.script(pods.trials(tmp_path), tmp_path, tmp_path / "x.tar.gz")
    assert text.count("--heartbeat=30") == 1
    with pods.given(*SMALL, "--heartbeat=30"):
        assert "heartbeat" not in tpu_vm.script(pods.trials(tmp_path), tmp_path, tmp_path / "x.tar.gz")


def test_a_dry_run_shows_the_script_and_the_commands(tmp_path, monkeypatch, capsys):
    root = tmp_path / "lr"
    pods.fixed(monkeypatch)
    with pods.given(*SMALL):
        text, tasks = pods.dry(tpu_vm, pods.trials(root), root, capsys), pods.trials(root)
        archive = tools.carried(tasks, root)[0]
        script = tpu_vm.script(tasks, root, archive)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments[1:] == [f"#     {line}" for line in script.splitlines()]
    assert comments[0] == f"# {archive}: the code as it is now, 1 frozen config, run.sh"
    assert [line.split()[3:5] for line in text.replace("\\\n", "").splitlines() if "gcloud" in line] == [
        ["tpu-vm", "scp"],
        ["tpu-vm", "ssh"],
        ["tpu-vm", "ssh"],
    ]


def test_other_actions_need_no_config(monkeypatch, capsys):
    monkeypatch.setattr(tpu_vm, "DRY_RUN", types.SimpleNamespace(value=True), raising=False)
    with pods.given(*NAME, "--tpu_action=delete"):
        tpu_vm.main()
    assert capsys.readouterr().out == "gcloud compute tpus tpu-vm delete mine --quiet --zone=us-west4-a\n"
    with pods.given(*SMALL), pytest.raises(UserError, match="--tpu_action=create, tail or delete"):
        tpu_vm.main()


@pytest.mark.slow
def test_other_actions_have_a_command_of_their_own():
    words = [*NAME, "--tpu_action=delete", "--dry_run"]
    command = [sys.executable, "-m", "launch.backends.tpu_vm", *words]
    done = subprocess.run(command, cwd=package.HERE, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "gcloud compute tpus tpu-vm delete mine --quiet --zone=us-west4-a\n"


def test_with_another_action_a_sweep_submits_nothing(tmp_path, capsys):
    with pods.given(*SMALL, "--tpu_action=create"):
        assert "tpu-vm create mine" in pods.dry(tpu_vm, pods.trials(tmp_path), tmp_path, capsys)


BAD = {
    "--tpu_name is missing": ("--tpu_zone=z", "--tpu_type=v4-8"),
    "--tpu_zone is missing": ("--tpu_name=n", "--tpu_type=v4-8"),
    "--tpu_type is missing": NAME,
    "--tpu_type=v5litepod must end with a size": (*NAME, "--tpu_type=v5litepod"),
    "the hosts of a v4-32 write one checkpoint together": (*NAME, "--tpu_type=v4-32"),
    "--tpu_spot and --tpu_reserved are two ways to pay": (
        *SMALL,
        "--tpu_action=create",
        "--tpu_spot",
        "--tpu_reserved",
    ),
    "--tpu_type=v5e-8: did you mean 'v6e'? Or name its software": (*NAME, "--tpu_type=v5e-8", "--tpu_action=create"),
}


@pytest.mark.parametrize("sentence", BAD)
def test_mistakes_are_one_sentence(sentence, tmp_path):
    with pods.given(*BAD[sentence]), pytest.raises(UserError, match=re.escape(sentence)):
        list(tpu_vm.run(pods.trials(tmp_path), tmp_path, True))


def test_without_gcloud_it_says_how_to_get_it(tmp_path, monkeypatch):
    pods.tools(tmp_path, monkeypatch)
    pods.fixed(monkeypatch)
    with pods.given(*SMALL), pytest.raises(UserError, match="gcloud is not on PATH; install the Google Cloud CLI"):
        list(tpu_vm.run(pods.trials(tmp_path), tmp_path, False))
