"""AdaBoost's error beside its bound, how margins grow on, and which points carry the weight."""

import json
import types

import numpy as np

from research.data import digits, toy2d
from research.figures import adaboost_bound, canvas
from research.reproduce import Run, verdict
from research.trees.estimators import AdaBoostClassifier

TITLE = "AdaBoost: bound, margins and weights"
SOURCE = "Freund & Schapire 1997, theorem 6; Schapire, Freund, Bartlett & Lee 1998"
MINUTES, FULL = 0.5, "2 CPU cores for a minute, and the files of Adult"
SPLITS, STAGES, DEPTH, SHOWN = 3, 300, 4, (5, 30, 300)  # of digits; of trees; stages whose margins are shown
ROUNDS, FLIPPED = (1, 10, 100), 0.05  # of stumps on the moons, a share of whose labels is turned round
ERRORS = (3 / 10, 3 / 14, 2 / 11)  # of the textbook's three stages, in exact arithmetic
LOOKS = (("#0072B2", ":"), ("#D55E00", "--"), ("#009E73", "-"))


def runs(scale):
    """At scale full stumps on Adult, whose error is below the bound, too."""
    return {"adult": Run("adaboost_adult", {})} if scale == "full" else {}


def load(workdirs, scale):
    """{"ten": of the textbook's points, "digits": `curves` of each split, "moons", and of runs "train" and "bound"}."""
    x, y = np.arange(10.0)[:, None], np.array([1, 1, 1, 0, 0, 0, 1, 1, 1, 0])
    model = AdaBoostClassifier(n_estimators=3).fit(x, y)
    ten = {"weights": model.estimator_weights_, "wrong": int((model.predict(x) != y).sum())}
    found = {"ten": ten, "digits": [curves(seed) for seed in range(SPLITS)], "moons": moons(), "runs": []}
    for path in workdirs.values():
        lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        kept = [line for line in lines if "bound" in line]
        found["runs"].append(
            {"train": [line["train_error"] for line in kept], "bound": [line["bound"] for line in kept]}
        )
    return found


def curves(seed, stages=STAGES, rows=1200, shown=SHOWN):
    """Of adaboost_bound for even and odd digits, split anew by `seed`, with margins at 201 shares of the training rows,
    and "least": [T], the least one."""
    data = digits.load(None)
    parts = [source.gather(np.arange(source.size)) for source in (data.train, data.test)]
    x, y = (np.concatenate([part[name].reshape(len(part[name]), -1) for part in parts]) for name in ("x", "condition"))
    x, y, order = x.astype(np.float32), y[:, 0] % 2, np.random.default_rng(seed).permutation(len(x))
    train, held_out = ((x[some], y[some]) for some in (order[:rows], order[rows:]))
    model = AdaBoostClassifier(n_estimators=stages, max_depth=DEPTH).fit(*train)
    found = adaboost_bound.points(model, train, held_out, range(1, stages + 1))
    margins, places = found.pop("margins"), np.linspace(0, 1, 201)
    found = {name: np.float64(np.float32(value)).round(8) for name, value in found.items()}
    found["margins"] = {t: np.round(np.quantile(margins[t], places), 3) for t in margins if t in shown}
    return found | {"least": [round(of_stage[0], 4) for of_stage in margins.values()]}


def moons(rows=200, rounds=ROUNDS):
    """{"x": [N, 2], "y", "flipped": [N], "weight": {round: [N]}}: what points weigh before a round of stumps."""
    given = toy2d.load(types.SimpleNamespace(name="two_moons", size=rows, seed=0)).train.gather(np.arange(rows))
    flipped = np.random.default_rng(1).random(rows) < FLIPPED
    x, y = given["x"], given["condition"] ^ flipped
    w = weights(AdaBoostClassifier(n_estimators=max(rounds)).fit(x, y), x, y)
    of_round = {t: np.round(w[t - 1], 6) for t in rounds if t <= len(w)}
    return {"x": np.round(x, 3), "y": y, "flipped": flipped.astype(int), "weight": of_round}


def weights(model, x, y):
    """[T + 1, N], what rows weigh before each stage and after the last: exp(-y F), of sum 1."""
    sign, alpha = np.where(y == model.classes_[1], 1, -1), np.cumsum(model.estimator_weights_)
    scores = [a * score / 2 for a, score in zip(alpha, model.staged_decision_function(x))]
    w = np.exp(-sign * np.stack([np.zeros(len(x)), *scores]))
    return w / w.sum(axis=1, keepdims=True)


