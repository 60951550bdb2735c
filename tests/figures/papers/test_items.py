"""Laws of all items: they say what they are, their runs resolve, and what is kept of them can be drawn again."""

import json
import pathlib

import pytest

from launch import figures
from research import reproduce
from research.reproduce import page, records

KEPT = pathlib.Path(__file__).parents[3] / "docs" / "reproduction"
VERDICT = {"what", "paper", "ours", "interval", "seeds", "tolerance", "verdict"}
NUMBERS = dict.fromkeys(("ours", "interval"))


@pytest.mark.parametrize("name", reproduce.names())
def test_an_item_says_what_it_is(name):
    module = reproduce.item(name)
    assert module.TITLE and module.SOURCE and module.__doc__ and not module.SOURCE.endswith(".")
    assert 0 < module.MINUTES <= 4 and (module.FULL is None or module.FULL)


@pytest.mark.parametrize("scale", reproduce.SCALES)
@pytest.mark.parametrize("name", reproduce.names())
def test_its_runs_resolve(name, scale):
    for run in reproduce.item(name).runs(scale).values():
        config = figures.configured(run)
        assert config.model.name and run.module in ("launch.run", "launch.reflow")
        if scale == "full":
            assert ":" not in run.config  # no shortened config


@pytest.mark.parametrize("name", [n for n in reproduce.names() if (KEPT / "smoke" / f"{n}.json").exists()])
def test_what_is_kept_is_drawn_again_with_the_same_verdicts(name):
    record, module = records.read(KEPT / "smoke", name), reproduce.item(name)
    if "why" in record:
        pytest.skip(record["why"])
    drawn = module.draw(record["points"])
    assert drawn.axes
    rows = json.loads(json.dumps(records.plain(module.rows(record["points"]))))
    assert len(rows) == len(record["rows"]) and all(row.keys() == VERDICT for row in rows)
    for row, kept in zip(rows, record["rows"]):
        assert row | NUMBERS == kept | NUMBERS
        for key in NUMBERS:  # the last bit is numpy's of that day
            close(row[key], kept[key])


def close(found, kept):
    """Holds where numbers, alone or in lists, are those that are kept but for rounding; all else is equal."""
    if isinstance(found, list):
        assert len(found) == len(kept)
        for pair in zip(found, kept):
            close(*pair)
    elif isinstance(found, float):
        assert found == pytest.approx(kept, rel=1e-9, nan_ok=True)
    else:
        assert found == kept


def test_the_page_is_true_to_what_is_kept():
    file = KEPT.parents[1] / "REPRODUCTION.md"
    if not file.exists():
        pytest.skip("nothing is kept")
    found = {(s, n): records.read(KEPT / s, n) for s in reproduce.SCALES for n in reproduce.names()}
    mark = " (stale: code or config changed since)"
    assert file.read_text().replace(mark, "") == page.text(found)
