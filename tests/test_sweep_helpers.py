"""Helpers of sweeps: by hand, and by the distribution that draws have."""

import numpy as np
import pytest

from research import sweep
from research.errors import UserError

RATES = sweep.over("a.rate", [0.1, 0.2])


def test_products_run_the_last_list_fastest():
    assert sweep.product(RATES, sweep.seeds(2)) == [
        {"a.rate": 0.1, "seed": 0},
        {"a.rate": 0.1, "seed": 1},
        {"a.rate": 0.2, "seed": 0},
        {"a.rate": 0.2, "seed": 1},
    ]
    assert sweep.product(RATES) == RATES and sweep.product(RATES, []) == []
    with pytest.raises(UserError, match=r"two parts of a sweep set 'seed'"):
        sweep.product(sweep.seeds(2), RATES, sweep.seeds(3))


def test_zip_takes_lists_of_one_length():
    assert sweep.zip_(RATES, sweep.seeds(2, "data.seed")) == [
        {"a.rate": 0.1, "data.seed": 0},
        {"a.rate": 0.2, "data.seed": 1},
    ]
    with pytest.raises(UserError, match="not of 2 and 3 trials"):
        sweep.zip_(RATES, sweep.seeds(3))


def test_chain_and_generators():
    assert sweep.chain(RATES, sweep.seeds(1)) == [*RATES, {"seed": 0}]
    assert sweep.product((x for x in RATES), iter(sweep.seeds(2))) == sweep.product(RATES, sweep.seeds(2))


def test_draws_are_those_of_their_key_and_law():
    draws = [trial["x"] for trial in sweep.log_uniform("x", 1e-4, 1e-1, 4000, key=3)]
    assert draws == [trial["x"] for trial in sweep.log_uniform("x", 1e-4, 1e-1, 4000, key=3)]
    assert draws != [trial["x"] for trial in sweep.log_uniform("x", 1e-4, 1e-1, 4000, key=4)]
    assert all(type(x) is float and 1e-4 <= x <= 1e-1 for x in draws)
    decades = np.log10(draws)  # even on -4 .. -1: mean -2.5, variance 9/12
    np.testing.assert_allclose([decades.mean(), decades.var()], [-2.5, 0.75], atol=0.05)
    plain = np.array([trial["x"] for trial in sweep.uniform("x", -1.0, 3.0, 4000)])
    np.testing.assert_allclose([plain.mean(), plain.var()], [1.0, 16 / 12], atol=0.08)


@pytest.mark.parametrize(
    "value, word",
    [
        (1e-3, "1e-3"),
        (3e-4, "3e-4"),
        (0.00123, "1.23e-3"),
        (-5e-6, "-5e-6"),
        (0.01, "0.01"),
        (0.0, "0.0"),
        (2e3, "2000.0"),
    ]
    + [(True, "True"), (7, "7"), ("a b/c", "ab_c"), ((1, 2), "(1,2)")],
)
def test_names_are_readable(value, word):
    assert sweep.label({"optimizer.x": value, "seed": 0}) == f"x={word},seed=0"


def test_small_numbers_that_differ_have_names_that_differ():
    draws = sweep.log_uniform("x", 1e-9, 1.0, 500)
    assert len({sweep.label(trial) for trial in draws}) == len({trial["x"] for trial in draws})
    assert sweep.label({"x": 1.0000001e-3}) != sweep.label({"x": 1e-3})


def test_a_sweep_without_trials_says_so(tmp_path):
    file = tmp_path / "none.py"
    file.write_text("def sweep_x():\n    yield from ()\n")
    with pytest.raises(UserError, match=r"sweep 'x' in .*none.py yields no trials; let it yield at least one"):
        sweep.named(sweep.load_module(file), "x")
