"""Figures and tables of papers: what they need trained, what is kept of them, and what may be said of their numbers.

An item is a module of research/figures/papers with

    TITLE, SOURCE     what it shows; paper, number of the figure or table
    MINUTES, FULL     of scale smoke on 2 CPU cores; hardware and hours of scale full, None where it is as smoke
    NEEDS             commands and packages it cannot do without, such as ("java", "pyspark"); may be absent
    runs(scale)       {name: Run} that are trained first
    load(workdirs, scale) -> points   plain numbers for JSON, of {name: workdir}
    draw(points) -> a matplotlib Figure
    rows(points) -> [row]             of research.reproduce.verdict
"""

import importlib
import importlib.util
import pkgutil
import shutil
from typing import NamedTuple

from research.errors import UserError, nearest
from research.figures import papers

SCALES = ("smoke", "full")


class Run(NamedTuple):
    """A training that items need: configs/NAME.py with its argument, {dotted field: value}, and the command.

    fid: whether its FID is held against a paper's, where metrics.features is given.
    """

    config: str
    changes: dict
    module: str = "launch.run"
    fid: bool = False


def names():
    """The items that there are, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(papers.__path__))


def item(name):
    """The module of an item. Raises UserError where there is none of this name."""
    if name not in names():
        raise UserError(f"there is no figure '{name}'; {nearest(name, names())}")
    return importlib.import_module(f"{papers.__name__}.{name}")


def lacking(module):
    """What an item needs and this machine has not, such as "java"; None where all is there."""
    for need in getattr(module, "NEEDS", ()):
        if not (shutil.which(need) or importlib.util.find_spec(need)):
            return need
    return None
