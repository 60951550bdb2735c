"""Training error, its bound and held-out error by stage of an AdaBoost classifier, and how margins are spread.

The bound is the product of 2 sqrt(e (1 - e)). The least margins grow on when no training row is wrong any more, and the
held-out error may fall with it (Schapire et al. 1998).
"""

import numpy as np

from research.errors import UserError
from research.figures import canvas


def points(model, train, held_out, stages=(1, 5, 50, 500)):
    """{"train", "held_out", "bound": [T]} by stage and {"margins": {stage: [N], ascending}} of rows of `train`.

    model: a fitted AdaBoostClassifier of two classes; train and held_out: pairs (x, y); margins of the stages it has.
    Raises UserError for more classes.
    """
    if len(model.classes_) != 2:
        raise UserError(f"the bound is that of two classes; the model has {len(model.classes_)}: fit it to two.")
    rows = {"train": train, "held_out": held_out}
    found = {name: [1 - score for score in model.staged_score(*pair)] for name, pair in rows.items()}
    sign = np.where(np.asarray(train[1]) == model.classes_[1], 1, -1)
    margins = [np.sort(sign * score / 2).tolist() for score in model.staged_decision_function(train[0])]
    kept = sorted({min(stage, len(margins)) for stage in stages})
    return found | {"bound": model.bound_.tolist(), "margins": {stage: margins[stage - 1] for stage in kept}}


def draw(points):
    """A matplotlib Figure: errors and the bound at the left, at the right the share of rows up to each margin."""
    figure = canvas.figure(10, 4.5)
    left, right = figure.subplots(1, 2)
    stages = range(1, len(points["bound"]) + 1)
    for name, label, style in (
        ("bound", "bound", ":"),
        ("train", "training rows", "--"),
        ("held_out", "held out", "-"),
    ):
        left.plot(stages, points[name], style, label=label)
    left.set(xlabel="stages", ylabel="error", xscale="log", ylim=(0, None))
    for i, (stage, margins) in enumerate(points["margins"].items()):
        share = np.arange(1, len(margins) + 1) / len(margins)
        label = f"{stage} stage{'s' if stage > 1 else ''}"
        right.step(margins, share, where="post", color=f"C{i}", label=label)
    right.set(xlabel="margin", ylabel="share of training rows", xlim=(-1, 1), ylim=(0, 1))
    right.axvline(0, color="black", linewidth=0.5)
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure
