"""What the backends of Google Cloud share: commands of others, shown or run, and the code's way to other machines."""

import hashlib
import json
import re
import shlex
import subprocess
from typing import NamedTuple

from launch.backends import command, package
from research.errors import UserError

GET = {
    "gcloud": "install the Google Cloud CLI, then `gcloud auth login`",
    "kubectl": "`gcloud components install kubectl gke-gcloud-auth-plugin`, then "
    "`gcloud container clusters get-credentials CLUSTER`",
    "xpk": "`pip install xpk` in an environment of its own and put its bin folder on PATH, or give --manifest",
}


class Step(NamedTuple):
    """A command of others: its arguments, and what it reads from stdin."""

    argv: list
    stdin: str = ""


def show(step):
    """The lines of a shell that do what `call` does."""
    line = shlex.join(step.argv)
    if len(line) > 120:  # an option a line
        words = zip(step.argv, map(shlex.quote, step.argv))
        line = "".join((" \\\n    " if word.startswith("--") else " ") + quoted for word, quoted in words).strip()
    return f"{line} <<'END'\n{step.stdin}END" if step.stdin else line


def call(step):
    """Runs a step, which prints what it has to say. Raises UserError where its tool is absent, or fails."""
    tool = step.argv[0]
    try:
        status = subprocess.run(step.argv, input=step.stdin, text=True, check=False).returncode
    except FileNotFoundError:
        raise UserError(f"{tool} is not on PATH; {GET[tool]}.") from None
    if status:
        what = " ".join(word for word in step.argv[:5] if not word.startswith("-"))
        raise UserError(f"`{what}` ended with {status} and says why above; mend that and run the same command again.")


def carried(tasks, root):
    """(archive, more): the file that the code is packed to, whose name tells code and configs; the configs in it."""
    more = {frozen(task): _frozen(task) for task in tasks}
    digest = hashlib.sha256(b"".join(name.encode() + data for name, data in sorted(more.items()))).hexdigest()[:8]
    return root / "code" / f"{package.location(root).name}-{digest}.tar.gz", more


def pack(root, archive, more):
    """Writes what `carried` promised."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    package.archive(root, archive, more)


def frozen(task):
    """Where the archive has the config of a task."""
    return f"frozen/{task.name or 'run'}.json"


def _frozen(task):
    return (json.dumps(json.loads(task.config.to_json()), indent=2, sort_keys=True) + "\n").encode()


def describe(archive, more):
    """Lines of comment that say what an archive holds besides the code; a script is shown."""
    scripts = {name: data.decode().splitlines() for name, data in more.items() if name.endswith(".sh")}
    count = len(more) - len(scripts)
    what = ", ".join(["the code as it is now", f"{count} frozen config{'s' * (count > 1)}", *scripts])
    return "\n".join([f"# {archive}: {what}", *(f"#     {line}" for lines in scripts.values() for line in lines)])


def arguments(task, code):
    """`command` for a task whose config came with the code."""
    return [x.replace(f":{task.workdir}/frozen.json", f":{code}/{frozen(task)}") for x in command(task, code)]


def label(workdir):
    """A name for a run kept in `workdir`, its alone, and readable: at most 40 characters, such as Kubernetes takes."""
    text = re.sub("[^a-z0-9]+", "-", f"{workdir.parent.name}-{workdir.name}".lower()).strip("-")
    text = text if text[:1].isalpha() else f"run-{text}"
    return f"{text[:33].strip('-')}-{hashlib.sha256(str(workdir).encode()).hexdigest()[:6]}"


def check(required, refused, why):
    """Raises UserError for a flag of `required` that is missing, or one of `refused` that is given though `why`."""
    for flag in required:
        if not flag.value:
            raise UserError(f"--{flag.name} is missing; see --help.")
    for flag in refused:
        if flag.present:
            raise UserError(f"--{flag.name} has no meaning {why}; leave it out.")
