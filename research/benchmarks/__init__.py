"""Benchmarks, one a module with `main() -> dict`; `launch.bench` runs them, and `page` makes BENCHMARKS.md of them.

A module's QUICK is what --quick changes: its own constants by their names, and by the name of an environment variable
the rows that it picks.
"""

import importlib
import os

from research.errors import UserError, nearest

NAMES = ("loop", "nets", "steps", "flows", "samplers", "couplings", "trees", "ensembles", "sweep", "data")
AGAINST = "BENCH_AGAINST"
PEERS = ("catboost", "xgboost", "lightgbm", "sklearn", "flowjax", "distrax", "normflows", "diffusers", "pot")


def picked(variable, parts):
    """The names that an environment variable picks of `parts`, with commas between; all by default.

    Raises UserError for one that is not there.
    """
    wanted = list(filter(None, os.environ.get(variable, "").split(","))) or list(parts)
    for name in wanted:
        if name not in parts:
            raise UserError(f"{variable} names the row '{name}'; {nearest(name, parts)}")
    return wanted


def unasked(peer):
    """Why that one of PEERS is left out, or None: the environment variable BENCH_AGAINST may name others."""
    if not os.environ.get(AGAINST) or peer in picked(AGAINST, PEERS):
        return None
    return f"absent: {AGAINST} names others"


def here(makers):
    """({peer: what makers has for it} of those that can be imported, {peer: its version, or why it is absent})."""
    about = {}
    for name in makers:
        try:
            about[name] = unasked(name) or importlib.import_module(name).__version__
        except ImportError as error:
            about[name] = f"absent: {error}"
    return {name: makers[name] for name, what in about.items() if not what.startswith("absent")}, about


def hasten(module):
    """Sets what a benchmark's QUICK says; rows that its environment variable picks already stay."""
    for name, value in module.QUICK.items():
        if hasattr(module, name):
            setattr(module, name, value)
        else:
            os.environ.setdefault(name, value)
