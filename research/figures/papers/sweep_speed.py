"""A sweep as one program, beside a process that compiles each trial anew, and a command for each."""

import os
import pathlib
import tempfile

import numpy as np

from research import workdir
from research.benchmarks import sweep
from research.figures import canvas
from research.reproduce import verdict

TITLE = "A sweep as one compiled program"
SOURCE = "no paper; research/benchmarks/sweep.py, row toy2d, whole runs with data, samples and evaluation"
MINUTES, FULL = 2, "2 CPU cores for about 0.3 h (32 trials)"
CONFIG, FIELD, RATES, CHANGES = sweep.ROWS["toy2d"]
TRIALS = {"smoke": (RATES[1::3], 1), "full": (RATES, sweep.TRIALS // len(RATES))}  # rates, seeds of each
ONE, METRIC = "one program", "sliced_wasserstein/ours"
STYLES = {  # colour, hatch of a bar, marker
    ONE: ("#0072B2", "", "o"),
    "one process, each compiled anew": ("#E69F00", "//", "x"),
    "separate commands": ("#009E73", "..", "+"),
}


def runs(scale):
    """Nothing is trained before: the trainings are what is timed."""
    return {}


def load(workdirs, scale):
    """{"trials", "load", "seconds": {way: wall s}, "found": {way: [[rate, seed, distance to the data]]}}."""
    rates, seeds = TRIALS[scale]
    about = {"trials": len(rates) * seeds, "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as top:
        file = pathlib.Path(top, "experiment.py")
        file.write_text(sweep.FILE.format(config=CONFIG, changes=CHANGES, rates=rates, seeds=seeds, field=FIELD))
        folders = {way: pathlib.Path(top, str(i)) for i, way in enumerate(STYLES)}
        lines = commands(file, rates, seeds)
        seconds = {way: sweep.seconds(lines[way](folder)) for way, folder in folders.items()}
        return about | {"seconds": seconds, "found": {way: distances(folder) for way, folder in folders.items()}}


def commands(file, rates, seeds):
    """{way: function of a folder -> the command lines, one after another, that run all trials there}."""
    options = [[f"--config.{FIELD}={rate}", f"--config.seed={seed}"] for rate in rates for seed in range(seeds)]
    config, one = f"--config={file}", ["--sweep=all", "--backend=one_program"]
    makers = (
        lambda folder: [["-m", "launch.sweep", config, *one, f"--workdir={folder}"]],
        lambda folder: [["-c", sweep.ANEW, str(file), str(folder)]],
        lambda folder: [["-m", "launch.run", config, *x, f"--workdir={folder}/{i}"] for i, x in enumerate(options)],
    )
    return dict(zip(STYLES, makers))


def distances(folder):
    """[[rate, seed, METRIC]] of the finished trials in a folder, in order."""
    found = []
    for path in sorted(file.parent for file in folder.glob("*/evaluation.json")):
        config = workdir.load_config(path)
        section, _, name = FIELD.partition(".")
        found.append([config[section][name], config["seed"], workdir.load_evaluation(path)[METRIC]])
    return sorted(found)


def rows(points):
    """How many times as long the others take, and that all give the same numbers."""
    seconds, found = points["seconds"], points["found"]
    rest = [way for way in STYLES if way != ONE]
    same = [[trial[:2] for trial in found[way]] == [trial[:2] for trial in found[ONE]] for way in rest]
    ours, *others = (np.array([distance for *_, distance in found[way]]) for way in (ONE, *rest))
    apart = max(np.abs(other / ours - 1).max() for other in others) if all(same) else np.inf
    return [
        verdict.number("largest difference of a trial's distance to the data, relative", 0, apart, 1e-3),
        *(
            verdict.trend(
                f"seconds of {way} over one program's, {points['trials']} trials",
                "one program is faster",
                ratio,
                ratio > 1,
            )
            for way in rest
            for ratio in [seconds[way] / seconds[ONE]]
        ),
    ]


def draw(points):
    """A matplotlib Figure: wall seconds of each way, and the trials' results by learning rate."""
    figure = canvas.figure(12, 4.2)
    left, right = figure.subplots(1, 2)
    seconds = points["seconds"]
    for place, (way, (colour, hatch, marker)) in enumerate(STYLES.items()):
        left.barh(place, seconds[way], color=colour, hatch=hatch, edgecolor="white")
        told = f" {seconds[way]:.1f} s" + (f", {seconds[way] / seconds[ONE]:.1f} x" if way != ONE else "")
        left.text(seconds[way], place, told, va="center", fontsize=9)
        x, _, y = zip(*points["found"][way])
        hollow = {"markerfacecolor": "none"} if way == ONE else {}
        right.semilogx(x, y, marker, color=colour, markersize=11, markeredgewidth=2, label=way, **hollow)
    left.set_yticks(range(len(STYLES)), [way.replace(", ", ",\n") for way in STYLES])
    left.set(xlabel="wall seconds, with start-up, compiling and evaluation", xlim=(0, 1.3 * max(seconds.values())))
    left.set(ylabel="way to run them", title=f"{points['trials']} trials")
    left.invert_yaxis()
    right.set(
        xlabel="learning rate", ylabel="sliced Wasserstein distance (data's unit)", title="what each trial reached"
    )
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure
