"""Activations with their derivatives, and how far an error gets through thirty layers of some."""

import functools

import jax
import numpy as np

from research import data, results, workdir
from research.figures import activations, canvas, gradient_depth
from research.reproduce import Run, verdict

TITLE = "Activations, and depth against gradient norm"
SOURCE = "Glorot & Bengio 2010, figure 7; He et al. 2015, section 2.2 and figure 3"
MINUTES, FULL = 1.5, "1 GPU for about 0.5 h (MNIST, 20,000 steps a net)"
NETS = {  # activation, start of its kernels, what a layer multiplies an error's norm by if infinitely wide
    "relu, He": ("relu", "he", 1.0),
    "relu, Glorot": ("relu", "glorot", 0.5**0.5),
    "tanh, Glorot": ("tanh", "glorot", None),
    "sigmoid, Glorot": ("sigmoid", "glorot", None),
}
STYLES = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#009E73", "D", "-."), ("#CC79A7", "^", ":"))
SGD = {"optimizer.name": "sgd", "optimizer.learning_rate": 1e-2}  # as the papers: Adam makes small gradients large
SMALL = {"train.num_steps": 500, "train.eval_every": 0, "train.checkpoint_every": 0}
SEEDS, COUNT, COLUMNS = 5, 101, 6  # of starts; points of a curve; panels in a row
CLAIMS = "a net of 30 layers learns from He's start, and stalls at Glorot's", "sigmoid loses the error on its way down"


def runs(scale):
    """A perceptron of 30 layers for each of NETS: on digits for a few steps, at scale full on MNIST."""
    changes = {"data.name": "mnist", "train.num_steps": 20000} if scale == "full" else SMALL
    return {
        name: Run("activations_mlp", changes | SGD | {"model.activation": activation, "model.initializer": initializer})
        for name, (activation, initializer, _) in NETS.items()
    }


def load(workdirs, scale):
    """{"gallery": of figures.activations, "norms": {net: of figures.gradient_depth}, "factors": {net: [SEEDS]},
    "accuracy": {net: share}}."""
    curves = gradient_depth.load(workdirs.values())
    found = {name: workdir.load_evaluation(path)["accuracy"] for name, path in workdirs.items()}
    return {
        "gallery": activations.points(COUNT),
        "norms": {name: curves[path.name] for name, path in workdirs.items()},
        "factors": {name: factors(results.load(path)[0], range(SEEDS)) for name, path in workdirs.items()},
        "accuracy": found,
    }


def factors(built, seeds):
    """What a layer of an untrained net multiplies the norm of an error by on its way down, a number a seed.

    It is the root of depth - 1 of the norm in front of the first layer over that in front of the last.
    """
    batch = next(data.epochs(built.dataset.test, 256))
    loss = jax.jit(functools.partial(built.model.loss, train=False))
    found = []
    for seed in seeds:
        params = built.program.params(built.program.init(jax.random.key(seed)))
        norms = np.asarray(loss(params, jax.random.key(0), batch)[1][0]["gradient"], float)
        found.append(float((norms[0] / norms[-1]) ** (1 / (len(norms) - 1))))
    return found


def rows(points):
    """Relu's factors are exact in wide nets; what tanh and sigmoid do, and who learns, are the papers' claims."""
    found, accuracy = points["factors"], points["accuracy"]
    exact = [
        verdict.number(f"error's norm a layer, {name} (factor)", paper, found[name], 0.03)
        for name, (_, _, paper) in NETS.items()
        if paper
    ]
    sigmoid, tanh = (max(found[f"{name}, Glorot"]) for name in ("sigmoid", "tanh"))
    glorot, he = accuracy["relu, Glorot"], accuracy["relu, He"]
    return [
        *exact,
        verdict.trend("error's norm a layer, sigmoid (factor)", CLAIMS[1], found["sigmoid, Glorot"], sigmoid < 0.5),
        verdict.trend(
            "error's norm a layer, tanh (factor)",
            "tanh keeps it with Glorot's start",
            found["tanh, Glorot"],
            abs(tanh - 1) < 0.1,
        ),
        verdict.trend("accuracy of relu, He's start less Glorot's", CLAIMS[0], he - glorot, he > 0.8 and glorot < 0.3),
    ]


def draw(points):
    """A matplotlib Figure: norms by layer, untrained and trained, above the gallery."""
    curves = points["gallery"]["curves"]
    lines = -(-len(curves) // COLUMNS)
    figure = canvas.figure(15, 4.6 + 1.75 * lines)
    top, bottom = figure.subfigures(2, 1, height_ratios=(4.6, 1.75 * lines))
    draw_norms(top, points)
    panels = bottom.subplots(lines, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, (name, curve) in zip(panels, curves.items()):
        panel.axhline(0, color="0.8", linewidth=0.8)
        panel.axvline(0, color="0.8", linewidth=0.8)
        style = {"color": activations.DERIVATIVE, "linestyle": "--", "label": "derivative"}
        panel.plot(points["gallery"]["x"], curve["slope"], **style)
        panel.plot(points["gallery"]["x"], curve["value"], color=activations.FUNCTION, label="function")
        panel.set_title(f"{name.replace('_', ' ')}\n{curve['formula']}", fontsize=7.5)
        panel.set(xlim=(-activations.HALF_WIDTH, activations.HALF_WIDTH), ylim=(activations.LOW, activations.HIGH))
    for panel in panels[len(curves) :]:
        panel.remove()
    bottom.supxlabel("x", fontsize=10)
    bottom.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


def draw_norms(figure, points):
    """The error's norm in front of each layer, with the factors and the accuracies."""
    axes = figure.subplots(1, 2, sharey=True)
    for axis, when in zip(axes, ("start", "trained")):
        for (name, curve), (colour, marker, line) in zip(points["norms"].items(), STYLES):
            norms = np.maximum(curve[when], gradient_depth.NOTHING)
            told = f"factor {np.mean(points['factors'][name]):.2f} a layer"
            label = f"{name}, {told if when == 'start' else format(points['accuracy'][name], '.0%') + ' right'}"
            style = {"color": colour, "marker": marker, "linestyle": line, "markersize": 4}
            axis.semilogy(range(1, len(norms) + 1), norms, label=label, **style)
        axis.set(xlabel="hidden layer, the first next to the data", title="untrained" if when == "start" else "trained")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="lower right")
    axes[0].set_ylabel("norm of the loss's gradient\nin the layer's input (nats a unit)")
