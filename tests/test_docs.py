"""The pages of docs/ are true: their files are written and their commands run, in order, in a copy of the house."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PAGES = ("first_run", "write_a_model", "write_a_sampler", "write_a_sweep", "reproduce")
BLOCK = re.compile(r"^```(sh|python \S+)\n(.*?)^```$", re.M | re.S)


@pytest.mark.slow  # a page is several commands, each of which starts Python and compiles
@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page, tmp_path):
    for part in ("configs", "research", "launch", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    blocks = BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text())
    assert sum(kind == "sh" for kind, _ in blocks) >= 2
    environ = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "PYTHONPATH")}
    environ |= {"PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path)}
    for kind, text in blocks:
        if kind != "sh":
            file = tmp_path / kind.split(" ")[1]
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            continue
        command = ["bash", "-ec", text]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr


def test_every_page_is_in_the_index_and_every_link_is_there():
    for page in (ROOT / "docs").glob("*.md"):
        text = page.read_text()
        for link in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
    index = (ROOT / "docs" / "README.md").read_text()
    assert all(f"({page}.md)" in index for page in PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_python_on_a_page_is_formatted_as_the_house(page, tmp_path):
    for i, (kind, text) in enumerate(BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text())):
        if kind != "sh":
            file = tmp_path / f"block_{i}.py"
            file.write_text(text)
            settings = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", str(file)]
            for what in (["check"], ["format", "--check"]):
                ruff = [sys.executable, "-m", "ruff", *what, *settings]
                done = subprocess.run(ruff, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout
