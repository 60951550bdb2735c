"""Trees on a table that is never whole in memory: the benchmark's own measure, on a small one."""

import pytest

from research.benchmarks.data_peers import external

pytestmark = pytest.mark.slow


def test_a_table_of_five_times_the_memory_it_takes():
    """Compiling takes more than this table; what a table adds to it stays below the limit."""
    figures = external.external_memory(rows=600_000, columns=200)
    assert figures["table"] == 4 * 600_000 * 200 == 5 * figures["limit"]
    assert 0 < figures["peak"] - figures["of_one_block"] < figures["limit"]
    assert figures["fits"] == (figures["peak"] < figures["limit"])
