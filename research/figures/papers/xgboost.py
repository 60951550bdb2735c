"""XGBoost: where missing values go, what penalties do to a tree, and splits that are exact or proposed."""

import jax
import jax.numpy as jnp
import numpy as np

from research.data import friedman
from research.figures import canvas, learning_curve
from research.reproduce import Run, verdict
from research.trees import binning, boosting, levelwise, objectives
from research.trees.estimators import GradientBoostingClassifier, XGBoostClassifier

TITLE = "XGBoost: missing values, penalties, proposed splits"
SOURCE = "Chen & Guestrin 2016: algorithm 3, equations 5 to 7, figure 3"
MINUTES, FULL = 1, "2 CPU cores for 3 minutes, and the files of Adult"
SEEDS, SIDES = 3, {"learn": "learned", "min": "always left", "max": "always right"}
METHODS = {  # name in the figure: options; eps of the paper is 1 / max_bin
    "exact": {"tree_method": "exact"},
    "global, 3 buckets": {"tree_method": "approx", "proposals": "global", "max_bin": 3},
    "local, 3 buckets": {"tree_method": "approx", "proposals": "local", "max_bin": 3},
    "global, 20 buckets": {"tree_method": "approx", "proposals": "global", "max_bin": 20},
}
PENALTIES = {"lambda": 0, "alpha": 1, "gamma": 2}  # places among the arguments of `grower`
SIZES = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
LOOKS = (("#000000", "-", "o"), ("#D55E00", "--", "s"), ("#0072B2", "-.", "^"), ("#009E73", ":", "D"))


def runs(scale):
    """At scale full Adult, whose "?" go each of these ways."""
    return {side: Run("xgb_adult_missing", {"model.missing": side}) for side in SIDES} if scale == "full" else {}


def load(workdirs, scale):
    """{"missing": {side: [S, T]} held-out log-losses, "right": {column: share of gain}, "paths": {penalty: {"leaves",
    "weights"}}, "auc": {method: [S, rounds]}, "runs": {side: {"trees", "value"}} held-out log-losses}."""
    missing = {side: [sided(side, seed)[0] for seed in range(SEEDS)] for side in SIDES}
    grow = grower(*friedman.tables(0, 2000)[0])
    paths = {name: path(grow, place) for name, place in PENALTIES.items()}
    auc = {name: [rounds(how, seed) for seed in range(SEEDS)] for name, how in METHODS.items()}
    found = {name: next(iter(learning_curve.load([path]).values()))["eval/loss"] for name, path in workdirs.items()}
    return {"missing": missing, "right": sided("learn", 0)[1], "paths": paths, "auc": auc, "runs": found}


def hidden(seed, size=2000):
    """(x [N, 4], y [N]): half of the values above 0.6 in the first two columns, and of those below 0.4 in the others,
    are missing; y is 1 with log-odds 4 sum (2 x - 1)."""
    rng = np.random.default_rng(seed)
    x = rng.random((size, 4), np.float32)
    y = rng.random(size) < 1 / (1 + np.exp(-4 * (2 * x - 1).sum(axis=1)))
    far = np.where(np.arange(4) < 2, x > 0.6, x < 0.4)
    return np.where(far & (rng.random(x.shape) < 0.5), np.float32(np.nan), x), y.astype(int)


def sided(side, seed, trees=30):
    """([T] held-out log-losses, {column: share of its gain that splits with the missing on the right have})."""
    how = dict(newton=True, reg_lambda=1.0, min_child_weight=1.0, borders="xgboost", missing=side)
    model = GradientBoostingClassifier(n_estimators=trees, learning_rate=0.2, **how)
    model.fit(*hidden(2 * seed), eval_set=hidden(2 * seed + 1))
    of = model.ensemble_
    column, right, gain, inner = (np.asarray(a).ravel() for a in (of.feature, of.missing_right, of.gain, of.left > 0))
    gain = gain * inner
    share = {f"x{f + 1}": float(gain[(column == f) & right].sum() / gain[column == f].sum()) for f in range(4)}
    return np.round(model.evals_result_["validation_0"]["loss"], 5), share


def grower(x, y, depth=6):
    """A compiled function (lambda, alpha, gamma) -> boosting.Trees of one tree of squared errors, rate 1."""
    borders, objective = binning.find(x, "xgboost", 254), objectives.get("squared")
    codes, counts, y = jnp.asarray(binning.apply(borders, x)), jnp.asarray(borders.counts), jnp.asarray(y, jnp.float32)

    def run(l2, l1, gamma):
        tree = levelwise.Options(depth=depth, l2=l2, l1=l1, least_gain=jnp.maximum(gamma, 1e-6))
        how = boosting.Options(tree, rate=1.0, leaf_method="newton", hessian_score=True)
        state = boosting.init(y, None, objective, jax.random.key(0))
        return boosting.block(codes, counts, y, None, objective, how, state, 1, num_bins=borders.bins)[1]

    compiled = jax.jit(run)

    def grow(*penalties):
        with jax.enable_x64(True):
            return compiled(*map(np.float32, penalties))

    return grow


