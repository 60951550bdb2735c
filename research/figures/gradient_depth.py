"""Depth against gradient norm: which activations let errors through many layers (Glorot & Bengio 2010, figure 7)."""

from research import workdir
from research.errors import UserError
from research.figures import canvas

NOTHING = 1e-30  # what is drawn for an error that has underflowed


def load(workdirs):
    """{trial: {"start": [depth], "trained": [depth]}} of finished runs of a classifier. Raises UserError for others."""
    points = {}
    for path in workdirs:
        result = workdir.load_evaluation(path)
        if result is None:
            raise UserError(f"{path} holds no finished run; train it with launch.run --workdir={path}.")
        curves = {"start": _layers(result, "start/gradient/"), "trained": _layers(result, "gradient/")}
        if not curves["trained"]:
            raise UserError(f"{path} holds no gradient norms: it is no run of the classifier model.")
        points[path.name] = curves
    return points


def _layers(result, prefix):
    numbers = sorted(int(name.removeprefix(prefix)) for name in result if name.startswith(prefix))
    return [result[f"{prefix}{i:02d}"] for i in numbers]


def draw(points):
    """A matplotlib Figure: the error's norm in front of each layer, untrained at the left, trained at the right."""
    figure = canvas.figure(10, 4.5)
    axes = figure.subplots(1, 2, sharey=True)
    lines = ["-", "--", ":", "-."]
    for axis, when, title in zip(axes, ("start", "trained"), ("untrained", "trained")):
        for i, (name, curves) in enumerate(points.items()):
            norms = [max(x, NOTHING) for x in curves[when]]
            axis.semilogy(range(1, len(norms) + 1), norms, lines[i % 4], label=name, color=f"C{i % 10}")
        axis.set(xlabel="hidden layer", title=title)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("norm of the loss's gradient in the layer's input")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure
