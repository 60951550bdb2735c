"""Score SDE: samplers of one score, marginals of its SDE and its ODE, adaptive steps, and likelihoods by process."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from research import likelihood, noise, oracle, samplers, workdir
from research.figures import canvas
from research.figures.papers.ddpm import plane
from research.metrics.sliced_wasserstein import sliced_wasserstein
from research.reproduce import Run, verdict

TITLE = "Score SDE: samplers, marginals, adaptive steps, likelihoods"
SOURCE = "Song et al. 2021, figures 2 and 3, tables 1 and 2"
MINUTES, FULL = 3, "one H100 for about 120 h"
ANGLES = np.arange(8) * np.pi / 4
RING = oracle.gaussian_mixture(np.ones(8), 2 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1), np.full(8, 0.2))
PARTS = ((1 / 3, -1.5, 0.25), (2 / 3, 1.0, 0.4))  # weight, mean, deviation
LINE = oracle.gaussian_mixture([w for w, _, _ in PARTS], [[m] for _, m, _ in PARTS], [s for _, _, s in PARTS])
PROCESSES = {"vp": noise.vp(), "sub_vp": noise.sub_vp(), "ve": noise.ve()}
NAMES = {"vp": "VP", "sub_vp": "sub-VP", "ve": "VE"}
METHODS = {  # name: predictor, corrector's steps
    "ancestral, P": ("ancestral", 0),
    "ancestral, PC": ("ancestral", 1),
    "reverse diffusion, P": ("reverse_diffusion", 0),
    "reverse diffusion, PC": ("reverse_diffusion", 1),
    "probability flow, P": ("flow", 0),
    "corrector alone, C": ("none", 1),
}
CALLS = (32, 64, 128, 256)  # of the score, a sample
COUNT, SEEDS = 4096, 3
MANY, CRITICAL = 20_000, 1.95 / np.sqrt(20_000)  # at 99.9 % of Kolmogorov's distance of so many samples
STOPS = (0.9, 0.75, 0.5, 0.25, 0.1, 0.0)
TOLERANCES = tuple(10.0**-k for k in range(1, 8))
PAPER = {"vp": 3.21, "sub_vp": 3.05}  # bits/dim, CIFAR-10, "DDPM cont."


def runs(scale):
    """A score model a process: of the plane, or of CIFAR-10."""
    if scale == "full":
        return {name: Run(f"score_sde_{name.replace('_', '')}_cifar10", {}) for name in PAPER}
    return {name: plane(name, "likelihood") for name in PAPER}


def load(workdirs, scale):
    """{"table", "floor", "marginals", "adaptive", "exact", "trained"}: see the functions of these names."""
    table, floor = sampled()
    found = {name: workdir.load_evaluation(path) for name, path in workdirs.items()}
    column = "likelihood/bits_per_dim" if scale == "full" else "likelihood/kl"
    return {
        "table": table,
        "floor": floor,
        "marginals": marginals(),
        "adaptive": adaptive(),
        "exact": exact(),
        "trained": {"what": column, "values": {name: one[column] for name, one in found.items()}},
    }


def sampled(count=COUNT, seeds=SEEDS, calls=CALLS):
    """({process: {method: {calls: [distance a seed]}}}, floor): sliced W2 of samples by the exact score to the data."""
    target, other = (np.asarray(RING.sample(jax.random.key(900 + i), count)) for i in (0, 1))
    table = {name: {method: {} for method in METHODS} for name in ("vp", "ve")}
    draw = jax.jit(_draw, static_argnums=(1, 2, 3, 4, 5))
    for (name, found), method, budget in itertools.product(table.items(), METHODS, calls):
        steps = budget // (METHODS[method][1] + (METHODS[method][0] != "none"))
        drawn = [draw(jax.random.key(seed), PROCESSES[name], count, *METHODS[method], steps) for seed in range(seeds)]
        found[method][budget] = [round(sliced_wasserstein(x, target, 128), 5) for x in drawn]
    return table, sliced_wasserstein(other, target, 128)


def _draw(key, process, count, predictor, corrector, steps):
    key_x, key_walk = jax.random.split(key)
    start, times = process.prior(key_x, (count, 2)), noise.times(process, steps)
    if predictor == "flow":
        return samplers.find("euler")(RING.field(process), process, start, times).x
    walk, options = samplers.find("predictor_corrector"), {"predictor": predictor, "corrector_steps": corrector}
    return walk(RING.field(process), process, start, times, key_walk, **options).x


def marginals(count=MANY, steps=1000, paths=12):
    """Of two Gaussians on a line under VP: density, paths and Kolmogorov distances to it by ODE and by SDE at STOPS."""
    process, field = PROCESSES["vp"], LINE.field(PROCESSES["vp"])
    start, found = process.prior(jax.random.key(0), (count, 1)), {}
    for name, sampler, n in (("ODE", "heun", steps // 5), ("SDE", "euler_maruyama", steps)):
        draw = functools.partial(samplers.find(sampler), field, process, times=noise.times(process, n), trajectory=True)
        out = jax.jit(draw)(x=start, key=jax.random.key(1))
        at = [int(np.argmin(abs(np.asarray(out.times) - t))) for t in STOPS]
        far = [_kolmogorov(np.asarray(out.trajectory[i, :, 0]), _cdf(float(out.times[i]), process)) for i in at]
        thin = slice(None, None, max(n // 40, 1))
        shown = np.round(np.asarray(out.trajectory[thin, :paths, 0]).T, 3)
        found[name] = {"times": np.round(np.asarray(out.times[thin]), 4), "paths": shown, "distance": far}
    x, t = np.linspace(-3, 3, 61), np.linspace(1, process.t_min, 41)
    density = [np.exp(np.asarray(LINE.log_prob(jnp.asarray(x)[:, None], s, process))) for s in t]
    return found | {"x": x.round(3), "t": t.round(4), "density": np.round(density, 3), "stops": STOPS}


def _cdf(t, process):
    """x -> P(x_t <= x) of LINE's two Gaussians."""
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    return lambda x: sum(w * stats.norm.cdf(x, alpha * m, np.hypot(alpha * s, sigma)) for w, m, s in PARTS)


