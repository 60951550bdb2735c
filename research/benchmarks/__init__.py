"""Benchmarks, one a module with `main() -> dict`; `launch.bench` runs them."""

import os

from research.errors import UserError, nearest


def picked(variable, parts):
    """The names that an environment variable picks of `parts`, with commas between; all by default.

    Raises UserError for one that is not there.
    """
    wanted = list(filter(None, os.environ.get(variable, "").split(","))) or list(parts)
    for name in wanted:
        if name not in parts:
            raise UserError(f"{variable} names the row '{name}'; {nearest(name, parts)}")
    return wanted
