"""The scaling of a DiT-XL, from the committed cells and from cells written by hand."""

import json

import pytest

from research.aot import table, topologies
from research.errors import UserError
from research.figures.papers import scaling
from research.reproduce import records, verdict


def cell(devices, total, fsdp=8, fits=True, sent=100, efficiency=0.9):
    """What docs/aot.json keeps of a step, of what is read here."""
    known = {"devices": devices, "mesh": {"data": devices // fsdp, "fsdp": fsdp}, "fits": fits, "hbm_per_device": 16}
    known |= {"state_per_device": {"params": 80 // fsdp, "opt": 160 // fsdp}, "bytes_per_device": {"total": total}}
    if not fits:
        return known | {"collectives": None, "error": "too large"}
    bound = {"efficiency": efficiency, "limit": "hbm"}
    kinds = {"all-gather": {"count": 3, "bytes": 2 * 10**9}, "all-to-all": {"count": 1, "bytes": 5}}
    return known | {"collectives": kinds, "sent_per_device": sent, "roofline_bound": bound}


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """Cells in a file that the item reads; a function writes them anew."""
    found = {f"{scaling.WEAK}v5p:{n}": cell(n, 1000 + n, sent=100 + n) for n in (64, 8)}
    found |= dict(zip(scaling.STRONG, (cell(4, 9000, 4, False), cell(256, 700), cell(1024, 400))))
    monkeypatch.setattr(scaling, "FILE", tmp_path / "aot.json")

    def write(changes=()):
        scaling.FILE.write_text(json.dumps({"other | v5e-4": {}} | found | dict(changes)))
        return records.plain(scaling.load({}, "smoke"))

    return write


def test_columns_go_by_chips(cells):
    points = cells()
    assert points["weak"]["chips"] == [8, 64] and points["weak"]["total"] == [1008, 1064]
    assert points["weak"]["state"] == [30, 30] and points["strong"]["state"] == [60, 30, 30]
    assert points["strong"]["fits"] == [False, True, True] and points["strong"]["efficiency"] == [None, 0.9, 0.9]
    assert points["strong"]["collectives"][0] == {} and points["weak"]["collectives"][0]["all-gather"] == 2 * 10**9


def test_rows_turn_with_the_cells(cells):
    rows = scaling.rows(cells())
    assert [row["verdict"] for row in rows] == [verdict.REPRODUCED] + [verdict.TREND] * 4
    assert [row["ours"] for row in rows] == pytest.approx([2, 400 / 9000, 1064 / 1008, 164 / 108, 0.9])
    weak = f"{scaling.WEAK}v5p:64"
    bends = (
        ({scaling.STRONG[0]: cell(4, 9000, 4, False) | {"state_per_device": {"params": 40}}}, [0]),
        ({scaling.STRONG[2]: cell(1024, 800)}, [1]),
        ({weak: cell(64, 1300, sent=150)}, [2]),
        ({weak: cell(64, 1064, sent=220)}, [3]),
        ({weak: cell(64, 1064, sent=150, efficiency=0.79)}, [4]),
    )
    for change, which in bends:
        found = scaling.rows(cells(change))
        assert [i for i, row in enumerate(found) if row["verdict"] == verdict.DIFFERS] == which


def test_a_file_that_is_absent_or_lacks_cells_is_named(cells, tmp_path):
    with pytest.raises(UserError, match="aot.json is not there"):
        scaling.load({}, "smoke")
    with pytest.raises(UserError, match="lacks steps of rectified_flow_imagenet64_dit"):
        cells({f"{scaling.WEAK}v5p:64": cell(64, 1e6, fits=False)})
    scaling.FILE.write_text("{}")
    with pytest.raises(UserError, match="launch.aot --all"):
        scaling.load({}, "smoke")


def test_the_committed_cells():
    assert scaling.NAME == table.SCALED and {name.split(" | ")[1] for name in scaling.STRONG} <= set(topologies.SOLD)
    points = records.plain(scaling.load({}, "smoke"))
    assert points["weak"]["chips"] == [8, 64, 256, 512, 2048, 6144] and points["strong"]["chips"] == [4, 256, 1024]
    assert len(json.dumps(points)) < 10_000
    assert scaling.rows(points)[0]["ours"] == pytest.approx(2, abs=0.01)
    for name in ("weak", "strong"):
        found = points[name]
        assert all(total <= hbm for total, hbm, fits in zip(found["total"], found["hbm"], found["fits"]) if fits)


def test_three_panels_with_labels(cells):
    pytest.importorskip("matplotlib")
    axes = scaling.draw(json.loads(json.dumps(cells()))).axes
    assert len(axes) == 3 and all(axis.get_xlabel() == "chips" and axis.get_ylabel() for axis in axes)
    labels = [line.get_label() for line in axes[1].lines]
    assert labels == ["all-gather, payload", "sent, all of them"]  # what is below 10 MB is left out
    assert axes[0].lines[0].get_ydata() == pytest.approx([1008 / 2**30, 1064 / 2**30])
    assert axes[2].lines[0].get_ydata().tolist() == [90, 90]
    assert [text.get_text() for text in axes[0].texts] == ["does not fit"]


def test_nothing_is_trained():
    assert scaling.runs("smoke") == scaling.runs("full") == {} and scaling.FULL is None
