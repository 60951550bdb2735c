"""What commands of launch/README.md and docs/dry_runs.md print; run as a program, it writes that into them.

PYTHONPATH=. python tests/launch/readme.py
"""

import contextlib
import io
import re
import shlex
import sys
import types

import pytest

import launch.sweep
from launch.backends import package, tools, tpu_vm
from tests.launch import pods

FILES = (package.HERE / "launch" / "README.md", package.HERE / "docs" / "dry_runs.md")
BLOCK = re.compile(r"```console\n\$ (.*?[^\\])\n(.*?)```\n", re.DOTALL)  # a command, and what it prints


def printed(command):
    """The output of a command line, with fixed names of the code, the interpreter and the checkout."""
    _, _, module, *words = shlex.split(command.replace("\\\n", ""))
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        pods.fixed(patch)
        patch.setattr(tools, "_frozen", lambda task: b"")
        patch.setattr("sys.argv", ["x", *words])
        patch.delenv("PYTHONPATH", raising=False)
        patch.chdir(package.HERE)
        if module == "launch.backends.tpu_vm":
            words.remove("--dry_run")
            patch.setattr(tpu_vm, "DRY_RUN", types.SimpleNamespace(value=True), raising=False)
        with pods.given(*words):
            {"launch.sweep": launch.sweep, "launch.backends.tpu_vm": tpu_vm}[module].main()
    text = out.getvalue().replace(sys.executable, "python").replace(str(package.HERE), "/home/me/research")
    return re.sub(r"[ \t]+\n", "\n", text)


if __name__ == "__main__":
    for file in FILES:
        file.write_text(
            BLOCK.sub(lambda found: f"```console\n$ {found[1]}\n{printed(found[1])}```\n", file.read_text())
        )
