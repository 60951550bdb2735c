"""launch.bench prints what a benchmark found, and keeps it with what it was measured on."""

import json
import types

from launch import bench
from tests.launch import pods


def test_figures_are_printed_and_kept_with_the_machine(tmp_path, monkeypatch, capsys):
    asked = []

    def module(name):
        asked.append(name)
        return types.SimpleNamespace(main=lambda: {"ratio": 1.25})

    monkeypatch.setattr(bench.importlib, "import_module", module)
    with pods.given(f"--results={tmp_path}/results"):
        bench.main("loop")
    assert json.loads(capsys.readouterr().out) == {"ratio": 1.25} and asked == ["research.benchmarks.loop"]
    kept = json.loads((tmp_path / "results" / "loop.json").read_text())
    assert kept["benchmark"] == "loop" and kept["result"] == {"ratio": 1.25}
    assert kept["cores"] >= 1 and kept["memory_gib"] > 0 and {"git", "jax", "device", "started", "processor"} <= {*kept}


def test_nothing_is_written_unless_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.importlib, "import_module", lambda name: types.SimpleNamespace(main=dict))
    with pods.given():
        bench.main("loop")
    assert capsys.readouterr().out == "{}\n" and not any(tmp_path.iterdir())
