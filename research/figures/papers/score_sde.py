"""Score SDE: samplers of one score, marginals of its SDE and its ODE, adaptive steps, and likelihoods by process."""

import numpy as np

from research import exact_score, workdir
from research.exact_score import CALLS, CRITICAL, STOPS
from research.figures import canvas
from research.figures.papers.ddpm import plane
from research.reproduce import Run, verdict

TITLE = "Score SDE: samplers, marginals, adaptive steps, likelihoods"
SOURCE = "Song et al. 2021, figures 2 and 3, tables 1 and 2"
MINUTES, FULL = 3, "one H100 for about 120 h"
NAMES = {"vp": "VP", "sub_vp": "sub-VP", "ve": "VE"}
CLAIMS = (  # of two methods at equal calls: the better, the worse
    ("reverse diffusion, PC", "reverse diffusion, P", "a corrector is worth more than twice the predictor's steps"),
    ("reverse diffusion, P", "ancestral, P", "reverse diffusion is ahead of ancestral sampling"),
    ("reverse diffusion, P", "corrector alone, C", "a corrector without predictor is behind"),
)
PAPER = {"vp": 3.21, "sub_vp": 3.05}  # bits/dim, CIFAR-10, "DDPM cont."


def runs(scale):
    """A score model a process: of the plane, or of CIFAR-10."""
    if scale == "full":
        return {name: Run(f"score_sde_{name.replace('_', '')}_cifar10", {}) for name in PAPER}
    return {name: plane(name, "likelihood") for name in PAPER}


def load(workdirs, scale):
    """{"table", "floor", "marginals", "adaptive", "exact": of research.exact_score, "trained"}."""
    table, floor = exact_score.sampled()
    found = {name: workdir.load_evaluation(path) for name, path in workdirs.items()}
    column = "likelihood/bits_per_dim" if scale == "full" else "likelihood/kl"
    return {
        "table": table,
        "floor": floor,
        "marginals": exact_score.marginals(),
        "adaptive": exact_score.adaptive(),
        "exact": exact_score.exact(),
        "trained": {"what": column, "values": {name: one[column] for name, one in found.items()}},
    }


def rows(points):
    """Samplers at equal calls, marginals, calls saved, and likelihoods beside exact or published ones."""
    found = []
    calls = str(CALLS[1])
    for name, table in points["table"].items():
        for better, worse, claim in CLAIMS:
            ours, theirs = (float(np.mean(table[method][calls])) for method in (better, worse))
            what = f"{NAMES[name]}, {calls} calls, sliced W2: {better} / {worse}"
            found.append(verdict.trend(what, claim, f"{ours:.4f} / {theirs:.4f}", ours < theirs))
    for name in ("ODE", "SDE"):
        what = f"Kolmogorov distance of the {name}'s marginals to the exact ones, the largest of {len(STOPS)}"
        found.append(verdict.number(what, 0, max(points["marginals"][name]["distance"]), CRITICAL))
    distance, calls = points["adaptive"]["distance"], points["adaptive"]["calls"]
    enough = next(n for n, d in zip(calls, distance) if d <= 1.05 * distance[-1])
    claim = "an adaptive solver needs less than a tenth of 1000 evaluations for the same quality"
    found.append(verdict.trend("evaluations within 5 % of the best sliced W2", claim, enough, enough < 100))
    for name, (ours, truth) in points["exact"].items():
        found.append(
            verdict.number(f"log-density by the ODE of the exact score, {NAMES[name]} (nats)", truth, ours, 0.005)
        )
    return found + _trained(points["trained"])


def _trained(trained):
    values, claim = trained["values"], "sub-VP has the better likelihood"
    if trained["what"] == "likelihood/kl":
        seen = f"{values['sub_vp']:.4f} / {values['vp']:.4f}"
        return [
            verdict.trend("KL of a trained model, sub-VP / VP (nats)", claim, seen, values["sub_vp"] < values["vp"])
        ]
    return [verdict.number(f"bits/dim, CIFAR-10, {NAMES[name]}", at, values[name], 0.05) for name, at in PAPER.items()]


