"""Halving by hand: who goes on, what is recorded, and that a second run decides nothing anew."""

import json

import pytest

from research import halving
from research.errors import UserError


def curves(path, **values):
    """Trials with eval/loss at the steps 10, 20, ..."""
    for name, losses in values.items():
        (path / name).mkdir(exist_ok=True)
        lines = [{"step": 10 * (i + 1), "eval/loss": loss} for i, loss in enumerate(losses)]
        (path / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_worse_half_stops_and_is_recorded(tmp_path):
    curves(tmp_path, a=[3.0, 1.0], b=[1.0, 9.0], c=[2.0, 2.0], d=[None, 0.0], e=[5.0, 0.0])
    left = halving.decide(tmp_path, list("abcde"), "eval/loss", 10)
    assert left == list("abc")  # three of five; what is not a number is worst
    rung = {"step": 10, "metric": "eval/loss", "stopped": ["e", "d"]}
    rung["values"] = {"a": 3.0, "b": 1.0, "c": 2.0, "d": None, "e": 5.0}
    assert halving.load(tmp_path) == {"rungs": [rung]}
    assert halving.decide(tmp_path, left, "eval/loss", 20) == ["a", "c"]
    curves(tmp_path, a=[9.0], b=[0.0], c=[9.0])
    assert halving.decide(tmp_path, list("abcde"), "eval/loss", 10) == list("abc")  # what was decided stays
    assert [rung["step"] for rung in halving.load(tmp_path)["rungs"]] == [10, 20]


def test_a_small_share_is_good():
    assert halving.cost("dead_share", 0.1) < halving.cost("dead_share", 0.6)


def test_a_high_accuracy_is_good_and_the_first_of_equals_goes_on(tmp_path):
    for name, accuracy in {"a": 0.5, "b": 0.9, "c": 0.9, "d": 0.9}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps({"step": 5, "eval/accuracy": accuracy}) + "\n")
    assert halving.decide(tmp_path, list("abcd"), "eval/accuracy", 5) == ["b", "c"]


def test_steps_are_checked(tmp_path):
    for steps in ((20, 10), (10, 10), (0,)):
        with pytest.raises(UserError, match="steps from 1 up, each beyond the last"):
            halving.check(tmp_path, steps, "eval/loss")
    curves(tmp_path, a=[1.0], b=[2.0])
    halving.decide(tmp_path, ["a", "b"], "eval/loss", 10)
    halving.check(tmp_path, [10, 30], "eval/loss")
    for steps, metric in (([20], "eval/loss"), ([10], "loss"), ([], "eval/loss")):
        if steps:
            with pytest.raises(UserError, match=r"was halved by eval/loss at \[10\]; ask for the same again"):
                halving.check(tmp_path, steps, metric)
    with pytest.raises(UserError, match="no trial has a finite number 'eval/los' by step 20"):
        halving.decide(tmp_path, ["a", "b"], "eval/los", 20)
