"""A gallery of activations: each function of one input and its derivative, on common axes."""

import jax
import jax.numpy as jnp
import numpy as np

from research.figures import canvas
from research.nets.activations import TABLE

COLUMNS = 4
HALF_WIDTH, LOW, HIGH = 4.0, -2.0, 4.0  # the axes of every panel
FUNCTION, DERIVATIVE = "#0072B2", "#D55E00"  # blue and vermilion of Okabe and Ito, told apart by every eye


def points(count=201):
    """What the figure plots: {"x": [count], "curves": {name: {"formula", "value": [count], "slope": [count]}}}.

    Slopes are autodiff's; learned parameters have their starting values.
    """
    rows = {name: row for name, row in TABLE.items() if row.slope_at_0 is not None}
    x = jnp.linspace(-HALF_WIDTH, HALF_WIDTH, count)
    drawn = jax.jit(lambda x: {name: jax.vmap(jax.value_and_grad(row.function))(x) for name, row in rows.items()})(x)
    curves = {
        name: {"formula": row.formula, "value": _plain(drawn[name][0]), "slope": _plain(drawn[name][1])}
        for name, row in rows.items()
    }
    return {"x": _plain(x), "curves": curves}


def _plain(values):
    return np.round(np.asarray(values, np.float64), 6).tolist()


def draw(points):
    """A matplotlib Figure of `points()`, a panel for each curve. Raises UserError where matplotlib is not installed."""
    curves = points["curves"]
    rows = -(-len(curves) // COLUMNS)
    figure = canvas.figure(3 * COLUMNS, 2.1 * rows + 0.5)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, (name, curve) in zip(panels, curves.items()):
        panel.axhline(0, color="0.8", linewidth=0.8)
        panel.axvline(0, color="0.8", linewidth=0.8)
        panel.plot(points["x"], curve["slope"], color=DERIVATIVE, linestyle="--", linewidth=1.4, label="derivative")
        panel.plot(points["x"], curve["value"], color=FUNCTION, linewidth=1.8, label="function")
        panel.set_title(f"{name.replace('_', ' ')}\n{curve['formula']}", fontsize=9)
        panel.set(xlim=(-HALF_WIDTH, HALF_WIDTH), ylim=(LOW, HIGH))
    for panel in panels[len(curves) :]:
        panel.remove()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure
