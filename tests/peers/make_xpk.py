"""Writes xpk.json: the JobSets that xpk makes of what our gke backend asks for.

PYTHONPATH=. python tests/peers/make_xpk.py XPK

XPK: the program xpk in an environment that has it. It needs no cluster and no account for this.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import yaml

from launch.backends import gke
from tests.launch import pods

XPK = ["--gke_cluster=c", "--gke_project=p", "--gke_zone=us-east5-a", "--gke_volume=runs"]
CASES = {  # flags that both ways of submitting have
    "two slices of v5e": ["--gke_accelerator=v5e:4x4", "--gke_slices=2"],
    "v6e": ["--gke_accelerator=v6e:16x16", "--gke_grace=300", "--gke_priority=high"],
    "v5p": ["--gke_accelerator=v5p:2x2x2", "--gke_namespace=team"],
    "v4": ["--gke_accelerator=v4:4x4x8"],
    "tpu7x": ["--gke_accelerator=tpu7x:4x4x4"],
    "one chip": ["--gke_accelerator=v6e:1x1"],
    "two nodes of A100": ["--gke_accelerator=nvidia-tesla-a100:8", "--gke_slices=2"],
    "L4": ["--gke_accelerator=nvidia-l4:1"],
    "two nodes of H100": ["--gke_accelerator=nvidia-h100-mega-80gb:8", "--gke_slices=2"],
}


class Loader(yaml.SafeLoader):
    """xpk writes some keys twice, the second time without a value: the first one counts."""


def _mapping(loader, node):
    found = {}
    for key, value in loader.construct_pairs(node, deep=True):
        if found.get(key) is None:
            found[key] = value
    return found


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def asked(case, folder):
    """The command by which our backend submits a case whose code is on the volume."""
    with pods.given(*XPK, "--gke_image=registry/image:1", *CASES[case]):
        (task,), there = pods.trials(folder), gke.Place(folder, "/runs/code", None)
        shape = gke.shape(gke.ACCELERATOR.value, gke.SLICES.value)
        return gke.by_xpk("trial", gke.python(task, folder, there, shape), shape, there).argv


def made(argv, xpk):
    """The JobSet that xpk would hand over to kubectl."""
    words = [xpk, *argv[1:], "--dry-run", "--skip-validation"]
    with tempfile.TemporaryDirectory() as folder:
        out = subprocess.run(words, capture_output=True, text=True, check=True, cwd=folder).stdout
    text = out[out.index("apiVersion: jobset") :]
    return yaml.load(text[: text.index("\n[XPK]")], Loader)


def main(xpk):
    said = subprocess.run([xpk, "version"], capture_output=True, text=True, check=True).stdout
    lines = [f'"xpk": "{said.partition("xpk_version: ")[2].split()[0]}"']
    for case in CASES:
        argv = asked(case, pathlib.Path("/runs/sweep"))
        lines.append(f"{json.dumps(case)}: {json.dumps({'argv': argv, 'jobset': made(argv, xpk)})}")
    (pathlib.Path(__file__).parent / "xpk.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])
