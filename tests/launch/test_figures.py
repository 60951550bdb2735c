"""launch.figures: what is made, kept, drawn anew; and that one figure's trouble is its own."""

import json
import os
import signal
import subprocess
import sys
import time
import types

import pytest
from absl.testing import flagsaver

from launch import figures
from research import reproduce
from research.errors import UserError
from research.figures import canvas
from research.reproduce import records, verdict
from tests import processes
from tests.launch import pods

NAME = "receptive_fields"


def item(**changed):
    """An item whose points are a number."""
    whole = {
        **{
            "__name__": "research.figures.papers.receptive_fields",
            "TITLE": "T",
            "SOURCE": "S",
            "MINUTES": 1,
            "FULL": None,
        },
        **{
            "runs": lambda scale: {},
            "load": lambda folders, scale: {"x": 1.0},
            "draw": lambda points: canvas.figure(1, 1),
        },
        "rows": lambda points: [verdict.number("x", 1.0, points["x"], 0)],
    }
    return types.SimpleNamespace(**whole | changed)


@pytest.fixture
def items(monkeypatch, tmp_path):
    """A dictionary of the items that there are; flags as of a command of scale smoke."""
    found = {"good": item(), "other": item()}
    monkeypatch.setattr(reproduce, "names", lambda: sorted(found))
    monkeypatch.setattr(reproduce, "item", lambda name: found[name])
    with pods.given(f"--out={tmp_path}"):
        yield found


def bad(folders, scale):
    raise UserError("the run is missing.")


def test_the_command_makes_a_figure_once_and_draws_it_anew(tmp_path):
    made = processes.call("figures", f"--out={tmp_path}", f"--only={NAME}")
    assert made.returncode == 0, made.stderr
    folder, page = tmp_path / "smoke", tmp_path / "REPRODUCTION.md"
    before = (folder / f"{NAME}.json").read_bytes()
    assert {f"{NAME}.json", f"{NAME}.png", f"{NAME}.pdf"} == {file.name for file in folder.iterdir()}
    assert "| vgg16, size (pixels) | 212 | 212 | 0 | reproduced |" in page.read_text()
    (folder / f"{NAME}.png").unlink()
    page.unlink()
    again = processes.call("figures", f"--out={tmp_path}", f"--only={NAME}")
    assert "is made already" in again.stderr and page.exists() and not (folder / f"{NAME}.png").exists()
    drawn = processes.call("figures", f"--out={tmp_path}", "--redraw")
    assert drawn.returncode == 0 and (folder / f"{NAME}.png").exists()
    assert (folder / f"{NAME}.json").read_bytes() == before


def test_a_name_that_is_none_is_one_sentence(tmp_path):
    done = processes.call("figures", f"--out={tmp_path}", "--only=receptive_field")
    assert done.returncode == 2 and "did you mean 'receptive_fields'" in done.stderr and "Traceback" not in done.stderr


def test_the_list_says_what_there_is(items, tmp_path, capsys):
    figures.make(tmp_path, "good")
    (tmp_path / "smoke" / "other.json").write_text("{")
    with pods.given(f"--out={tmp_path}", "--list"):
        figures.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["good", "made"] and lines[1].split()[:2] == ["other", "damaged"]
    items["good"].__name__ = "research.figures.grid"  # other code
    assert figures.state(tmp_path, "good") == "stale"


def test_a_damaged_or_stale_figure_is_made_anew(items, tmp_path):
    for spoil in (
        lambda file: file.write_text("{"),
        lambda file: items["good"].__setattr__("__name__", "research.uri"),
    ):
        figures.make(tmp_path, "good")
        spoil(tmp_path / "smoke" / "good.json")
        figures.make(tmp_path, "good")
        assert figures.state(tmp_path, "good") == "made"


def test_a_failure_is_kept_as_a_reason_and_stops_nothing(items, tmp_path, capsys):
    items["good"].load = bad
    assert not figures.attempt(tmp_path, "good", figures.make)
    assert figures.attempt(tmp_path, "other", figures.make)
    figures.write_page(tmp_path)
    page = (tmp_path / "REPRODUCTION.md").read_text()
    assert "not run: the run is missing." in page and "1 reproduced" in page
    assert "good: the run is missing." in capsys.readouterr().err
    assert figures.state(tmp_path, "good") == "not run: the run is missing."


