"""What launch/README.md and docs/dry_runs.md show is what the commands print."""

import re

import pytest
from absl import flags

from tests.launch import readme

TEXT = "".join(file.read_text() for file in readme.FILES)
SHOWN = readme.BLOCK.findall(TEXT)


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections reads configs by it
@pytest.mark.parametrize("command, output", SHOWN, ids=range(len(SHOWN)))
def test_blocks_are_what_is_printed(command, output):
    assert output == readme.printed(command)


def test_each_backend_is_shown():
    commands = " ".join(command for command, _ in SHOWN)
    for backend in ("local", "slurm", "gke --manifest", "tpu_vm"):
        assert f"--backend={backend} " in re.sub(r"\s*\\\n\s*", " ", commands), backend
    assert "xpk workload create" in TEXT and all("--dry_run" in command for command, _ in SHOWN)


def test_flags_that_are_named_exist():
    named = set(re.findall(r"--((?:gke|tpu|slurm)_\w+|manifest|retries|heartbeat|parallel|nproc)", TEXT))
    assert len(named) > 15 and named <= set(flags.FLAGS)
    own = {name for name in flags.FLAGS if name.startswith(("gke_", "tpu_"))}
    assert own - named <= {"tpu_runtime", "tpu_project"}
