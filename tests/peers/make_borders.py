"""Writes borders.json: the borders that CatBoost and XGBoost choose on a few columns.

python tests/peers/make_borders.py, by hand, where catboost and xgboost are installed. No test imports this file.

The table is five columns of the diabetes set; `holes` are (row, column) of numbers that a case takes out, `weights` go
with XGBoost's weighted case. CatBoost's borders come from its text file, nine digits each.
"""

import itertools
import json
import pathlib
import tempfile

import catboost
import numpy as np
import xgboost
from sklearn.datasets import load_diabetes

COLUMNS = [0, 2, 4, 5, 9]
MODES = {"forbid": "Forbidden", "min": "Min", "max": "Max"}


def from_catboost(x, **options):
    """Its borders of each column."""
    pool = catboost.Pool(x, np.zeros(len(x)))
    pool.quantize(**options)
    with tempfile.NamedTemporaryFile() as file:
        pool.save_quantization_borders(file.name)
        lines = [line.split() for line in pathlib.Path(file.name).read_text().splitlines()]
    return [[float(border) for column, border, *_ in lines if int(column) == f] for f in range(x.shape[1])]


def from_xgboost(x, bins, weight=None):
    """Its cuts of each column, with the one below and the one above all values."""
    matrix = xgboost.QuantileDMatrix(x, np.zeros(len(x)), max_bin=bins, weight=weight, nthread=1)
    ends, cuts = matrix.get_quantile_cut()
    return [cuts[a:b].tolist() for a, b in itertools.pairwise(ends)]


def main():
    """Write the file."""
    x = load_diabetes().data[:, COLUMNS].astype(np.float32)
    rng = np.random.default_rng(0)
    holes = np.stack([rng.permutation(len(x))[:60], rng.integers(0, 3, 60)], axis=1)  # the last two columns have none
    weights = rng.integers(1, 9, len(x)) / 4
    sparse = x.copy()
    sparse[tuple(holes.T)] = np.nan
    cases = [
        {"kind": kind, "count": count, "missing": mode, "borders": from_catboost(table, **options)}
        for table, modes in ((x, ["forbid"]), (sparse, ["min", "max"]))
        for mode in modes
        for kind, name, count in (
            ("greedy_log_sum", "GreedyLogSum", 254),
            ("greedy_log_sum", "GreedyLogSum", 64),
            ("greedy_log_sum", "GreedyLogSum", 15),
            ("uniform", "Uniform", 15),
            ("quantile", "Median", 31),
        )
        for options in [{"border_count": count, "feature_border_type": name, "nan_mode": MODES[mode]}]
    ]
    cases += [
        {"kind": "xgboost", "count": bins - 1, "missing": missing, "weighted": weighted, "borders": borders}
        for bins in (64, 256)
        for table, missing, weighted in ((x, "forbid", False), (x, "forbid", True), (sparse, "learn", False))
        for borders in [from_xgboost(table, bins, weights if weighted else None)]
    ]
    found = {"columns": COLUMNS, "holes": holes.tolist(), "weights": weights.tolist(), "cases": cases}
    found["versions"] = {module.__name__: module.__version__ for module in (catboost, xgboost)}
    pathlib.Path(__file__).with_name("borders.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
