"""launch.reflow as a process: rounds are ordinary workdirs, killed it goes on, and a mistake is one sentence."""

import json
import os
import shutil
import signal

import numpy as np
import pytest

from tests.launch.test_cli import mistaken
from tests.launch.test_kill import wait_for
from tests.processes import call, start

TINY = ["--config=configs/reflow_toy2d.py:tiny", "--config.sampler.name=euler"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(workdir, what was printed) of a whole pipeline."""
    path = tmp_path_factory.mktemp("reflow") / "run"
    finished = call("reflow", *TINY, f"--workdir={path}", "--distill=2")
    assert finished.returncode == 0, finished.stderr
    return path, finished


def test_every_round_is_a_workdir_and_the_table_is_there(done):
    path, finished = done
    lines = [json.loads(line) for line in finished.stdout.splitlines()]
    assert [line["round"] for line in lines] == ["round_1", "round_2", "student_2"]
    for folder in (path, path / "round_2", path / "student_2"):
        for name in ("config.json", "metrics.jsonl", "samples.npz", "evaluation.json", "sweep_few_steps.json"):
            assert (folder / name).exists(), (folder, name)
        assert (folder / "transport.json").exists() == (folder.name != "student_2")
    pairs = [
        json.loads((path / name / "config.json").read_text())["data"]["pairs"] for name in ("round_2", "student_2")
    ]
    assert pairs == [str(path / "pairs_2"), str(path / "pairs_3")]
    points = json.loads((path / "reflow.json").read_text())
    assert set(points) >= {"round_1", "round_2", "student_2"}
    assert (path / "reflow.png").stat().st_size > 10000


def test_the_same_command_finds_all_done(done):
    path, first = done
    before = {file: file.read_bytes() for file in path.rglob("*.npz")}
    again = call("reflow", *TINY, f"--workdir={path}", "--distill=2")
    assert again.returncode == 0 and again.stdout == first.stdout and again.stderr.count("is finished") == 3
    assert {file: file.read_bytes() for file in path.rglob("*.npz")} == before


def test_pairs_that_were_removed_when_done_with_stay_so(done, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(done[0], path)
    for name in ("pairs_2", "pairs_3"):
        shutil.rmtree(path / name)
    again = call("reflow", *TINY, f"--workdir={path}", "--distill=2", "--notable")
    assert again.returncode == 0 and not (path / "pairs_2").exists() and not (path / "pairs_3").exists()


def test_a_trained_run_is_taken_further_and_sampled_without_its_pairs(tmp_path):
    run = tmp_path / "run"
    trained = call(
        "run", "--config=configs/rectified_flow_toy2d.py:tiny", "--config.sampler.name=euler", f"--workdir={run}"
    )
    assert trained.returncode == 0, trained.stderr
    finished = call("reflow", f"--workdir={run}", "--num_pairs=64", "--notable", "--rounds=0")  # distils the first
    assert finished.returncode == 0, finished.stderr
    assert (run / "student_1" / "samples.npz").exists() and not (run / "round_2").exists()
    (run / "pairs_2").rename(tmp_path / "elsewhere")
    sampled = call("sample", f"--workdir={run}/student_1", "--num_samples=8", f"--out={tmp_path}/x.npz")
    assert sampled.returncode == 0, sampled.stderr


MISTAKES = {
    "no run": (["--workdir={tmp}/none"], "is not a workdir"),
    "rounds": ([*TINY, "--workdir={tmp}/r", "--rounds=-1"], "--rounds is -1"),
    "pairs": ([*TINY, "--workdir={tmp}/r", "--num_pairs=1"], "--num_pairs is 1"),
    "student": ([*TINY, "--workdir={tmp}/r", "--distill=0"], "--distill is 0"),
    "sampler": ([*TINY, "--workdir={tmp}/r", "--sampler=eulr"], "there is no sampler 'eulr'"),
    "other pairs": ([*TINY, "--workdir={run}", "--num_pairs=70"], "num_samples is 64 there, 70 here"),
    "compared with": ([*TINY, "--workdir={run}", "--distill=2", "--compare={tmp}/none"], "not a workdir"),
    "students of other pairs": ([*TINY, "--workdir={run}", "--distill=2", "--rounds=2"], "student_2 learned pairs_3"),
    "compared with itself": ([*TINY, "--workdir={run}", "--distill=2", "--compare={run}/round_2"], "folders' names"),
    "compared too late": ([*TINY, "--workdir={tmp}/r", "--compare={tmp}/none"], "none is not a workdir"),
    "another model": (["--config=configs/ddpm_digits.py:tiny", "--workdir={tmp}/r"], "not 'ddpm'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(name, done, tmp_path):
    arguments, words = MISTAKES[name]
    mistaken(call("reflow", *[a.format(run=done[0], tmp=tmp_path) for a in arguments]), words)
    assert not list(tmp_path.rglob("*.npz"))


def contents(path):
    """{file: arrays} of all that the pipeline computed."""
    found = {}
    for file in sorted(path.rglob("*.npz")):
        with np.load(file) as arrays:
            found[str(file.relative_to(path))] = {name: arrays[name] for name in arrays.files}
    return found


def same(a, b):
    assert set(a) == set(b)
    for file in a:
        assert set(a[file]) == set(b[file]), file
        for name in a[file]:
            np.testing.assert_array_equal(a[file][name], b[file][name], err_msg=f"{file} {name}")


LONGER = [*TINY, "--num_pairs=5000", "--notable", "--config.sampler.num_steps=400"]


@pytest.mark.slow
def test_killed_at_any_moment_no_pair_is_lost_and_none_doubled(tmp_path):
    """Killed in the midst of pairs, of trainings, and where the clock says: the bits of the one that nobody stopped."""
    whole = tmp_path / "whole"
    assert call("reflow", *LONGER, f"--workdir={whole}").returncode == 0
    wanted, killed, kills = contents(whole), tmp_path / "killed", 0
    x = np.concatenate([wanted[f"pairs_2/{i:05}.npz"]["noise"] for i in range(5)])
    assert len(x) == 5000 == len(np.unique(x, axis=0))
    moments = [
        lambda: (killed / "checkpoints" / "3").exists(),
        lambda: (killed / "pairs_2" / "00000.npz").exists(),
        lambda: (killed / "pairs_2" / "00003.npz").exists(),
        lambda: (killed / "round_2" / "config.json").exists(),
        lambda: list(killed.glob("round_2/checkpoints/*tmp*")),
        lambda: (killed / "pairs_3" / "00002.npz").exists(),
        lambda: (killed / "student_1" / "metrics.jsonl").exists(),
    ]
    for moment in moments:
        process = start("reflow", *LONGER, f"--workdir={killed}", folder=tmp_path)
        kills += wait_for(moment, process)
        process.kill()
        process.join()
    rng = np.random.default_rng(0)
    for _ in range(4):
        process = start("reflow", *LONGER, f"--workdir={killed}", folder=tmp_path)
        process.join(float(rng.uniform(0.5, 8.0)))
        process.kill()
        process.join()
    assert call("reflow", *LONGER, f"--workdir={killed}").returncode == 0
    assert kills >= 6
    same(contents(killed), wanted)


def test_asked_to_stop_between_two_shards(tmp_path):
    """SIGTERM while pairs are drawn: the shard under way is kept, and the process says that it goes on."""
    path = tmp_path / "run"
    process = start("reflow", *LONGER, "--num_pairs=50000", f"--workdir={path}", folder=tmp_path)
    assert wait_for(lambda: (path / "pairs_2" / "00000.npz").exists(), process)
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    said = (tmp_path / "stderr").read_text().strip().splitlines()[-1]
    assert process.exitcode == 75 and "the same command goes on from there" in said
    assert not (path / "round_2").exists()


def test_a_sweep_over_reflow_runs_the_whole_of_it(tmp_path):
    file = tmp_path / "one.py"
    file.write_text(
        "from configs.reflow_toy2d import get_config\n\n\ndef sweep_rounds():\n    yield {'reflow.rounds': 0}\n"
    )
    arguments = [f"--config={file}:tiny", "--config.sampler.name=euler", "--sweep=rounds", f"--workdir={tmp_path}/s"]
    done = call("sweep", *arguments)
    assert done.returncode == 0, done.stderr
    (line,) = (json.loads(line) for line in done.stdout.splitlines())
    student = json.loads((tmp_path / "s" / "rounds=0" / "student_1" / "evaluation.json").read_text())
    assert line["sliced_wasserstein/ours"] == student["sliced_wasserstein/ours"]
