"""The page on data is true: its blocks run, in their order, in an empty folder."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytest.importorskip("pyspark")
pytestmark = pytest.mark.cluster


def test_the_blocks_of_the_page_run(tmp_path):
    text = (ROOT / "docs" / "data.md").read_text()
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)
    assert sum(block.count("launch.prepare") for block in blocks) == 4
    python = pathlib.Path(sys.executable).parent
    environ = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{python}:{os.environ['PATH']}"}
    script = "set -e\n" + "\n".join(blocks)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "data" / "demo" / "shards" / "manifest.json").read_text())
    rows = {split: sum(shard["rows"] for shard in shards) for split, shards in made["splits"].items()}
    assert sum(rows.values()) == 2000 + 99 and rows["train"] > 1500 and made["generation"] == 2
    assert [column["name"] for column in made["columns"]] == ["age", "town"] and made["classes"] == ["high", "low"]
