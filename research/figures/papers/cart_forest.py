"""Where trees and forests part the plane; out-of-bag against held-out error; bias and variance of forests."""

import types

import numpy as np

from research.data import friedman, toy2d
from research.figures import bias_variance, boundary, canvas
from research.reproduce import verdict
from research.trees.estimators import DecisionTreeClassifier, RandomForestClassifier, RandomForestRegressor

TITLE = "Trees and forests: boundaries, out-of-bag errors, bias and variance"
SOURCE = "Breiman, Friedman, Olshen & Stone 1984; Breiman 2001, regression forests on Friedman's first function"
MINUTES, FULL = 1, None  # the paper's own size: 200 rows a training set, forests of 100 trees
SETS, ROWS, TEST, TREES, TRIED = 12, 200, 1000, 100, (1, 2, 4, 7, 10)
FLIPPED = 0.1  # share of the labels in the plane that are turned round
STYLES = {"test": ("#0072B2", "-", "o"), "oob": ("#D55E00", "--", "s")}
STYLES |= {"bias2": ("#009E73", "-.", "^"), "variance": ("#CC79A7", ":", "D")}
WORDS = {"test": "held-out error", "oob": "out-of-bag error", "bias2": "bias squared", "variance": "variance"}


def runs(scale):
    """Nothing is trained beforehand."""
    return {}


def load(workdirs, scale):
    """{"plane": boundaries and held-out errors, "tried": {k: of `forests`}}."""
    return {"plane": plane(), "tried": {str(k): forests(k) for k in TRIED}}


def plane(rows=300, trees=100, size=40):
    """Of figures.boundary, but "p" {name: [size, size] of the second class}, and {"error": {name: held-out share}}."""
    made = toy2d.load(types.SimpleNamespace(name="two_moons", size=rows, seed=0))
    (x, y), (test, truth) = (flipped(source, n) for source, n in ((made.train, rows), (made.test, 4000)))
    models = {f"CART, depth {depth}": DecisionTreeClassifier(max_depth=depth, random_state=0) for depth in (2, 5)}
    models["CART, pure leaves"] = DecisionTreeClassifier(random_state=0)
    models[f"forest of {trees}"] = RandomForestClassifier(trees, max_features=1, random_state=0)
    found = boundary.points({name: model.fit(x, y) for name, model in models.items()}, x, y, size)
    p = {name: np.round(np.array(of)[..., 1], 2) for name, of in found.pop("probability").items()}
    error = {name: 1 - float(model.score(test, truth)) for name, model in models.items()}
    return found | {"x": np.round(x, 3), "p": p, "error": error}


def flipped(source, rows):
    """(x [rows, 2], y [rows]) of the first rows of a source, a share FLIPPED of whose labels is turned round."""
    given = source.gather(np.arange(rows))
    return given["x"], given["condition"] ^ (np.random.default_rng(1).random(rows) < FLIPPED)


def forests(k, sets=SETS, rows=ROWS, trees=TREES, test=TEST):
    """{"oob", "test", "bias2", "variance": [T], squared errors by number of trees, means over training sets, "each":
    {"oob", "test": [S]} of whole forests, "correlation"} of forests that try k features at a node."""
    _, (x, _) = friedman.tables(1000, test)
    said, oob, noise = [], [], np.random.default_rng(0).standard_normal((sets, 1, test))
    for seed in range(sets):
        model = RandomForestRegressor(trees, max_features=k, oob_score=True, random_state=seed)
        said.append(bias_variance.each_tree(model.fit(*friedman.tables(seed, rows)[0]).forest_, x, 2 * rows))
        oob.append(model.oob_curve_)
    first = np.cumsum(said, axis=1) / np.arange(1, trees + 1)[:, None]
    error, oob = ((first - friedman.truth(x) - noise) ** 2).mean(axis=2), np.array(oob)
    found = {"oob": oob.mean(0), "test": error.mean(0)} | bias_variance.split(np.array(said), friedman.truth(x))
    each = {"oob": oob[:, -1], "test": error[:, -1]}
    return {name: np.round(value, 4) for name, value in found.items()} | {"each": each}


