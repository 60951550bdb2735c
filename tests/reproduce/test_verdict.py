"""Verdicts follow from numbers alone."""

import math

import pytest
from scipy import stats

from research.reproduce import verdict


@pytest.mark.parametrize(("ours", "tolerance", "expected"), [
    (3.0, 0, verdict.REPRODUCED),
    (3.0 + 1e-9, 0, verdict.DIFFERS),
    (3.09, 0.1, verdict.REPRODUCED),
    (3.11, 0.1, verdict.DIFFERS),
    ([2.9, 3.1], 0.01, verdict.REPRODUCED),
    (math.nan, 1e9, verdict.DIFFERS),
])  # fmt: skip
def test_a_number_is_reproduced_within_its_tolerance(ours, tolerance, expected):
    assert verdict.number("x", 3.0, ours, tolerance)["verdict"] == expected


def test_a_trend_holds_or_differs():
    assert verdict.trend("x", "falls", 1.0, True)["verdict"] == verdict.TREND
    assert verdict.trend("x", "falls", "1 then 2", False) | {"ours": 0} == {
        **{"what": "x", "paper": "falls", "ours": 0, "interval": None, "seeds": None, "tolerance": None},
        "verdict": verdict.DIFFERS,
    }


def test_another_metric_says_which_and_gives_no_verdict_on_the_number():
    row = verdict.other_metric("FID", 3.17, 0.03, "sliced Wasserstein")
    assert row["verdict"] == verdict.METRIC and "sliced Wasserstein" in row["what"]


def test_the_interval_is_students():
    mean, width, number = verdict.spread([1.0, 2.0, 3.0])
    assert (mean, number) == (2.0, 3)
    low, high = stats.t.interval(0.95, 2, loc=2.0, scale=1 / math.sqrt(3))
    assert width == pytest.approx((high - low) / 2)
    assert verdict.spread(5) == (5.0, None, 1)


@pytest.mark.parametrize(("ours", "expected"), [
    (None, verdict.METRIC),
    (3.3, verdict.REPRODUCED),
    (3.4, verdict.DIFFERS),
])  # fmt: skip
def test_a_fid_is_held_against_the_papers_only_where_there_is_one(ours, expected):
    row = verdict.fid("FID", 3.17, ours, 0.2)
    assert (row["verdict"], row["ours"]) == (expected, ours or 0.2)
