"""Gradient boosting: small steps and many trees, rows drawn for each tree, and three losses where targets are wrong."""

import numpy as np

from research.data import friedman
from research.figures import canvas, learning_curve
from research.reproduce import Run, verdict
from research.trees import prediction
from research.trees.estimators import GradientBoostingRegressor

TITLE = "Gradient boosting: shrinkage, sampling and losses under outliers"
SOURCE = "Friedman 2001, sections 4 and 5; Friedman 2002"
MINUTES, FULL = 1, "2 CPU cores for 5 minutes, and the file of California housing"
SEEDS, ROWS, DEPTH, EVERY = 6, 500, 3, 10  # tables, their rows, of trees; errors are kept after so many trees
TREES, RATES, SHARE = 500, (1.0, 0.5, 0.25, 0.1, 0.06), 0.5  # the share of the rows that a tree draws
LOSSES, WRONG, FEW = ("squared", "absolute", "huber:delta=2"), (0.0, 0.05, 0.1, 0.2), 150  # shares of targets; trees
FAR = 30.0  # deviation of what is added to a wrong target; all targets have 5, the noise 1
COLORS = ("#000000", "#D55E00", "#E69F00", "#009E73", "#0072B2", "#CC79A7", "#56B4E9")
STYLES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ((0, (5, 1)), "v"), ((0, (1, 1)), "x"))


def runs(scale):
    """At scale full the rates on California housing."""
    size = {"model.num_trees": 800, "train.num_steps": 80}
    if scale == "smoke":
        return {}
    return {f"rate {rate:g}": Run("mart_california", size | {"model.learning_rate": rate}) for rate in RATES}


def load(workdirs, scale):
    """{"trees": [T], "rates": {name: [S, T]}, held-out squared errors by tables, "losses": {loss: [shares, S]},
    "runs": {name: {"trees", "value"}}}."""
    curves = {f"rate {rate:g}": shrunk(rate) for rate in RATES}
    curves[f"rate 0.1, {SHARE:g} of the rows a tree"] = shrunk(0.1, SHARE)
    losses = {loss: [[spoilt(loss, share, seed) for seed in range(SEEDS)] for share in WRONG] for loss in LOSSES}
    found = {name: next(iter(learning_curve.load([path]).values()))["eval/mse"] for name, path in workdirs.items()}
    return {"trees": list(range(EVERY, TREES + 1, EVERY)), "rates": curves, "losses": losses, "runs": found}


def shrunk(rate, share=1.0, trees=TREES):
    """[S, T / EVERY], held-out squared errors by number of trees, a table a seed."""
    found = []
    for seed in range(SEEDS):
        train, (x, y) = friedman.tables(seed, ROWS)
        model = GradientBoostingRegressor(**_how(seed, trees), learning_rate=rate, subsample=share).fit(*train)
        stages = prediction.staged(model.ensemble_, x, EVERY)
        found.append([round(float(((np.asarray(said)[:, 0] - y) ** 2).mean()), 4) for said in stages])
    return found


def spoilt(loss, wrong, seed, trees=FEW):
    """The squared error on rows whose targets are right, of a loss fitted to targets of which a share is wrong."""
    (x, y), (test, truth) = friedman.tables(seed, ROWS)
    rng = np.random.default_rng([seed, 1])
    y = y + FAR * (rng.random(len(y)) < wrong) * rng.standard_normal(len(y))
    model = GradientBoostingRegressor(loss=loss, **_how(seed, trees)).fit(x, y)
    return float(((model.predict(test) - truth) ** 2).mean())


def _how(seed, trees):
    return {"n_estimators": trees, "max_depth": DEPTH, "random_state": seed}


def rows(points):
    """That small rates end lower and take more trees, that sampling helps, that robust losses lose little."""
    curves, trees, losses = points["rates"], points["trees"], {k: np.array(v) for k, v in points["losses"].items()}
    least = {name: np.min(of, axis=1) for name, of in curves.items()}
    one, *_, small = (f"rate {rate:g}" for rate in RATES)
    less, claim = least[one] - least[small], "small steps reach lower held-out errors"
    found = [verdict.trend(f"lowest squared error, {one} less {small}", claim, less, less.min() > 0)]
    best = [trees[int(np.mean(curves[f"rate {rate:g}"], axis=0).argmin())] for rate in RATES]
    claim, what = (
        "and take more trees",
        f"trees with the lowest error, rates {', '.join(f'{rate:g}' for rate in RATES)}",
    )
    found.append(verdict.trend(what, claim, ", ".join(map(str, best)), bool((np.diff(best) >= 0).all())))
    whole, drawn = least["rate 0.1"], least[next(name for name in curves if "rows" in name)]
    claim, what = (
        "drawing half of the rows for a tree lowers the error",
        f"lowest error, {SHARE:g} less all of the rows",
    )
    mean, interval, _ = verdict.spread(drawn - whole)
    found.append(verdict.trend(what, claim, drawn - whole, mean + interval < 0))
    squared, absolute, huber = (losses[name] for name in LOSSES)
    for name, robust in (("absolute", absolute), ("Huber's", huber)):
        ratio, claim = squared[-1] / robust[-1], "wrong targets cost squared errors more than robust losses"
        found.append(verdict.trend(f"squared over {name}, {WRONG[-1]:g} wrong", claim, ratio, ratio.min() > 1.5))
    ratio, claim = huber[0] / squared[0], "Huber's loss loses little where all targets are right"
    return [*found, verdict.trend("Huber's over squared, none wrong", claim, ratio, ratio.mean() < 1.1)]


def draw(points):
    """Held-out errors by number of trees, by the share of wrong targets, and those of runs."""
    figure = canvas.figure(6.2 * (3 if points["runs"] else 2), 4.8)
    axes = np.ravel(figure.subplots(1, 3 if points["runs"] else 2))
    for (name, of), color, (style, _) in zip(points["rates"].items(), COLORS, STYLES):
        axes[0].plot(points["trees"], np.mean(of, axis=0), linestyle=style, color=color, label=name)
    for (name, of), color, (style, marker) in zip(points["losses"].items(), COLORS[1::2], STYLES):
        mean, low, high = (f(np.array(of), axis=1) for f in (np.mean, np.min, np.max))
        axes[1].errorbar(
            WRONG, mean, (mean - low, high - mean), linestyle=style, marker=marker, color=color, capsize=3, label=name
        )
    for (name, of), color, (style, _) in zip(points["runs"].items(), COLORS, STYLES):
        axes[2].plot(of["trees"], of["value"], linestyle=style, color=color, label=f"{name}, California housing")
    axes[0].set(
        xlabel="trees", ylabel="held-out squared error", xscale="log", ylim=(0, 8), title="Friedman's function, noise 1"
    )
    axes[1].set(
        xlabel="share of wrong targets",
        ylabel="squared error on right targets",
        yscale="log",
        title=f"{FEW} trees, rate 0.1",
    )
    axes[1].set_yticks([3, 5, 10, 20, 50], ["3", "5", "10", "20", "50"])
    axes[1].minorticks_off()
    if points["runs"]:
        axes[2].set(xlabel="trees", ylabel="held-out squared error (dollars squared)", yscale="log")
    for axis in axes:
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8)
    return figure
