"""CatBoost's two ideas: trees with one question a level, and statistics of categories that see only rows before."""

import time

import numpy as np
from sklearn.metrics import log_loss

from research.data import friedman
from research.figures import canvas, learning_curve
from research.reproduce import Run, verdict
from research.trees import categorical, prediction
from research.trees.estimators import (
    GradientBoostingRegressor,
    ObliviousBoostingClassifier,
    ObliviousBoostingRegressor,
)

TITLE = "Oblivious trees, and ordered target statistics"
SOURCE = "Prokhorenkova et al. 2018, sections 3.2 and 5, ablation of target statistics"
MINUTES, FULL = 1, "2 CPU cores for 4 minutes, and the files of Adult"
SEEDS, SIZE, EVERY = 3, 4000, 5  # tables, their rows; errors are kept after so many trees
TREES, DEPTH, ROUNDS = 200, 6, 100  # trees of both shapes; trees on categories
LEVELS, TABLE, COPIES = (400, 2000), 4000, 25  # categories of the two columns, rows with them; of SIZE rows to predict
WORDS = {"ordered": "ordered statistics", "greedy": "greedy statistics", "codes": "plain codes"}
ADULT = 0.26974  # nats, the paper's tuned log-loss
RUNS = {"ordered statistics": Run("catboost_adult", {}), "plain codes": Run("gbdt_oblivious_adult", {})}
LOOKS = (("#0072B2", "-", "o"), ("#D55E00", "--", "s"), ("#009E73", "-.", "^"))


def runs(scale):
    """At scale full Adult, with ordered statistics of its words and with their plain codes."""
    return RUNS if scale == "full" else {}


def load(workdirs, scale):
    """{"shapes": {kind: of `shaped`}, "codings": {coding: {"train", "test": [S, T]} log-losses}, "least": [S] those of
    the true probabilities, "leak": [accuracies of training and held-out rows], "runs": {name: {"trees", "value"}}}."""
    made = [categories(seed) for seed in range(SEEDS)]
    codings = {}
    for name in WORDS:
        each = [coded(name, *tables[:2], seed) for seed, tables in enumerate(made)]
        codings[name] = {part: [of[part] for of in each] for part in ("train", "test")}
    found = {name: next(iter(learning_curve.load([path]).values()))["eval/loss"] for name, path in workdirs.items()}
    return {
        "shapes": {name: shaped(name) for name in ("oblivious", "level by level")},
        "codings": codings,
        "least": [log_loss(y, p) for _, (_, y), p in made],
        "leak": leak(),
        "runs": found,
    }


def shaped(kind):
    """{"error": [S, T] held-out squared errors by trees, "fit", "predict": seconds, the least of several tries}."""
    kinds = {"oblivious": ObliviousBoostingRegressor, "level by level": GradientBoostingRegressor}
    own = {"oblivious": {"l2_leaf_reg": 1.0, "score_function": "l2"}, "level by level": {"reg_lambda": 1.0}}[kind]
    found = {"error": [], "fit": [], "predict": []}
    for seed in range(SEEDS + 1):  # the first one compiles, and its time is left out
        (x, y), (test, truth) = friedman.tables(max(seed - 1, 0), SIZE)
        model = kinds[kind](n_estimators=TREES, max_depth=DEPTH, borders="quantile", border_count=64, **own)
        many = np.tile(test, (COPIES, 1))
        for what, do in (("fit", lambda: model.fit(x, y)), ("predict", lambda: model.predict(many))):  # noqa: B023
            begin = time.perf_counter()
            do()
            found[what].append(time.perf_counter() - begin)
        stages = prediction.staged(model.ensemble_, test, EVERY)
        found["error"].append([round(float(((np.asarray(raw)[:, 0] - truth) ** 2).mean()), 4) for raw in stages])
    return {"error": found["error"][1:], "fit": min(found["fit"][1:]), "predict": min(found["predict"][1:])}


def categories(seed, rows=TABLE, levels=LEVELS):
    """((x, y) to fit to, (x, y) held out, p of the latter): x [N, 3] is a number and two columns of categories; y is 1
    with log-odds that the number and the first column's category add up to; the second says nothing."""
    rng = np.random.default_rng(seed)
    number, codes = rng.standard_normal(2 * rows), [rng.integers(0, n, 2 * rows) for n in levels]
    effect = 1.5 * rng.standard_normal(levels[0])
    p = 1 / (1 + np.exp(-number - effect[codes[0]]))
    x, y = np.stack([number, *codes], axis=1).astype(np.float32), (rng.random(2 * rows) < p).astype(int)
    return (x[:rows], y[:rows]), (x[rows:], y[rows:]), p[rows:]


def coded(how, train, held_out, seed, trees=ROUNDS):
    """{"train", "test": [T] log-losses by trees} of oblivious trees on numbers that `how` makes of categories.

    "ordered": a row's statistic is of the rows before it in a random order; "greedy": of all, itself too.
    """
    (x, y), (test, truth) = train, held_out
    if how == "codes":
        columns, held, borders = x, test, "greedy_log_sum"
    else:
        encoder = categorical.find(x, y, (1, 2), classes=2)
        held, borders = np.asarray(categorical.encode(encoder, test)), categorical.borders_of(encoder, x)
        columns = np.asarray(categorical.encode(encoder, x))
        if how == "ordered":
            columns = categorical.ordered(encoder, x, y, np.random.default_rng(seed).permutation(len(y)), 2)
    model = ObliviousBoostingClassifier(n_estimators=trees, learning_rate=0.1, max_depth=4, borders=borders)
    losses = model.fit(columns, y, eval_set=[(columns, y), (held, truth)]).evals_result_.values()
    return {part: np.round(of["loss"][EVERY - 1 :: EVERY], 5) for part, of in zip(("train", "test"), losses)}