def rows(points):
    """What the books say of pure trees, out-of-bag errors, averaging and the number of features tried."""
    error, tried = points["plane"]["error"], points["tried"]
    k, some = _middle(tried)
    *_, pure, many = error.values()
    ratio = np.array(some["each"]["oob"]) / some["each"]["test"]
    left = some["test"][-1] - some["bias2"][-1] - some["variance"][-1]
    fall, shift = (abs(some[name][0] - some[name][-1]) for name in ("variance", "bias2"))
    averaged = ", ".join(f"{WORDS[name]} {some[name][0]:.2f} to {some[name][-1]:.2f}" for name in ("variance", "bias2"))
    rho = [of["correlation"] for of in tried.values()]
    alike, claim = f"{', '.join(f'{r:.2f}' for r in rho)} at k = {', '.join(tried)}", "estimates the held-out error"
    return [
        verdict.trend("held-out error, pure tree less forest", "forests beat single trees", pure - many, many < pure),
        verdict.trend(f"out-of-bag over held-out error, k = {k}", claim, ratio, abs(ratio.mean() - 1) < 0.1),
        verdict.number(f"error - bias^2 - variance, k = {k}: the noise's variance", 1.0, left, 0.1),
        verdict.trend(
            f"1 tree to {len(some['test'])}, k = {k}",
            "averaging lowers the variance and leaves the bias",
            averaged,
            some["variance"][-1] < some["variance"][0] / 2 and shift < fall / 10,
        ),
        verdict.trend(
            "correlation of two trees of a training set",
            "trees are the more alike, the more features a node tries",
            alike,
            bool((np.diff(rho) > 0).all()),
        ),
    ]


def _middle(tried):
    """(k, its points) in the middle of those that were tried."""
    return list(tried.items())[len(tried) // 2]


def draw(points):
    """Boundaries above; below errors by trees, bias and variance by trees and by k, and the correlation by k."""
    figure = canvas.figure(14, 7.2)
    above, below = figure.subplots(2, 4)
    for axis, name in zip(above, points["plane"]["p"]):
        _boundary(axis, points["plane"], name)
    above[0].legend(fontsize=8, loc="lower left")
    tried = points["tried"]
    (k, some), number = _middle(tried), [int(k) for k in tried]
    trees = range(1, len(some["oob"]) + 1)
    for axis, names in zip(below, (("test", "oob"), ("test", "bias2", "variance"), STYLES)):
        for name in names:
            color, style, marker = STYLES[name]
            by_trees = axis is not below[2]
            x, y = (trees, some[name]) if by_trees else (number, [of[name][-1] for of in tried.values()])
            axis.plot(x, y, style, color=color, marker=None if by_trees else marker, label=WORDS[name])
        axis.set(ylabel="squared error", ylim=(0, None))
        axis.legend(fontsize=8)
    for axis in below[:2]:
        axis.set(xlabel="trees", xscale="log", title=f"k = {k} features tried at a node")
    below[2].set(xlabel="k, features tried at a node", title=f"forests of {trees[-1]} trees")
    below[3].plot(number, [of["correlation"] for of in tried.values()], "o-", color="#000000")
    below[3].set(xlabel="k, features tried at a node", ylabel="correlation", ylim=(0, None))
    below[3].set_title("two trees of one training set")
    for axis in below:
        axis.grid(alpha=0.3)
    return figure


def _boundary(axis, plane, name):
    """A panel: the probability of the second class, where it is even, and the points of both."""
    p, x, label = (np.array(part) for part in (plane["p"][name], plane["x"], plane["label"]))
    axis.imshow(p, origin="lower", extent=plane["extent"], aspect="auto", cmap="PuOr", vmin=-0.3, vmax=1.3)
    axis.contour(p, [0.5], extent=plane["extent"], colors="black", linewidths=1)
    for k, (color, marker) in enumerate((("#D55E00", "o"), ("#0072B2", "^"))):
        look = {"c": color, "marker": marker, "edgecolors": "white", "linewidths": 0.3, "label": f"class {k}"}
        axis.scatter(*x[label == k].T, s=14, **look)
    axis.set(title=f"{name}: error {plane['error'][name]:.3f}", xlabel="$x_1$", ylabel="$x_2$")
