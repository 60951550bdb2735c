"""Orders of convergence on eight Gaussians, on another process than tests/samplers has, and the document of them."""

import pkgutil
import re

import pytest

from research import samplers
from tests.oracle import orders

TEXT = orders.DOCUMENT.read_text()


@pytest.mark.parametrize("row", orders.ODES)
def test_order_by_halving_on_the_variance_preserving_process(row):
    assert abs(orders.order(orders.flow_errors(row, "vp", (80, 160))) - orders.ODES[row][2]) < 0.1


@pytest.mark.parametrize(("row", "want"), [("ddpm", 1), ("ddim, eta 1/2", 1), ("dpm_solver_pp, sde", 2)])
def test_order_in_law_by_halving(row, want):
    assert abs(orders.order(orders.law_errors(row, "vp", (80, 160))) - want) < 0.1


def rows(text):
    return {cells[1].strip(" `"): cells for line in text.splitlines() if len(cells := line.split("|")) > 3}


def test_every_sampler_and_each_of_its_options_is_in_the_document():
    described = rows(TEXT.split("## ")[0])
    names = {module.name for module in pkgutil.iter_modules(samplers.__path__)} - samplers.HELPERS
    names -= {"probability_flow"}  # diffrax again
    assert set(described) - {"sampler", "---"} == names
    for name in names:
        options = set(samplers.takes(samplers.find(name))) - {"trajectory"}
        assert options == set(re.findall(r"`(\w+)`", described[name][6])), name


def test_the_measured_table_is_that_of_the_code():
    measured = TEXT.split(orders.MARKS[0])[1].split(orders.MARKS[1])[0]
    found = {tuple(c.strip() for c in line.split("|")[1:3]): line for line in measured.splitlines() if line[:1] == "|"}
    for row in (*orders.ODES, *orders.SDES, "diffrax"):
        assert {process for name, process in found if name == row} == set(orders.PROCESSES)
    for row, measure in (("heun", orders.flow_errors), ("ddpm", orders.law_errors)):
        printed = [float(cell) for cell in found[row, "rectified"].split("|")[3:5]]
        assert measure(row, "rectified", orders.STEPS[:2]) == pytest.approx(printed, rel=0.06)
