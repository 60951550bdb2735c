"""Points that spread as heat does: their paths, the density those carry, and the equations of the derivation."""

import jax
import jax.numpy as jnp
import numpy as np

from research import noise, oracle
from research.continuity import carry, continuity_residual, fokker_planck_residual, heat_residual, heat_velocity
from research.figures import canvas
from research.reproduce import verdict
from research.samplers import diffrax

TITLE = "Diffusion derived from an ODE"
SOURCE = "research/continuity.py, steps 1 to 5; Song et al. 2021, appendix D.1"
MINUTES, FULL = 0.5, None
WEIGHTS, POINTS = (0.5, 0.3, 0.2), ((-1.2, 0.4), (1.1, 0.9), (0.3, -1.3))
DATA, PROCESS = oracle.dirac(POINTS, WEIGHTS), noise.heat(lambda t: 3.0 * t)  # sigma = 3 t, in the data's unit
START, END, DRAWN = 0.1, 0.002, 40  # t the density is carried from, t where paths stop, paths that are drawn
RESIDUALS = {
    "continuity": "#0072B2",
    "heat": "#009E73",
    "Fokker-Planck": "#CC79A7",
    "the factor 1/2 forgotten": "#D55E00",
}
MARKERS = "osD^"


def runs(scale):
    """Nothing is trained."""
    return {}


def load(workdirs, scale):
    """{"walks", "carried", "residuals"}: of the functions below, in float64."""
    with jax.enable_x64(True):
        times = np.linspace(START, 1, 7)[1:]
        return {"walks": walks(3000), "carried": carried(times, 200), "residuals": residuals([START, *times], 500)}


def score(x, t):
    """grad log p_t(x) [B, 2], exact."""
    return DATA.field(PROCESS)(x, t).score


def log_prob(x, t):
    """log p_t(x) [B] in nats, exact."""
    return DATA.log_prob(x, t, PROCESS)


def noised(key, n, t):
    """x_t = x_0 + sigma_t eps [n, 2]."""
    key_x, key_eps = jax.random.split(jax.random.key(key))
    return DATA.sample(key_x, n) + PROCESS.sigma(t) * jax.random.normal(key_eps, (n, 2))


def walks(number):
    """ "paths" [DRAWN, S, 2] of x_1 down to t = END, the point each "ends" at, the "share" of all `number` that do,
    and "distance", the farthest of all ends from its point, in units of sigma there.
    """
    times = np.geomspace(1, END, 25)
    solve = jax.jit(lambda x: diffrax.solve(heat_velocity(score, PROCESS), x, times, rtol=1e-8, atol=1e-8)[0])
    paths = np.asarray(solve(noised(0, number, 1.0)))
    away = np.linalg.norm(paths[-1][:, None] - np.array(POINTS), axis=2)
    ends = away.argmin(axis=1)
    return {
        "paths": np.round(paths[:, :DRAWN].swapaxes(0, 1), 3),
        "ends": ends[:DRAWN],
        "share": np.bincount(ends, minlength=len(POINTS)) / number,
        "number": number,
        "distance": away.min(axis=1).max() / PROCESS.sigma(END),
    }


def carried(times, number):
    """ "sigma" [S], and log p [5, S] of five paths from START on, "found" by carrying it and "exact" at their ends;
    "error", the largest difference of all `number` paths, in nats.
    """
    x = noised(1, number, START)
    move = jax.jit(lambda t: carry(heat_velocity(score, PROCESS), x, START, t, log_prob(x, START), tolerance=1e-9))
    both = [(log_p, log_prob(end, t)) for t in times for end, log_p in [move(t)]]
    found, exact = np.asarray(both).transpose(1, 2, 0)  # [number, S]
    sigma = [float(PROCESS.sigma(t)) for t in times]
    return {"sigma": sigma, "found": found[:5], "exact": exact[:5], "error": np.abs(found - exact).max()}


def residuals(times, number):
    """ "sigma" [S] and the largest size [S] of each residual at `number` draws of x_t, in 1/t."""
    velocity, g = heat_velocity(score, PROCESS), PROCESS.g

    @jax.jit
    def at(x, t):
        # An SDE of half the noise keeps p_t where the ODE does the rest: f = (1 - 1/4) of the velocity.
        half = fokker_planck_residual(log_prob, lambda x, t: 0.75 * velocity(x, t), lambda t: g(t) / 2, x, t)
        double = continuity_residual(lambda x, t: 2 * velocity(x, t), log_prob, x, t)
        heat = heat_residual(log_prob, lambda t: g(t) ** 2 / 2, x, t)
        return [jnp.abs(r).max() for r in (continuity_residual(velocity, log_prob, x, t), heat, half, double)]

    found = np.array([at(noised(2, number, t), t) for t in times]).T
    return {"sigma": [float(PROCESS.sigma(t)) for t in times], **dict(zip(RESIDUALS, found))}


def rows(points):
    """All is exact but for the solver and for how many paths are drawn."""
    walks, found = points["walks"], points["residuals"]
    names = list(RESIDUALS)[:3]
    slack = 3 * np.sqrt(WEIGHTS[0] * (1 - WEIGHTS[0]) / walks["number"])
    return [
        verdict.number("largest error of the carried log p (nats)", 0, points["carried"]["error"], 1e-6),
        *(verdict.number(f"largest residual, {name} (1/t)", 0, max(found[name]), 1e-8) for name in names),
        verdict.number(
            f"share of paths that end at the point of weight {WEIGHTS[0]}", WEIGHTS[0], walks["share"][0], slack
        ),
    ]


def draw(points):
    """A matplotlib Figure: paths to the points, log p along paths from them, residuals."""
    figure = canvas.figure(14, 4.8)
    left, middle, right = figure.subplots(1, 3)
    colours, walks = list(RESIDUALS.values()), points["walks"]
    for k, (point, share) in enumerate(zip(POINTS, walks["share"])):
        paths = np.array([path for path, end in zip(walks["paths"], walks["ends"]) if end == k])
        left.plot(*paths.reshape(len(paths), -1, 2).T, color=colours[k], linewidth=0.8, alpha=0.7)
        left.scatter(*paths[:, :1].reshape(-1, 2).T, s=12, color=colours[k], marker=MARKERS[k])
        label = f"weight {WEIGHTS[k]}: {share:.3f} of the paths"
        left.scatter(*point, s=110, color=colours[k], marker=MARKERS[k], edgecolor="black", zorder=3, label=label)
    left.set(xlabel="$x_1$ (data's unit)", ylabel="$x_2$ (data's unit)", aspect="equal")
    left.set_title("from $\\sigma$ = 3 (small) to the points (large)")
    found = points["carried"]
    for k, (ours, exact) in enumerate(zip(found["found"], found["exact"])):
        middle.plot(found["sigma"], exact, color="0.4", label=None if k else "exact")
        middle.plot(found["sigma"], ours, "o", color="#D55E00", label=None if k else "carried, by -div f along a path")
    middle.set(xlabel="$\\sigma$ (data's unit)", ylabel="log p at the path's end (nats)")
    middle.set_title(f"five paths; largest error of all {found['error']:.0e} nats")
    found = points["residuals"]
    for (name, colour), marker in zip(RESIDUALS.items(), MARKERS):
        right.semilogy(found["sigma"], found[name], marker=marker, color=colour, label=name)
    right.set(xlabel="$\\sigma$ (data's unit)", ylabel="largest residual (1/t)", title="residuals, in float64")
    for axis in (left, middle, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure
