"""metrics.jsonl is the truth: whole lines, cut at the step a run resumes from; people see a bar or plain lines."""

import json

import pytest

from research import metrics_writer
from research.errors import UserError


def writer(tmp_path, step=0, **options):
    return metrics_writer.MetricsWriter(tmp_path, step, 100, **options)


def test_writes_a_line_a_step_without_the_clock(tmp_path, capfd):
    log = writer(tmp_path)
    for step in (10, 20):
        log.write(step, {"loss": 1.0 / step})
    log.close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 10, "loss": 0.1}\n{"step": 20, "loss": 0.05}\n'
    timing = metrics_writer.read(tmp_path / "timing.jsonl")
    assert [set(record) for record in timing] == [{"step", "seconds", "steps_per_second"}] * 2


def test_resuming_cuts_what_came_after_and_half_a_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 10, "loss": 1.0}\n{"step": 20, "loss": 2.0}\n{"step": 3')
    log = writer(tmp_path, step=10)
    log.write(20, {"loss": 3.0})
    log.close()
    assert [r["loss"] for r in metrics_writer.read(tmp_path / "metrics.jsonl")] == [1.0, 3.0]


def test_plain_lines_now_and_then_and_at_the_end(tmp_path, capfd, monkeypatch):
    clock = iter(range(0, 10000, 1))
    monkeypatch.setattr(metrics_writer.time, "monotonic", lambda: float(next(clock)) / 2)
    log = writer(tmp_path)
    for step in range(1, 101):
        log.progress(step)
    log.close()
    lines = capfd.readouterr().err.splitlines()
    assert 3 < len(lines) < 30
    assert lines[-1].startswith("step 100/100") and "steps/s" in lines[-1] and "s left" in lines[1]


def test_a_bar_on_a_terminal(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(metrics_writer.sys.stderr, "isatty", lambda: True, raising=False)
    log = writer(tmp_path, step=40)
    log.write(50, {"loss": 0.25})
    log.progress(50)
    log.close()
    assert log.bar.n == 50 and log.bar.total == 100
    assert "loss 0.25" in capfd.readouterr().err


def test_only_one_process_writes(tmp_path):
    log = writer(tmp_path, active=False)
    log.write(1, {"loss": 1.0})
    log.progress(1)
    log.close()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_sentence(tmp_path):
    log = writer(tmp_path)

    class Full:
        name = "metrics.jsonl"

        def write(self, _):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    log.files["metrics"].close()
    log.files["metrics"] = Full()
    with pytest.raises(UserError, match="cannot write metrics.jsonl: No space left on device"):
        log.write(1, {"loss": 1.0})
    log.close()


def test_numbers_survive_the_round_trip(tmp_path):
    log, value = writer(tmp_path), 0.1 + 0.2
    log.write(1, {"loss": value})
    log.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss"] == value
