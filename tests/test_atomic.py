"""No file is ever half-written."""

import os

import pytest

from research.atomic import replacing


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_block_that_fails_leaves_what_was_there(tmp_path, old):
    target = tmp_path / "x.json"
    if old is not None:
        target.write_bytes(old)
    with pytest.raises(ZeroDivisionError), replacing(target) as file:
        file.write(b"half")
        file.flush()
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ([] if old is None else ["x.json"])
    assert old is None or target.read_bytes() == old


def test_a_block_that_ends_well_replaces_it_at_once(tmp_path):
    target = tmp_path / "x.json"
    target.write_bytes(b"old")
    with replacing(str(target)) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old" and len(os.listdir(tmp_path)) == 2
    assert target.read_bytes() == b"new" and os.listdir(tmp_path) == ["x.json"]