def path(grow, place, sizes=SIZES):
    """{"leaves", "weights": [P]}: how many leaves, and the root mean square of their weights over rows, by penalty."""
    found = {"leaves": [], "weights": []}
    for size in sizes:
        tree = grow(*(size if i == place else 0.0 for i in range(3)))
        w, rows = np.asarray(tree.leaves, float).ravel(), np.asarray(tree.cover, float).ravel()
        found["leaves"].append(int((np.asarray(tree.feature) >= 0).sum()) + 1)
        found["weights"].append(round(float(np.sqrt((rows * w**2).sum() / rows.sum())), 5))
    return found


def rounds(how, seed, size=2000, trees=60):
    """[T] held-out areas under the ROC curve after each round, of classes by Friedman's first function."""
    train, held_out = friedman.tables(seed, size, "friedman_classes")
    model = XGBoostClassifier(n_estimators=trees, learning_rate=0.1, eval_metric="auc", **how)
    return np.round(model.fit(*train, eval_set=held_out).evals_result_["validation_0"]["auc"], 5)


def rows(points):
    """Learned sides are the true ones and help, penalties prune and shrink, local proposals need fewer buckets."""
    last = {side: np.array(of)[:, -1] for side, of in points["missing"].items()}
    less, claim = np.minimum(last["min"], last["max"]) - last["learn"], "sides that are learned beat fixed ones"
    found = [verdict.trend("log-loss after 30 trees, better fixed side less learned", claim, less, less.min() > 0)]
    right, claim = points["right"], "each split learns the side where the missing belong"
    ours = ", ".join(f"{name} {share:.2f}" for name, share in right.items())
    holds = min(right["x1"], right["x2"]) > 0.9 and max(right["x3"], right["x4"]) < 0.1
    what = "share of gain with the missing on the right (of x1, x2 they are large)"
    found.append(verdict.trend(what, claim, ours, holds))
    for name, what in (("lambda", "weights"), ("alpha", "weights"), ("gamma", "leaves")):
        of, whose = points["paths"][name][what], ", which the code adds," if name == "alpha" else ""
        claim, ours = f"{what} shrink as {name}{whose} grows", f"{of[0]:.4g} to {of[-1]:.4g}"
        shrink = bool((np.diff(of) <= 1e-6).all())
        found.append(verdict.trend(f"{what}, {name} 0 to {SIZES[-1]:g}", claim, ours, shrink))
    exact, coarse, local, fine = (np.array(points["auc"][name])[:, -1] for name in METHODS)
    claim = "local proposals need fewer buckets than global ones"
    found.append(verdict.trend("AUC, local less global, 3 buckets", claim, local - coarse, (local - coarse).min() > 0))
    for name, some in (("local, 3 buckets", local), ("global, 20 buckets", fine)):
        claim = f"{name.replace(', ', ' with ')}, is as accurate as exact splits"
        found.append(verdict.trend(f"AUC, exact less {name}", claim, exact - some, (exact - some).mean() < 0.005))
    return found


def draw(points):
    """Log-losses by the side of missing values; leaves and weights by penalty; AUC by rounds; log-losses of runs."""
    figure = canvas.figure(13, 8)
    axes = figure.subplots(2, 2)
    for name, axis, of in (("missing", axes[0, 0], SIDES), ("auc", axes[1, 1], {name: name for name in METHODS})):
        for (key, values), (color, style, _) in zip(points[name].items(), LOOKS):
            mean = np.mean(values, axis=0)
            axis.plot(range(1, len(mean) + 1), mean, linestyle=style, color=color, label=of[key])
    for (side, of), (color, style, marker) in zip(points["runs"].items(), LOOKS):
        label = f"{SIDES[side]}, Adult"
        axes[0, 0].plot(of["trees"], of["value"], style, marker=marker, color=color, markersize=3, label=label)
    for (name, of), (color, style, marker) in zip(points["paths"].items(), LOOKS):
        for axis, what in ((axes[0, 1], "leaves"), (axes[1, 0], "weights")):
            axis.plot(SIZES, of[what], style, marker=marker, color=color, label=rf"$\{name}$")
    axes[0, 0].set(xlabel="trees", ylabel="held-out log-loss (nats)", title="side of missing values")
    axes[0, 1].set(
        xlabel="penalty", ylabel="leaves of the first tree", xscale="symlog", title="one penalty, the others 0"
    )
    axes[1, 0].set(
        xlabel="penalty", ylabel="root mean square of weights", xscale="symlog", title="one penalty, the others 0"
    )
    axes[1, 1].set(xlabel="rounds", ylabel="held-out AUC", title="exact and proposed splits")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure
