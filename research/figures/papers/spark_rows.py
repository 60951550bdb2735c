"""Seconds from a CSV to shards by rows: Spark on two cores beside pandas on one."""

import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from research.benchmarks import data
from research.figures import canvas
from research.reproduce import verdict

TITLE = "Preparing a table: Spark against pandas, by rows"
SOURCE = "no paper; research/benchmarks/data.py, from a CSV of numbers to binned shards, as commands"
MINUTES, FULL = 2, "2 CPU cores for about 0.2 h (to 2,000,000 rows)"
NEEDS = ("java", "pyspark", "pandas")
SIZES = {"smoke": (20_000, 500_000), "full": data.SIZES}
PANDAS = "from research.benchmarks.data_peers import by_pandas; by_pandas.prepare({source!r}, {folder!r}, target='y')"
STYLES = {"spark": ("#0072B2", "o", "-"), "pandas": ("#D55E00", "s", "--")}  # colour, marker, line
NAMES = {"spark": "Spark, local[2]: launch.prepare", "pandas": "pandas, one core"}


def runs(scale):
    """Nothing is trained."""
    return {}


def load(workdirs, scale):
    """{"rows": [int], "megabytes": of the CSV, "spark", "pandas": [wall s], "columns", "load"}."""
    found = {"rows": list(SIZES[scale]), "megabytes": [], "columns": data.COLUMNS, "load": os.getloadavg()[0]}
    found |= {name: [] for name in STYLES}
    for count in found["rows"]:
        with tempfile.TemporaryDirectory() as top:
            source = pathlib.Path(top, "table.csv")
            data.write_csv(source, count, data.COLUMNS)
            found["megabytes"].append(source.stat().st_size / 1e6)
            for name, command in commands(source, pathlib.Path(top)).items():
                found[name].append(data.timed(lambda command=command: run(command)))
    return found


def commands(source, folder):
    """{way: the command line after Python's} that makes shards of a CSV in a folder of its own."""
    options = [f"--input={source}", f"--output={folder / 'spark'}", "--target=y", "--master=local[2]"]
    by_pandas = PANDAS.format(source=str(source), folder=str(folder / "pandas"))
    return {"spark": ["-m", "launch.prepare", *options], "pandas": ["-c", by_pandas]}


def run(command):
    """Runs Python with these arguments. Raises CalledProcessError where it fails."""
    subprocess.run([sys.executable, *command], check=True, capture_output=True)


def ratios(points):
    """Spark's seconds over those of pandas, at each number of rows."""
    return [a / b for a, b in zip(points["spark"], points["pandas"])]


def more(points, name):
    """Seconds that a million rows more take, from the least to the most."""
    count, seconds = points["rows"], points[name]
    return 1e6 * (seconds[-1] - seconds[0]) / (count[-1] - count[0])


def rows(points):
    """Starting Spark takes the same time for few rows and for many, so its share falls."""
    ratio, count = ratios(points), points["rows"]
    told = ", ".join(f"{x:.2f}" for x in ratio)
    what = f"Spark's seconds over those of pandas, {count[0]:,} to {count[-1]:,} rows"
    return [verdict.trend(what, "falls with rows", told, ratio[-1] < ratio[0])]


def draw(points):
    """A matplotlib Figure: seconds by rows of both, and their ratio, logarithmic."""
    figure = canvas.figure(11, 4.4)
    left, right = figure.subplots(1, 2)
    for name, (colour, marker, line) in STYLES.items():
        label = f"{NAMES[name]} ({more(points, name):.0f} s a million rows more)"
        left.loglog(points["rows"], points[name], marker=marker, linestyle=line, color=colour, label=label)
    left.set(ylabel="wall seconds, start-up included", title=f"CSV of {points['columns']} columns to shards")
    left.legend(fontsize=8)
    right.semilogx(points["rows"], ratios(points), "D-", color="#009E73")
    for x, y, size in zip(points["rows"], ratios(points), points["megabytes"]):
        right.annotate(f"{y:.2f}\n{size:.0f} MB", (x, y), (0, 9), textcoords="offset points", ha="center", fontsize=8)
    right.axhline(1, color="0.4", linestyle="--")
    right.set(ylabel="Spark over pandas", title="ratio; below 1 Spark is faster")
    right.set_ylim(0, 1.25 * max([1, *ratios(points)]))
    low, high = np.array(points["rows"])[[0, -1]] * [0.7, 1.4]
    for axis in (left, right):
        axis.set(xlabel="rows", xlim=(low, high))
        axis.set_xticks(points["rows"], [f"{count:,}" for count in points["rows"]])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    return figure
