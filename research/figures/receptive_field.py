"""How the effective receptive field shrinks against the theoretical one, and how both grow in a net.

Luo et al. 2016, "Understanding the effective receptive field in deep convolutional neural networks", sections 2 and 3.
"""

import jax
import jax.numpy as jnp
import numpy as np

from research.figures import canvas

DEPTHS = (4, 8, 16, 32, 64)
CURVES = {"uniform weights": "#0072B2", "random weights": "#D55E00", "random weights, relu": "#009E73"}  # Okabe and Ito
MARKERS = "osD"


def points(depths=DEPTHS, kernel=3, channels=16, nets=16, seed=0):
    """{"depth", "kernel", "curves": {name: ratios}, "slopes": {name: of log ratio in log depth}}, plain numbers.

    A ratio is the standard deviation of the centre unit's gradient over the theoretical size, in stacks of
    one-dimensional convolutions. Uniform weights: of |gradient|, sqrt(n (k^2 - 1) / 12) / (n (k - 1) + 1) exactly.
    Random ones: of gradient^2, averaged over `nets` of `channels` normal weights; it has the same expectation.
    """
    depths = [int(depth) for depth in depths]
    curves = {name: [_ratio(name, depth, kernel, channels, nets, seed) for depth in depths] for name in CURVES}
    slopes = {name: float(np.polyfit(np.log(depths), np.log(ratios), 1)[0]) for name, ratios in curves.items()}
    return {"depth": depths, "kernel": kernel, "curves": curves, "slopes": slopes}


def _ratio(name, depth, kernel, channels, nets, seed):
    rng, size, relu = np.random.default_rng(seed), depth * (kernel - 1) + 1, name.endswith("relu")
    if name == "uniform weights":
        weights = jnp.full((1, depth, kernel, 1, 1), 1 / kernel)
    else:  # activations keep their scale through the layers (He et al. 2015)
        scale = np.float32(np.sqrt((2 if relu else 1) / (kernel * channels)))
        weights = scale * rng.standard_normal((nets, depth, kernel, channels, channels), np.float32)
    x = rng.standard_normal((len(weights), 1, size, weights.shape[-1]), np.float32)
    gradient = jax.jit(jax.vmap(jax.grad(lambda x, w: _stack(x, w, relu)[0, size // 2].sum())))(x, weights)
    mass = np.sum(np.abs(np.asarray(gradient, np.float64)) ** (1 if name == "uniform weights" else 2), axis=(1, 3))
    mass = (mass / mass.sum(axis=1, keepdims=True)).mean(axis=0)
    position = np.arange(size)
    return float(np.sqrt(mass @ (position - mass @ position) ** 2)) / size


def _stack(x, weights, relu):
    """SAME convolutions [depth, kernel, C, C] as matrix products: XLA's CPU convolutions are slow inside of a loop."""
    kernel, size = weights.shape[1], x.shape[1]

    def layer(x, w):
        wide = jnp.pad(x, ((0, 0), (kernel // 2, (kernel - 1) // 2), (0, 0)))
        y = sum(wide[:, t : t + size] @ w[t] for t in range(kernel))
        return jax.nn.relu(y) if relu else y, None

    return jax.lax.scan(layer, x, weights)[0]


def draw(points):
    """A matplotlib Figure of `points()`: ratios against depth, both logarithmic, beside the line 1 / sqrt(depth)."""
    figure = canvas.figure(6, 4)
    panel = figure.subplots()
    depth = np.array(points["depth"])
    for (name, ratios), marker in zip(points["curves"].items(), MARKERS):
        label = f"{name} (slope {points['slopes'][name]:.2f})"
        panel.plot(depth, ratios, marker=marker, color=CURVES[name], label=label, linewidth=1.6)
    first = next(iter(points["curves"].values()))[-1]
    panel.plot(depth, first * np.sqrt(depth[-1] / depth), "--", color="0.4", label="1 / sqrt(depth)")
    panel.set(xscale="log", yscale="log", xlabel="layers", ylabel="std of the effective field / theoretical size")
    panel.set_xticks(depth, [str(d) for d in depth])
    low, high = panel.get_ylim()
    ticks = [tick for tick in (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5) if low <= tick <= high]
    panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    panel.set_title(f"convolutions of width {points['kernel']}", fontsize=10)
    panel.legend(frameon=False, fontsize=9)
    return figure


def field_points(field, rows=None):
    """What `draw_field` plots of an EffectiveField, and of the rows of a table: plain lists and numbers.

    Of more than two spatial dimensions the first two are kept.
    """
    gradient = field.gradient.sum(axis=tuple(range(2, field.gradient.ndim)))
    reach = [
        (max(low, 0), min(high, n - 1)) for (low, high), n in zip(field.theory.interval(field.unit), gradient.shape)
    ]
    rows = [row for row in rows or () if row.depth == 0]
    return {
        "gradient": gradient.tolist(),
        "theory": [list(map(int, ends)) for ends in reach],
        "side": field.side,
        "layers": [row.name for row in rows],
        "sizes": [int(np.max(row.receptive_field)) for row in rows],
    }


def draw_field(points, title=""):
    """A matplotlib Figure of `field_points()`: the growth by layer where there are rows, and the gradient's map."""
    figure = canvas.figure(10 if points["layers"] else 5.5, 4.4)
    panels = figure.subplots(1, 2 if points["layers"] else 1, squeeze=False)[0]
    if points["layers"]:
        _draw_growth(panels[0], points)
    gradient = np.array(points["gradient"])
    (_draw_curve if gradient.ndim == 1 else _draw_map)(figure, panels[-1], gradient, points)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_growth(panel, points):
    panel.plot(points["sizes"], color="#0072B2", drawstyle="steps-post")
    step = max(len(points["layers"]) // 16, 1)
    shown = range(0, len(points["layers"]), step)
    panel.set_xticks(shown, [points["layers"][i] for i in shown], rotation=90, fontsize=7)
    panel.set(ylabel="theoretical receptive field (pixels)", title="growth by layer", ylim=(0, None))


def _draw_curve(figure, panel, gradient, points):
    panel.plot(gradient, color="#0072B2")
    for end in points["theory"][0]:
        panel.axvline(end, color="#D55E00", linestyle="--")
    panel.set(
        xlabel="position", ylabel="share of the gradient", title="effective field (dashed: ends of the theoretical)"
    )


def _draw_map(figure, panel, gradient, points):
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    relative = np.maximum(gradient / gradient.max(), 1e-4)
    image = panel.imshow(relative, norm=LogNorm(1e-4, 1), cmap="viridis", interpolation="nearest")
    (top, bottom), (left, right) = points["theory"]
    middle = [np.arange(n) @ gradient.sum(axis=1 - k) for k, n in enumerate(gradient.shape)]
    half = points["side"] / 2
    boxes = (
        ((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, "#D55E00", "theoretical"),
        ((round(middle[1]) - half, round(middle[0]) - half), 2 * half, 2 * half, "white", "95.45 % of the gradient"),
    )
    for corner, width, height, colour, label in boxes:
        panel.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=1.6, label=label))
    panel.legend(loc="lower right", fontsize=8, framealpha=0.7, facecolor="0.3", labelcolor="white")
    panel.set(xlabel="column (pixels)", ylabel="row (pixels)", title="effective field of the centre unit")
    figure.colorbar(image, ax=panel, label="gradient / its maximum")