def draw(points):
    """Samplers under VP and VE, marginals with paths, and calls, Kolmogorov distances and likelihoods."""
    figure = canvas.figure(13, 7.6)
    axes = figure.subplots(2, 3)
    for axis, (name, table) in zip(axes[0], points["table"].items()):
        _table(axis, table, points["floor"])
        axis.set_title(f"Samplers of {NAMES[name]}, exact score")
    axes[0, 1].legend(fontsize=7)
    _marginals(axes[0, 2], points["marginals"])
    for (name, color), marker in zip((("ODE", "#0072B2"), ("SDE", "#D55E00")), "os"):
        axes[1, 0].plot(
            points["marginals"]["stops"], points["marginals"][name]["distance"], marker, color=color, label=name
        )
    axes[1, 0].axhline(CRITICAL, color="0.4", linestyle="--", label="99.9 % of exact samples below")
    axes[1, 0].set(xlabel="t", ylabel="Kolmogorov distance to p(x_t)", title="Marginals of ODE and SDE", ylim=0)
    axes[1, 0].legend(fontsize=8)
    found = points["adaptive"]
    axes[1, 1].loglog(found["tolerance"], found["calls"], "o-", color="#0072B2", label="calls")
    axes[1, 1].set(xlabel="tolerance", ylabel="evaluations a sample", title="Adaptive steps of the ODE (VP)")
    twin = axes[1, 1].twinx()
    twin.loglog(found["tolerance"], found["error"], "s--", color="#D55E00", label="error")
    twin.set_ylabel("RMS error of samples")
    handles = [axis.get_legend_handles_labels() for axis in (axes[1, 1], twin)]
    axes[1, 1].legend(*(a + b for a, b in zip(*handles)), fontsize=8, loc="upper center")
    _likelihoods(axes[1, 2], points)
    for axis in (*axes[0, :2], *axes[1]):
        axis.grid(alpha=0.3)
    return figure


def _table(axis, table, floor):
    colors = ("#E69F00", "#E69F00", "#0072B2", "#0072B2", "#009E73", "#CC79A7")
    for (method, row), color, marker in zip(table.items(), colors, "ososDv"):
        x, y = [int(calls) for calls in row], [np.mean(values) for values in row.values()]
        axis.plot(x, y, marker=marker, color=color, linestyle="--" if method.endswith("PC") else "-", label=method)
    axis.axhline(floor, color="0.4", linestyle=":", label="exact samples")
    axis.set(xscale="log", yscale="log", xlabel="evaluations of the score a sample", ylabel="sliced W2 to the data")
    axis.set_xticks([int(calls) for calls in row], list(row))
    axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)


def _marginals(axis, found):
    density = np.array(found["density"]).T
    extent = (found["t"][0], found["t"][-1], found["x"][0], found["x"][-1])
    axis.imshow(density, origin="lower", extent=extent, aspect="auto", cmap="Greys", vmax=0.8, interpolation="bilinear")
    for name, color, line, width in (("SDE", "#D55E00", "-", 0.5), ("ODE", "#0072B2", "-", 1.4)):
        paths = np.array(found[name]["paths"])[: 12 if name == "ODE" else 4]
        for i, path in enumerate(paths):
            axis.plot(
                found[name]["times"], path, line, color=color, linewidth=width, label=None if i else f"{name}'s paths"
            )
    axis.set(
        xlabel="t, from noise to data",
        ylabel="x",
        xlim=extent[:2],
        ylim=extent[2:],
        title="Marginals (grey) and paths, VP",
    )
    axis.legend(fontsize=8)


def _likelihoods(axis, points):
    trained, places = points["trained"], np.arange(len(NAMES))
    if trained["what"] == "likelihood/kl":
        off = [abs(ours - truth) for ours, truth in points["exact"].values()]
        axis.semilogy(places, off, "o", color="#0072B2", label="exact score: |error| of the ODE")
    values = [trained["values"].get(name, np.nan) for name in NAMES]
    axis.plot(places, values, "s", color="#D55E00", label="trained score")
    axis.set_xticks(places, NAMES.values())
    unit = "nats from the exact log-density" if trained["what"] == "likelihood/kl" else "bits/dim"
    axis.set(xlabel="process", ylabel=unit, title="Likelihood by the ODE")
    axis.legend(fontsize=8, loc="center")
    axis.margins(0.25)
