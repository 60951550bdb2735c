"""Errors of solvers by calls of an exact field, and the order at which they fall."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from research import noise, oracle, samplers
from research.figures import canvas
from research.reproduce import verdict

TITLE = "Orders of samplers on the exact field"
SOURCE = "Karras et al. 2022, section 3; Lu et al. 2022, DPM-Solver++(2M); orders by theory"
MINUTES, FULL = 0.5, None
STEPS, TOLERANCES = (10, 20, 40, 80, 160), (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
FITTED, SLACK = 3, 0.15  # the finest numbers of steps, of which the order is told; how far it may be off
EIGHT = oracle.ring()
PROCESSES = {"rectified": noise.rectified(), "vp": noise.vp()}
LEVELS = 9.0, 3 / 7  # sigma / alpha from which and to which is solved: t = 0.9 and 0.3 of the rectified flow
ORDERS = {"Euler": 1.00, "Heun": 2.02, "DPM-Solver++(2M)": 2.02, "RK4": 4.01}
STYLES = {  # colour, marker, line
    "Euler": ("#0072B2", "o", "-"),
    "Heun": ("#D55E00", "s", "-"),
    "DPM-Solver++(2M)": ("#009E73", "D", "--"),
    "RK4": ("#CC79A7", "^", "-"),
    "adaptive (Tsit5)": ("#000000", "*", ":"),
}


def runs(scale):
    """Nothing is trained."""
    return {}


def load(workdirs, scale):
    """{process: {solver: {"nfe": [S], "error": [S]}}}, root-mean-square errors of x / alpha, in float64."""
    with jax.enable_x64(True):
        return {name: measured(process, STEPS, TOLERANCES) for name, process in PROCESSES.items()}


def rk4(field, process, x, times):
    """Samples by the classic Runge-Kutta method in t, four calls a step: no sampler of ours, but a measure of them."""

    def step(x, t, s, _):
        h, slope = s - t, lambda x, t: field(x, t).velocity
        a = slope(x, t)
        b = slope(x + h / 2 * a, t + h / 2)
        c = slope(x + h / 2 * b, t + h / 2)
        return x + h / 6 * (a + 2 * b + 2 * c + slope(x + h * c, s))

    return samplers.scan(step, x, times, calls=4, trajectory=False)


SOLVERS = {
    "Euler": samplers.find("euler"),
    "Heun": samplers.find("heun"),
    "DPM-Solver++(2M)": samplers.find("dpm_solver_pp"),
    "RK4": rk4,
}


def measured(process, steps, tolerances, data=EIGHT, number=64):
    """{solver: {"nfe", "error"}} at each number of uniform steps, or tolerance, on one process."""
    start, end = (float(process.time(-2 * np.log(level))) for level in LEVELS)
    x = data.sample(jax.random.key(0), number)
    x = process.alpha(start) * x + process.sigma(start) * jax.random.normal(jax.random.key(1), x.shape)
    exact = jax.jit(lambda x: data.flow_map(x, start, end, process, tolerance=1e-12))(x)
    field, grids = data.field(process), [np.linspace(start, end, n + 1) for n in steps]

    def told(draw, options):
        draw = jax.jit(draw)
        found = [draw(x, option) for option in options]
        errors = [float(jnp.sqrt(jnp.mean((out.x - exact) ** 2)) / process.alpha(end)) for out in found]
        return {"nfe": [float(out.nfe) for out in found], "error": errors}

    def adaptive(x, tolerance):
        ends = jnp.array([start, end])
        return samplers.find("diffrax")(field, process, x, ends, rtol=tolerance, atol=tolerance)

    fixed = {name: told(functools.partial(solve, field, process), grids) for name, solve in SOLVERS.items()}
    return fixed | {"adaptive (Tsit5)": told(adaptive, tolerances)}


def order(found):
    """The slope of log error against log calls at the FITTED finest numbers of steps, sign turned."""
    nfe, error = (np.log(found[name][-FITTED:]) for name in ("nfe", "error"))
    return -float(np.polyfit(nfe, error, 1)[0])


def rows(points):
    """An order is a property of the method: each is to be met on both processes."""
    return [
        verdict.number(f"order of {name}, {process}", paper, order(found[name]), SLACK)
        for process, found in points.items()
        for name, paper in ORDERS.items()
    ]


def draw(points):
    """A matplotlib Figure, a panel a process: error against calls, both logarithmic, with the orders."""
    figure = canvas.figure(5.6 * len(points), 4.8)
    panels = figure.subplots(1, len(points), sharex=True, sharey=True, squeeze=False)[0]
    for panel, (process, found) in zip(panels, points.items()):
        for name, (colour, marker, line) in STYLES.items():
            label = f"{name}, order {order(found[name]):.2f}" if name in ORDERS else name
            style = {"color": colour, "marker": marker, "linestyle": line}
            panel.loglog(found[name]["nfe"], found[name]["error"], **style, label=label)
        panel.set(xlabel="calls of the field a sample", title=f"eight Gaussians, {process} process")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8, loc="lower left")
    panels[0].set_ylabel("root-mean-square error of x / alpha (data's unit)")
    return figure
