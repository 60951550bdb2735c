"""launch.bench prints what benchmarks found, keeps it with what it was measured on, and writes a page of that."""

import json
import os
import pathlib
import types

import pytest

from launch import bench
from research import benchmarks
from research.benchmarks import page, rows
from research.errors import UserError
from tests.launch import pods

REPO = pathlib.Path(__file__).parents[2]


@pytest.fixture
def given(monkeypatch):
    """given(result) makes it what every benchmark finds; returns the names asked for."""

    def of(result, quick=None):
        asked = []

        def module(name):
            asked.append(name)
            return types.SimpleNamespace(main=lambda: result, QUICK=quick or {})

        monkeypatch.setattr(bench.importlib, "import_module", module)
        return asked

    for name in (benchmarks.AGAINST, "SOME_ROWS"):
        monkeypatch.setenv(name, "")  # so that what a test sets there ends with it
        monkeypatch.delenv(name)
    return of


def test_figures_are_printed_and_kept_with_the_machine(given, tmp_path, capsys):
    asked = given({"ratio": 1.25})
    with pods.given(f"--results={tmp_path}/results"):
        bench.main(["loop"])
    assert json.loads(capsys.readouterr().out) == {"ratio": 1.25} and asked == ["research.benchmarks.loop"]
    kept = json.loads((tmp_path / "results" / f"{os.cpu_count()}_cpu_cores" / "loop.json").read_text())
    assert kept["benchmark"] == "loop" and kept["result"] == {"ratio": 1.25} and not kept["quick"]
    assert kept["cores"] >= 1 and kept["memory_gib"] > 0 and {"git", "jax", "device", "started", "processor"} <= {*kept}


def test_nothing_is_written_unless_asked_for(given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given({})
    with pods.given():
        bench.main(["loop"])
    assert capsys.readouterr().out == "{}\n" and not any(tmp_path.iterdir())


def test_quick_changes_constants_and_rows_that_nobody_picked(monkeypatch):
    monkeypatch.setenv("OTHER_ROWS", "mine")
    monkeypatch.setenv("SOME_ROWS", "")
    monkeypatch.delenv("SOME_ROWS")
    module = types.SimpleNamespace(ROUNDS=9, QUICK={"ROUNDS": 2, "SOME_ROWS": "a,b", "OTHER_ROWS": "a"})
    benchmarks.hasten(module)
    assert (module.ROUNDS, os.environ["SOME_ROWS"], os.environ["OTHER_ROWS"]) == (2, "a,b", "mine")


@pytest.mark.parametrize("name", benchmarks.NAMES)
def test_quick_of_every_benchmark_picks_what_there_is(name):
    module = __import__(f"research.benchmarks.{name}", fromlist="main")
    only = getattr(module, "ONLY", None)
    assert all(key == only or hasattr(module, key) for key in module.QUICK) and name in rows.ROWS
    parts = next((getattr(module, each) for each in ("PARTS", "CONFIGS", "ROWS") if hasattr(module, each)), {})
    assert {*filter(None, module.QUICK.get(only, "").split(","))} <= {*parts}


def test_peers_that_nobody_asked_for_are_absent(given, monkeypatch):
    given({})
    with pods.given("--against=lightgbm,pot"):
        bench.main(["loop"])
    assert benchmarks.unasked("lightgbm") is None and benchmarks.unasked("catboost").startswith("absent: BENCH_AGAINST")
    found, about = benchmarks.here({"catboost": 2})
    assert found == {} and about["catboost"].startswith("absent")
    with pods.given("--against=catbost"), pytest.raises(UserError, match="did you mean 'catboost'"):
        bench.main(["loop"])


def test_several_run_in_processes_and_one_that_fails_does_not_stop_the_others(monkeypatch, tmp_path, capsys):
    ran = []

    def run(command):
        ran.append(command[3:])
        return types.SimpleNamespace(returncode=3 if "nets" in command else 0)

    monkeypatch.setattr(bench.subprocess, "run", run)
    options = [f"--results={tmp_path}", "--quick=True"]
    with pods.given(*options, f"--summary={tmp_path}/page.md"), pytest.raises(UserError, match="failed: nets;"):
        bench.main(["loop", "nets", "data"])
    assert ran == [[name, *options] for name in ("loop", "nets", "data")]
    assert "nets: failed with status 3; 2 of 3" in capsys.readouterr().err and (tmp_path / "page.md").exists()


@pytest.mark.parametrize(
    "names, options, says",
    [
        (["lop"], (), "no benchmark 'lop'; did you mean 'loop'"),
        ([], (), "no benchmark is named"),
        (["loop"], ("--summary=x.md",), "give both"),
    ],
)
def test_mistakes_are_sentences(names, options, says):
    with pods.given(*options), pytest.raises(UserError, match=says):
        bench.main(names)


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "2_cpu_cores").mkdir()
    (tmp_path / "2_cpu_cores" / "loop.json").write_text('{"benchmark": ')
    with pytest.raises(UserError, match=r"loop.json is no record of a benchmark .*; delete it"):
        bench.kept(tmp_path)


def test_a_cell_is_what_was_found_to_three_digits():
    result = {"a": {"ratio": 1.23456, "quartiles": [1.0, 2.5]}, "b": {"c": 12345.6, "d": 0.012345}, "e": None}
    paths = {"over it": "a", "rows": "b/c", "s": "b/d", "gone": "b/x/y", "none": "e"}
    assert page.cell(result, paths) == "over it 1.23 (1 to 2.5); rows 12,346; s 0.0123"
    assert page.cell({}, paths) == ""


def test_the_page_has_a_column_for_each_hardware_and_says_where_from():
    facts = {"git": "0123456789+", "python": "3.11", "jax": "1.0", "started": "2026-01-02T03", "processor": "P"}
    facts |= {"cores": 2, "memory_gib": 8.0, "quick": True}
    peers = {"peers": {"catboost": "1.2", "xgboost": "absent: no"}}
    of = {name: facts | {"benchmark": name, "result": {"ratio": 2.0, "inner": peers}} for name in ("loop", "trees")}
    text = page.text({"2_cpu_cores": of, "nvidia_h200": {"loop": of["loop"] | {"result": {"ratio": 3.0}}}})
    assert "| benchmark | what | 2 CPU cores | NVIDIA H200 |" in text
    assert "| over the bare step 2 | over the bare step 3 |" in text
    assert (
        "`trees` (quick) | 2026-01-02 | 0123456+ | 3.11, 1.0 | 2 cores P, 8.0 GiB | catboost 1.2; xgboost absent |"
        in text
    )


def test_the_page_here_is_that_of_the_records_here():
    assert (REPO / "BENCHMARKS.md").read_text() == page.text(bench.kept(REPO / "benchmarks" / "results"))
