"""Which features a random forest goes by: what they lower the impurity by, and what the score loses without them."""

import numpy as np

from research.figures import canvas
from research.trees import explain


def points(model, x, y, repeats=10, seed=0):
    """{feature: {"impurity" or "permutation": (mean, deviation)}}, the most important by permutation first.

    model: a fitted estimator with a `forest_` of classes or numbers; x [N, F], y [N]: rows, better held-out ones. The
    deviation is one over trees, or over `repeats` shuffles of a column; the score is accuracy, or R2.
    """
    forest, y = model.forest_, np.asarray(y)
    classes = getattr(model, "classes_", None)

    def score(raw):
        if classes is not None:
            return np.mean(classes[raw.argmax(axis=1)] == y)
        return 1 - np.mean((raw[:, 0] - y) ** 2) / y.var()

    kinds = {
        "impurity": explain.of_trees(forest),
        "permutation": explain.permutation(forest, x, score, seed, repeats, each=True).T,
    }
    names = forest.names or [f"feature {f}" for f in range(forest.columns)]
    order = np.argsort(-kinds["permutation"].mean(axis=0), kind="stable")
    found = {kind: (values.mean(axis=0), values.std(axis=0)) for kind, values in kinds.items()}
    return {names[f]: {k: (float(m[f]), float(s[f])) for k, (m, s) in found.items()} for f in order}


def draw(points):
    """A matplotlib Figure: bars with a deviation each way, by impurity at the left, by permutation at the right."""
    figure = canvas.figure(9, 1.5 + 0.3 * len(points))
    labels = {"impurity": "share of what the impurity falls by", "permutation": "fall of the score when shuffled"}
    axes, place = figure.subplots(1, 2, sharey=True), range(len(points))
    for axis, (kind, label) in zip(axes, labels.items()):
        mean, deviation = zip(*(of[kind] for of in points.values()))
        axis.barh(place, mean, xerr=deviation, color="C0", ecolor="0.3", capsize=2)
        axis.set(xlabel=label)
        axis.grid(alpha=0.3, axis="x")
    axes[0].set_yticks(place, points)
    axes[0].invert_yaxis()
    return figure