def carriers(w):
    """How many of the heaviest points have half of the weight w [N]."""
    return int(np.searchsorted(np.cumsum(np.sort(w)[::-1]), 0.5 * np.sum(w)) + 1)


def rows(points):
    """Exact weights and the bound; margins grow and held-out errors fall on where no training row is wrong."""
    ten, moons = points["ten"], points["moons"]
    found = [
        verdict.number(f"weight of stage {i + 1}, the textbook's ten points", np.log((1 - e) / e) / 2, weight, 1e-6)
        for i, (e, weight) in enumerate(zip(ERRORS, ten["weights"]))
    ]
    found.append(verdict.number("of these points told wrong by three stages", 0, ten["wrong"], 0))
    both = [(np.array(one["train"]), np.array(one["bound"])) for one in (*points["digits"], *points["runs"])]
    above = [int((train > bound + 1e-6).sum()) for train, bound in both]
    found.append(verdict.number("stages with training errors above prod 2 sqrt(e (1 - e))", 0, above, 0))
    for name, what, sign in (("held_out", "the held-out error falls", -1), ("least", "the least margin grows", 1)):
        pairs = [(np.array(one["train"]) == 0, one[name]) for one in points["digits"]]
        change = [of[-1] - of[int(right.argmax())] for right, of in pairs]
        holds = all(right.any() for right, _ in pairs) and all(sign * each > 0 for each in change)
        claim = f"{what} on when no training row is wrong"
        found.append(verdict.trend(f"{name.replace('_', '-')}: last stage less the first such", claim, change, holds))
    few = [carriers(w) for w in moons["weight"].values()]
    share = [float(np.dot(w, moons["flipped"])) for w in moons["weight"].values()]
    ours = f"{', '.join(map(str, few))} of {len(moons['x'])}; wrong labels weigh {share[0]:.2f} to {share[-1]:.2f}"
    holds = bool((np.diff(few) < 0).all() and share[-1] > share[0])
    what = f"points with half of the weight, rounds {', '.join(moons['weight'])}"
    return [*found, verdict.trend(what, "weight gathers on the points that are hard to tell", ours, holds)]


def draw(points):
    """Errors beside the bound, margins and the least one; the moons, the area of a point being its weight."""
    figure = canvas.figure(13, 7.6)
    above, below = figure.subplots(2, 3)
    first, last = points["digits"][0], points["moons"]["weight"]
    stages = range(1, len(first["bound"]) + 1)
    for (color, style), name, label in zip(
        LOOKS, ("bound", "train", "held_out"), ("bound", "training rows", "held out")
    ):
        above[0].plot(stages, first[name], style, color=color, label=label)
    for (color, style), (stage, margins) in zip(LOOKS, first["margins"].items()):
        above[1].plot(margins, np.linspace(0, 1, len(margins)), style, color=color, label=f"{stage} stages")
    for (color, style), (i, one) in zip(LOOKS, enumerate(points["digits"])):
        above[2].plot(stages, one["least"], style, color=color, label=f"split {i + 1}")
    above[0].set(title=f"even or odd digits, trees of depth {DEPTH}", xlabel="stages", ylabel="error", xscale="log")
    above[1].set(title="margins of training rows", xlabel="margin", ylabel="share of training rows", xlim=(-0.5, 1))
    above[2].set(title="the least margin", xlabel="stages", ylabel="margin", xscale="log")
    for axis in above:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    for axis, (stage, w) in zip(below, last.items()):
        _weighed(axis, points["moons"], stage, np.array(w))
    return figure


def _weighed(axis, moons, stage, w):
    """A panel: points of two classes, wrong labels ringed, areas by weight."""
    x, y, flipped = (np.array(moons[name]) for name in ("x", "y", "flipped"))
    for k, (color, marker) in enumerate((("#D55E00", "o"), ("#0072B2", "^"))):
        here = y == k
        axis.scatter(*x[here].T, s=1 + 3000 * w[here], c=color, marker=marker, alpha=0.7, label=f"class {k}")
    ring = dict(s=12, facecolors="none", edgecolors="black", linewidths=0.8, label="wrong label")
    axis.scatter(*x[flipped == 1].T, **ring)
    axis.set(title=f"weights before round {stage}", xlabel="$x_1$", ylabel="$x_2$")
    for handle in axis.legend(fontsize=8, loc="lower left").legend_handles:
        handle.set_sizes([20])
