"""What classifiers say of each place in the plane, beside the points that they were fitted to."""

import numpy as np

from research.figures import canvas

COLORS = np.array([(0.12, 0.47, 0.71), (1.0, 0.5, 0.05), (0.17, 0.63, 0.17), (0.84, 0.15, 0.16), (0.58, 0.4, 0.74)])


def points(models, x, y, size=200):
    """{"x": [N, 2], "label": [N], "extent": [4], "probability": {name: [size, size, K]}} of {name: fitted classifier}.

    label: the place of y among the classes; rows of a probability go upwards.
    """
    x, (classes, label) = np.asarray(x), np.unique(y, return_inverse=True)
    margin = 0.05 * np.ptp(x, axis=0)
    low, high = x.min(0) - margin, x.max(0) + margin
    grid = np.stack(np.meshgrid(*(np.linspace(a, b, size) for a, b in zip(low, high))), -1).reshape(-1, 2)
    found = {
        name: model.predict_proba(grid).reshape(size, size, len(classes)).tolist() for name, model in models.items()
    }
    extent = [low[0], high[0], low[1], high[1]]
    return {"x": x.tolist(), "label": label.tolist(), "extent": [float(e) for e in extent], "probability": found}


def draw(points):
    """A matplotlib Figure: one panel a classifier, colours of classes mixed by their probabilities, and the points."""
    names = list(points["probability"])
    figure = canvas.figure(3.6 * len(names), 3.6)
    x, label, colors = np.array(points["x"]), np.array(points["label"]), COLORS[np.arange(10) % len(COLORS)]
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        p = np.array(points["probability"][name])
        mixed = 1 - 0.6 * (1 - p @ colors[: p.shape[2]])
        axis.imshow(mixed, origin="lower", extent=points["extent"], aspect="auto", interpolation="nearest")
        best = p.argmax(2)
        if best.min() < best.max():
            axis.contour(
                best, [k + 0.5 for k in range(best.max())], extent=points["extent"], colors="black", linewidths=1
            )
        axis.scatter(*x.T, c=colors[label], s=8, edgecolors="white", linewidths=0.3)
        axis.set(title=name, xticks=[], yticks=[])
    return figure
