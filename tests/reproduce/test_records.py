"""What is kept of an item is whole, and knows when it is stale."""

import json
import math
import types

import numpy as np
import pytest

from research.errors import UserError
from research.figures import canvas
from research.reproduce import records

MADE = {"points": {"x": [1.0]}, "rows": [], "origin": {}, "configs": []}
CONFIG = {"model": {"name": "nice", "depth": 2}, "data": {"dir": "a"}, "reflow": {"rounds": 1}}


def test_a_record_comes_back(tmp_path):
    points = {"a": np.arange(3), "b": (1.5, math.nan), "c": {"d": np.float32(2)}, 3: True}
    records.write(tmp_path / "smoke", "x", MADE | {"points": points})
    found = records.read(tmp_path / "smoke", "x")["points"]
    assert found == {"a": [0, 1, 2], "b": [1.5, None], "c": {"d": 2.0}, "3": True}
    assert records.read(tmp_path, "y") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"points": 1}', '{"why": "", "rows": []}', "\xff"])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / "x.json").write_text(text, "latin-1")
    with pytest.raises(UserError, match=r"x\.json is damaged; remove it"):
        records.read(tmp_path, "x")


def test_a_reason_is_a_record(tmp_path):
    records.write(tmp_path, "x", {"why": "needs java"})
    assert records.read(tmp_path, "x") == {"why": "needs java"}


def test_a_digest_is_of_what_a_run_computes():
    other = json.loads(json.dumps(CONFIG))
    other["data"]["dir"] = "b"
    assert records.digest({"r": CONFIG}) == records.digest({"r": other})
    for section, field in (("model", "depth"), ("reflow", "rounds")):
        changed = json.loads(json.dumps(CONFIG))
        changed[section][field] += 1
        assert records.digest({"r": CONFIG}) != records.digest({"r": changed})


def test_code_is_what_an_item_reaches():
    files = {file.relative_to(records.ROOT).as_posix() for file in records.reached({"research.models.nice"})}
    assert {"models/nice.py", "flow.py", "bijectors/coupling.py", "bijectors/__init__.py", "errors.py"} <= files
    assert not any(file.startswith(("trees/", "prepare/")) for file in files)
    assert records.reached({"numpy", "research.no_such_module"}) == set()


def test_stale_is_a_change_of_config_or_code(monkeypatch):
    module = types.SimpleNamespace(__name__="research.figures.papers.receptive_fields")
    record = {"origin": records.origin(module, {"r": CONFIG}, 1.2)}
    assert not records.is_stale(record, module, {"r": CONFIG})
    assert records.is_stale(record, module, {"r": CONFIG | {"seed": 1}})
    assert records.is_stale(record, types.SimpleNamespace(__name__="research.figures.grid"), {"r": CONFIG})


def test_pictures_are_png_and_pdf(tmp_path):
    records.save_pictures(tmp_path, "x", canvas.figure(2, 2))
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")
