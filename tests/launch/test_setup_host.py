"""The environment of a host, made by an interpreter in little that writes down what it is asked to install."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = """#!/bin/bash
case "$*" in
  *version_info*) echo {version} ;;
  "-m venv --clear "*) [ {version} != 3.11 ] && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
  "-m pip install "*) echo "${{*:4}}" >> "$CALLS"; exit "${{PIP:-0}}" ;;
  --version) echo "Python {version}" ;;
  *) exec {real} "$@" ;;
esac
"""


class Host:
    """A home with code/, an own PATH, and the calls that were made."""

    def __init__(self, home):
        self.home, self.bin, self.calls = home, home / "bin", home / "calls"
        self.bin.mkdir()
        (home / "code" / "launch" / "backends").mkdir(parents=True)
        self.script = shutil.copy(ROOT / "launch" / "backends" / "setup_host.sh", home / "code" / "launch" / "backends")
        for name in ("requirements.txt", "pyproject.toml", "constraints-3.12.txt"):
            shutil.copy(ROOT / name, home / "code")
        for tool in ("bash", "dirname", "cat", "cksum", "tr", "mkdir", "cp", "touch", "env"):
            (self.bin / tool).symlink_to(shutil.which(tool))

    def tool(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o700)

    def python(self, name, version):
        self.tool(name, PYTHON.format(version=version, real=sys.executable))

    def run(self, *words, **more):
        """(status, stdout, stderr, what was called since)."""
        self.calls.write_text("")
        env = {"PATH": str(self.bin), "HOME": str(self.home), "CALLS": str(self.calls), **more}
        done = subprocess.run(
            [str(self.bin / "bash"), self.script, *words],
            cwd=self.home,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr, self.calls.read_text().splitlines()


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.mark.parametrize(
    "accelerator, extra", [("tpu", " jax[tpu]>=0.10.2"), ("cuda", " jax[cuda12]>=0.10.2"), ("cpu", "")]
)
def test_installs_the_extra_of_the_accelerator_within_constraints(host, accelerator, extra):
    host.python("python3.12", "3.12")
    status, out, err, calls = host.run(f"--accelerator={accelerator}", "--venv=venv")
    code = host.home / "code"
    listed = f"-r {code}/requirements.txt -c {code}/constraints-3.12.txt{extra}"
    assert calls == [f"--quiet --disable-pip-version-check {listed}"]
    assert (status, out, err) == (0, f"ready: Python 3.12, {accelerator}\n", "")


def test_a_second_time_nothing_is_installed_unless_what_is_asked_changed(host):
    host.python("python3.12", "3.12")
    assert len(host.run("--accelerator=tpu")[3]) == 1
    status, out, _, calls = host.run("--accelerator=tpu")
    assert (status, calls) == (0, []) and out.startswith("ready")
    assert len(host.run("--accelerator=cpu")[3]) == 1
    with (host.home / "code" / "requirements.txt").open("a") as file:
        file.write("another>=1\n")
    assert len(host.run("--accelerator=cpu")[3]) == 1


def test_an_installation_that_failed_is_tried_again(host):
    host.python("python3.12", "3.12")
    status, _, err, _ = host.run("--accelerator=cpu", PIP="1")
    assert status == 2 and err.startswith("error: pip could not install the packages")
    assert len(host.run("--accelerator=cpu")[3]) == 1


def test_an_accelerator_is_found_out(host):
    host.python("python3.12", "3.12")
    assert host.run()[1].endswith(f", {'tpu' if os.path.exists('/dev/vfio/0') else 'cpu'}\n")
    host.tool("nvidia-smi", "#!/bin/bash\n")
    assert host.run()[1].endswith(f", {'tpu' if os.path.exists('/dev/vfio/0') else 'cuda'}\n")


def test_takes_an_interpreter_that_is_new_enough(host):
    host.python("python3.12", "3.9")  # a wrong name
    host.python("python3", "3.13")
    status, out, _, (call,) = host.run("--accelerator=cpu")
    assert status == 0 and out.startswith("ready: Python 3.13") and "-c " not in call  # no constraints are known
    (host.home / ".local" / "bin").mkdir(parents=True)
    host.python("../.local/bin/python3.12", "3.12")
    assert host.run("--accelerator=cpu")[1].startswith("ready: Python 3.12")


@pytest.mark.parametrize("version", ["3.10", "2.7"])
def test_an_old_interpreter_is_one_sentence(host, version):
    host.python("python3", version)
    status, out, err, calls = host.run("--accelerator=cpu")
    assert (status, out, calls) == (2, "", []) and err.count("\n") == 1
    assert err.startswith(f"error: Python 3.11 or newer is needed and python3 is {version};")
    assert host.run("--accelerator=cpu", PYTHON="nowhere")[2].startswith(
        "error: Python 3.11 or newer is needed and nowhere is absent;"
    )


def test_an_interpreter_without_venv_is_one_sentence(host):
    host.python("python3.11", "3.11")
    status, _, err, calls = host.run("--accelerator=cpu")
    assert (status, calls) == (2, []) and "python3.11-venv" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--accelerator=gpu"], "--accelerator=gpu must be tpu, cuda or cpu."),
        (["--acelerator=tpu"], "'--acelerator=tpu' is not known;"),
        (["--accelerator=cpu", "--bucket=gs://b"], "--bucket=gs://b needs --mount=DIR."),
        (["--accelerator=cpu", "--bucket=gs://b", "--mount=runs"], "gcsfuse is not on PATH;"),
    ],
)
def test_mistakes_are_one_sentence(host, words, sentence):
    host.python("python3.12", "3.12")
    host.tool("mountpoint", "#!/bin/bash\nexit 1\n")
    status, out, err, _ = host.run(*words)
    assert (status, out) == (2, "") and err.startswith(f"error: {sentence}") and err.count("\n") == 1


def test_code_without_its_requirements_is_one_sentence(host):
    host.python("python3.12", "3.12")
    (host.home / "code" / "requirements.txt").unlink()
    status, _, err, calls = host.run("--accelerator=cpu")
    assert (status, calls) == (2, []) and "there is no requirements.txt" in err


def test_a_bucket_is_mounted_once(host):
    host.python("python3.12", "3.12")
    host.tool("mountpoint", '#!/bin/bash\n[ -e "$2/mounted" ]\n')
    host.tool("gcsfuse", '#!/bin/bash\necho "gcsfuse $*" >> "$CALLS"\ntouch "${*: -1}/mounted"\n')
    words = ("--accelerator=cpu", "--bucket=gs://bucket/team/a", "--mount=runs")
    status, out, _, calls = host.run(*words)
    assert status == 0 and out.endswith(", gs://bucket/team/a at runs\n")
    assert calls[1].startswith(
        "gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0"
    )
    assert calls[1].endswith("--only-dir team/a bucket runs")
    assert host.run(*words)[3] == []
    (host.home / "runs" / "mounted").unlink()
    assert host.run("--accelerator=cpu", "--bucket=gs://bucket", "--mount=runs")[3][0].endswith("=100000 bucket runs")
