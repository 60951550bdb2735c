"""REPRODUCTION.md says what records say, at each scale apart."""

import re

from research import reproduce
from research.reproduce import page, verdict

ORIGIN = {
    **{"git": "0123456789abcdef+", "devices": 2, "device": "cpu", "jax": "0.10.2", "seconds": 61},
    **{"started": "2026-01-02T03:04:05+00:00", "code": "", "config": ""},
}
NAME = "receptive_fields"


def record(*rows):
    return {
        "points": {},
        "rows": list(rows),
        "origin": ORIGIN,
        "configs": ['nice_digits {"seed": 1}', "nice_digits {}"],
    }


def test_a_row_has_all_that_it_must():
    row = verdict.number("bits | dim", 2.5, [2.4, 2.6, 2.5], 0.1)
    text = page.text({("smoke", NAME): record(row)})
    module = reproduce.item(NAME)
    for part in (
        f"### `{NAME}`: {module.TITLE}",
        module.SOURCE,
        "`nice_digits`; commit 0123456+",
        "2 cpu",
        "61 s",
        "2026",
    ):
        assert part in text
    assert re.search(r"\| bits \\\| dim \| 2\.5 \| 2\.5 ± 0\.2484 \(of 3\) \| 0\.1 \| reproduced \|", text)
    assert "1 reproduced" in text


def test_scales_have_parts_of_their_own():
    smoke, full = verdict.number("small", 1, 1, 0), verdict.number("large", 1, 2, 0)
    text = page.text({("smoke", NAME): record(smoke), ("full", NAME): record(full)})
    first, second = text.split("## Scale full")
    assert "small" in first and "large" not in first and "1 reproduced" in first
    assert "large" in second and "small |" not in second and "1 differs" in second


def test_what_was_not_made_says_why():
    text = page.text({("smoke", NAME): {"why": "needs java"}})
    assert f"- `{NAME}`, {reproduce.item(NAME).TITLE}: not run: needs java" in text
    assert f"{len(reproduce.names())} figures not run" in text


def test_a_stale_row_says_so():
    records = {("smoke", NAME): record(verdict.number("x", 1, 1, 0))}
    assert "reproduced (stale: code or config changed since) |" in page.text(records, {("smoke", NAME)})
    assert "stale" not in page.text(records, {("full", NAME)})


def test_numbers_are_short_and_words_stay():
    assert [page.shown(x) for x in (None, 3, 0.123456, "falls", 1e-9)] == ["", "3", "0.1235", "falls", "1e-09"]