def _kolmogorov(x, cdf):
    """The largest difference of the empirical distribution of x [N] and a cdf."""
    return float(stats.kstest(x, cdf).statistic)


def adaptive(count=COUNT):
    """{"tolerance", "calls", "error", "distance"}: of RING's ODE under VP by an adaptive solver, in float64.

    error: root mean square to the solution at 1e-9; distance: sliced W2 to the data.
    """
    with jax.enable_x64(True):
        process, target = PROCESSES["vp"], np.asarray(RING.sample(jax.random.key(900), count))
        start = jnp.asarray(process.prior(jax.random.key(0), (count, 2)), jnp.float64)
        flow, times = samplers.find("diffrax"), noise.times(process, 1)
        solve = jax.jit(lambda tol: flow(RING.field(process), process, start, times, rtol=tol, atol=tol))
        truth, outs = solve(1e-9).x, [solve(tol) for tol in TOLERANCES]
        error = [float(jnp.sqrt(jnp.mean(jnp.sum((out.x - truth) ** 2, axis=1)))) for out in outs]
        distance = [sliced_wasserstein(out.x, target, 128) for out in outs]
        return {
            "tolerance": TOLERANCES,
            "calls": [float(out.nfe) for out in outs],
            "error": error,
            "distance": distance,
        }


def exact(count=1000):
    """{process: [nats by the ODE of the exact score, the exact nats]}, means over the same points of RING."""
    with jax.enable_x64(True):
        x, found = jnp.asarray(RING.sample(jax.random.key(7), count), jnp.float64), {}
        for name, process in PROCESSES.items():
            by_flow = jax.jit(lambda x, p=process: likelihood.probability_flow(RING.field(p), p, x).nats)(x)
            found[name] = [float(by_flow.mean()), float(RING.log_prob(x, 0.0, noise.vp()).mean())]
    return found


def rows(points):
    """Samplers at equal calls, marginals, calls saved, and likelihoods beside exact or published ones."""
    found, claims = (
        [],
        (
            (
                "reverse diffusion, PC",
                "reverse diffusion, P",
                "a corrector is worth more than twice the predictor's steps",
            ),
            ("reverse diffusion, P", "ancestral, P", "reverse diffusion is ahead of ancestral sampling"),
            ("reverse diffusion, P", "corrector alone, C", "a corrector without predictor is behind"),
        ),
    )
    calls = str(CALLS[1])
    for name, table in points["table"].items():
        for better, worse, claim in claims:
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
