"""Errors of every sampler on data known exactly, and the table of them in docs/samplers.md.

`python -m tests.oracle.orders` measures again and writes the table between the two marks of that file.
"""

import functools
import math
import pathlib
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from research import noise, oracle, samplers
from research.figures.papers.sampler_order import EIGHT, LEVELS, rk4

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "samplers.md"
MARKS = "<!-- measured: tests/oracle/orders.py -->", "<!-- end -->"
STEPS = (20, 40, 80, 160)
TOLERANCES = (1e-3, 1e-5, 1e-7)
MEAN, STD = 0.7, 0.5
GAUSSIAN = oracle.gaussian_mixture([1.0], [[MEAN]], [STD])
PROCESSES = {"rectified": noise.rectified(), "vp": noise.vp(), "edm": noise.edm()}

ODES = {  # row of the table: sampler, options, order
    "euler": ("euler", {}, 1),
    "euler, sigma": ("euler", {"variable": "sigma"}, 1),
    "ddim": ("ddim", {}, 1),
    "heun": ("heun", {}, 2),
    "heun, sigma": ("heun", {"variable": "sigma"}, 2),
    "edm": ("edm", {}, 2),
    "dpm_solver_pp, order 1": ("dpm_solver_pp", {"order": 1}, 1),
    "dpm_solver_pp": ("dpm_solver_pp", {}, 2),
    "rk4 (by hand)": (None, {}, 4),
}
SDES = {  # first order in law
    "ddpm": ("ddpm", {}),
    "ddpm, beta": ("ddpm", {"variance": "beta"}),
    "ddim, eta 1/2": ("ddim", {"eta": 0.5}),
    "ddim, sigma_hat": ("ddim", {"sigma_hat": True}),
    "edm, S_churn 20": ("edm", {"S_churn": 20.0}),
    "dpm_solver_pp, sde": ("dpm_solver_pp", {"sde": True}),
    "euler_maruyama": ("euler_maruyama", {}),
    "predictor_corrector, no corrector": ("predictor_corrector", {"corrector_steps": 0}),
}


def ends(process):
    """(t from, t to) of LEVELS, numbers."""
    return [float(process.time(-2 * math.log(level))) for level in LEVELS]


@functools.cache
def problem(process):
    """(t from, t to, x there, x carried to the end) of one of PROCESSES, in float64."""
    with jax.enable_x64(True):
        process = PROCESSES[process]
        start, stop = ends(process)
        # As wide as x_t, however that is scaled.
        x = 1.5 * jax.random.normal(jax.random.key(0), (16, 2)) * jnp.hypot(process.alpha(start), process.sigma(start))
        carry = jax.jit(lambda x: EIGHT.flow_map(x, start, stop, process, tolerance=1e-11))
        return start, stop, x, carry(x)


def flow_error(draw, process, times, **options):
    """(root-mean-square error of x / alpha, calls) at the last of times, in float64."""
    with jax.enable_x64(True):
        (*_, x, exact), process = problem(process), PROCESSES[process]
        out = jax.jit(lambda x, times: draw(EIGHT.field(process), process, x, times, **options))(x, np.asarray(times))
        return float(jnp.sqrt(jnp.mean((out.x - exact) ** 2)) / process.alpha(times[-1])), int(out.nfe)


def flow_errors(row, process, steps=STEPS):
    """The error of a row of ODES in each number of uniform steps in t."""
    (name, options, _), (start, stop, *_) = ODES[row], problem(process)
    draw = samplers.find(name, **options) if name else rk4
    return [flow_error(draw, process, np.linspace(start, stop, n + 1), **options)[0] for n in steps]


def law_errors(row, process, steps=STEPS):
    """|standard deviation / exact - 1| of what a noisy sampler draws for Gaussian data, without sampling error.

    There a step is affine in x and in its noise, so rows with one draw set to 1 give the law of the output.
    """
    name, options = SDES[row]
    return [_law_error(samplers.find(name, **options), options, PROCESSES[process], n) for n in steps]


def _law_error(draw, options, process, n):
    rows, x = np.zeros((n, n + 2, 1)), np.zeros((n + 2, 1))
    rows[np.arange(n), np.arange(n) + 2, 0] = 1  # row i + 2 has draw i
    with jax.enable_x64(True), mock.patch.object(samplers, "normal", lambda key, i, x: jnp.asarray(rows)[i]):
        start, stop = ends(process)
        std = lambda t: math.hypot(process.alpha(t) * STD, process.sigma(t))  # noqa: E731
        x[1] = std(start)
        run = jax.jit(lambda x, times: draw(GAUSSIAN.field(process), process, x, times, jax.random.key(0), **options).x)
        y = run(jnp.asarray(x), np.linspace(start, stop, n + 1))[:, 0]
        return abs(math.sqrt(float(jnp.sum((y[1:] - y[0]) ** 2))) / std(stop) - 1)


def order(errors):
    """Of the last halving of the step."""
    return math.log2(errors[-2] / errors[-1])


def table(rows, measure):
    """Lines of a table of errors at STEPS and their order, on every process."""
    yield f"| sampler | process | {' | '.join(f'N = {n}' for n in STEPS)} | order |"
    yield "|---" * (len(STEPS) + 3) + "|"
    for row in rows:
        for process in PROCESSES:
            errors = measure(row, process)
            yield f"| {row} | {process} | {' | '.join(f'{e:.1e}' for e in errors)} | {order(errors):.2f} |"


def adaptive():
    """Lines of the table of the adaptive solver."""
    yield f"| sampler | process | {' | '.join(f'rtol = atol = {t:.0e}' for t in TOLERANCES)} |"
    yield "|---" * (len(TOLERANCES) + 2) + "|"
    for process in PROCESSES:
        draw, times = samplers.find("diffrax"), problem(process)[:2]
        found = [flow_error(draw, process, times, rtol=t, atol=t) for t in TOLERANCES]
        yield f"| diffrax | {process} | {' | '.join(f'{error:.1e} in {calls} calls' for error, calls in found)} |"


def main():
    """Measures all and rewrites the part of the document between the marks."""
    text = DOCUMENT.read_text()
    before, rest = text.split(MARKS[0])
    lines = [
        MARKS[0],
        "Deterministic samplers, eight Gaussians: root-mean-square error of x / alpha.",
        "",
        *table(ODES, flow_errors),
        "",
        "The adaptive solver on the same problem.",
        "",
        *adaptive(),
        "",
        "Noisy samplers, one Gaussian: relative error of the standard deviation, without sampling error.",
        "",
        *table(SDES, law_errors),
        MARKS[1],
    ]
    DOCUMENT.write_text(before + "\n".join(lines) + rest.split(MARKS[1])[1])


if __name__ == "__main__":
    main()