def leak(rows=1000):
    """[accuracy on rows that were fitted to, on others] of one split on the greedy statistic of a column of values
    that all differ; as many labels are 1 as 0. The paper's example, section 3.2."""
    x, y = np.arange(2 * rows, dtype=np.float32)[:, None], np.arange(2 * rows) % 2
    encoder = categorical.find(x[:rows], y[:rows], (0,), classes=2)
    parts = [np.asarray(categorical.encode(encoder, part)) for part in (x[:rows], x[rows:])]
    borders = categorical.borders_of(encoder, x[:rows])
    model = ObliviousBoostingClassifier(n_estimators=1, max_depth=1, borders=borders).fit(parts[0], y[:rows])
    return [float(model.score(part, labels)) for part, labels in zip(parts, (y[:rows], y[rows:]))]


def rows(points):
    """The leak is exact; ordered statistics are best on held-out rows; oblivious trees are as good, and faster."""
    what = "accuracy of one split on a greedy statistic of unique values"
    found = [
        verdict.number(f"{part} {what}", paper, ours, 1e-6)
        for part, paper, ours in zip(("training", "held-out"), (1.0, 0.5), points["leak"])
    ]
    least = {name: np.min(of["test"], axis=1) for name, of in points["codings"].items()}
    for other in ("greedy", "codes"):
        more, claim = least[other] - least["ordered"], f"ordered statistics beat {WORDS[other]} on held-out rows"
        what = f"lowest log-loss (nats), {WORDS[other]} less ordered"
        found.append(verdict.trend(what, claim, more, more.min() > 0))
    gap = {name: np.subtract(of["test"], of["train"])[:, -1] for name, of in points["codings"].items()}
    more, claim = gap["greedy"] - gap["ordered"], "greedy statistics leak: training losses are far below held-out ones"
    found.append(verdict.trend("held-out less training log-loss, greedy less ordered", claim, more, more.min() > 0))
    flat, deep = points["shapes"].values()
    ratio, what = np.min(flat["error"], axis=1) / np.min(deep["error"], axis=1), "oblivious over level by level"
    claim = "oblivious trees overfit less, at least not more"
    found.append(verdict.trend(f"lowest squared error, {what}", claim, ratio, ratio.mean() < 1.02))
    ratio, claim = flat["predict"] / deep["predict"], "oblivious trees predict faster"
    found.append(verdict.trend(f"time to predict on this machine, {what}", claim, ratio, ratio < 1))
    if points["runs"]:
        ours = points["runs"]["ordered statistics"]["value"][-1]
        found.append(verdict.number("log-loss, Adult (theirs is tuned)", ADULT, ours, 0.001))
    return found


def draw(points):
    """Errors of both shapes by trees, log-losses of codings by trees, and those of runs."""
    figure = canvas.figure(6.2 * (3 if points["runs"] else 2), 4.8)
    axes = np.ravel(figure.subplots(1, 3 if points["runs"] else 2))
    trees, fewer = (np.arange(EVERY, most + 1, EVERY) for most in (TREES, ROUNDS))
    for (name, of), (color, style, _) in zip(points["shapes"].items(), LOOKS):
        label = f"{name}: {of['fit']:.2f} s to fit, {1e6 * of['predict'] / COPIES / SIZE:.2f} us a row to predict"
        axes[0].plot(trees, np.mean(of["error"], axis=0), style, color=color, label=label)
    for (name, of), (color, _, marker) in zip(points["codings"].items(), LOOKS):
        for part, style, face, words in (("test", "-", color, "held out"), ("train", ":", "none", "training")):
            look = {"marker": marker, "markevery": 4, "color": color, "mfc": face, "label": f"{WORDS[name]}, {words}"}
            axes[1].plot(fewer, np.mean(of[part], axis=0), style, **look)
    axes[1].axhline(np.mean(points["least"]), color="black", linewidth=1, label="true probabilities, held out")
    for (name, of), (color, style, _) in zip(points["runs"].items(), LOOKS):
        axes[2].plot(of["trees"], of["value"], style, color=color, label=f"{name}, Adult")
        axes[2].set(ylabel="held-out log-loss (nats)")
    axes[0].set(ylabel="held-out squared error", yscale="log", title="Friedman's function; times of this machine")
    axes[0].set_yticks([1, 2, 3, 5, 10], ["1", "2", "3", "5", "10"])
    axes[0].minorticks_off()
    axes[1].set(ylabel="log-loss (nats)", title=f"{LEVELS[0]} categories that matter, {LEVELS[1]} that do not")
    for axis in axes:
        axis.set(xlabel="trees")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[1].legend(fontsize=8, loc="center right", bbox_to_anchor=(1, 0.6))
    return figure