def test_a_failure_leaves_an_older_figure(items, tmp_path):
    figures.make(tmp_path, "good")
    items["good"].__name__, items["good"].load = "research.uri", bad
    assert not figures.attempt(tmp_path, "good", figures.make)
    assert records.read(tmp_path / "smoke", "good")["points"] == {"x": 1.0}
    figures.write_page(tmp_path)
    assert "reproduced (stale" in (tmp_path / "REPRODUCTION.md").read_text()


def test_what_a_figure_needs_and_is_not_here_is_no_failure(items, tmp_path):
    items["good"].NEEDS = ("no_such_command",)
    assert figures.attempt(tmp_path, "good", figures.make)
    figures.write_page(tmp_path)
    assert "not run: needs no_such_command" in (tmp_path / "REPRODUCTION.md").read_text()


def test_all_go_on_behind_a_failure_and_it_is_said_at_the_end(items, tmp_path, monkeypatch):
    asked = []

    def call(command):
        asked.append(command[command.index("--only") + 1])
        return 2 if asked[-1] == "good" else 0

    monkeypatch.setattr(figures, "call", call)
    with pytest.raises(UserError, match=r"1 of 2 figures could not be made: good; see above"):
        figures.main()
    assert asked == ["good", "other"]


def test_a_signal_reaches_the_figure_that_is_being_made(tmp_path):
    wait = "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(60)"
    code = f"import sys; from launch import figures; figures.call([sys.executable, '-c', {wait!r}])"
    environ = os.environ | {"PYTHONPATH": str(processes.ROOT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "begun").exists():
        assert parent.poll() is None
        time.sleep(0.05)
    begin = time.monotonic()
    parent.send_signal(signal.SIGTERM)
    _, said = parent.communicate(timeout=30)
    assert parent.returncode == 75 and "the same command goes on" in said and time.monotonic() - begin < 30


def test_verdicts_are_computed_anew_from_points(items, tmp_path):
    figures.make(tmp_path, "good")
    file = tmp_path / "smoke" / "good.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"points": {"x": 2.0}}))
    figures.redraw(tmp_path, "good")
    assert records.read(tmp_path / "smoke", "good")["rows"][0]["verdict"] == verdict.DIFFERS


def test_equal_runs_share_a_folder_and_others_do_not(tmp_path):
    runs = [
        reproduce.Run("nice_digits:tiny", {}),
        reproduce.Run("nice_digits:tiny", {"seed": 0}),  # as it is
        reproduce.Run("nice_digits:tiny", {"seed": 1}),
        reproduce.Run("reflow_toy2d:tiny", {}, "launch.reflow"),
        reproduce.Run("reflow_toy2d:tiny", {"reflow.rounds": 2}, "launch.reflow"),
    ]
    tasks = [figures.task(tmp_path, run) for run in runs]
    assert tasks[0].workdir == tasks[1].workdir
    assert len({task.workdir for task in tasks}) == 4
    assert all(figures.last(task).parent == task.workdir for task in tasks[3:])


def test_features_reach_the_trainings_whose_fid_is_asked_for(tmp_path):
    runs = [reproduce.Run("ddpm_cifar10:tiny", {}, fid=fid) for fid in (True, False)]
    with flagsaver.as_parsed(features="gs://bucket/inception"):
        asked, other = (figures.task(tmp_path, run).config.metrics.features for run in runs)
    assert (asked, other) == ("gs://bucket/inception", "")
    full = [run for name in reproduce.names() for run in reproduce.item(name).runs("full").values()]
    assert {run.config for run in full if run.fid} == {"ddpm_cifar10", "rectified_flow_cifar10"}


def test_a_missing_training_is_started_and_a_finished_one_is_not(tmp_path, monkeypatch):
    started = []

    def local(tasks, root, dry_run):
        for task in tasks:
            started.append(task.name)
            assert (task.workdir / "frozen.json").exists()
            yield task.name, {}

    monkeypatch.setattr(figures.local, "run", local)
    runs = {"a": reproduce.Run("nice_digits:tiny", {}), "b": reproduce.Run("nice_digits:tiny", {"seed": 1})}
    first = figures.task(tmp_path, runs["a"]).workdir
    first.mkdir(parents=True)
    (first / "evaluation.json").write_text("{}")
    folders = figures.trained(tmp_path, runs)
    assert started == [figures.task(tmp_path, runs["b"]).name] and folders["a"] == first


def test_a_training_that_fails_names_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(figures.local, "run", lambda tasks, root, dry: [(t.name, UserError("no file.")) for t in tasks])
    with pytest.raises(UserError, match=r"1 of its 1 trainings failed: nice_digits_tiny-\w+: no file\."):
        figures.trained(tmp_path, {"a": reproduce.Run("nice_digits:tiny", {})})
