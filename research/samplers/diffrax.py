"""The probability-flow ODE by diffrax's adaptive Runge-Kutta pairs of order 5."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from research import samplers
from research.contracts import Samples
from research.errors import UserError, is_known

SOLVERS = {"tsit5": diffrax.Tsit5, "dopri5": diffrax.Dopri5}


def solve(slope, y, times, *, solver="tsit5", rtol=1e-5, atol=1e-5, max_steps=4096):
    """(y at each of times [S + 1], calls of slope(y, t)) of dy/dt = slope from times[0] to times[-1]; y any pytree.

    Out of max_steps, or where slopes are not finite, it raises UserError outside jit, and inside returns nan for all.
    """
    if solver not in SOLVERS:
        raise UserError(f"diffrax is not set up for solver={solver!r}: give one of {', '.join(SOLVERS)}")
    samplers.at_least(1, max_steps=max_steps)
    samplers.at_least(0, rtol=rtol, atol=atol)
    times = jnp.asarray(times, jnp.promote_types(jax.tree.leaves(y)[0].dtype, jnp.float32))
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, _: slope(y, t)),
        SOLVERS[solver](),
        times[0],
        times[-1],
        (times[-1] - times[0]) / 100,  # the first step to try
        y,
        saveat=diffrax.SaveAt(ts=times),
        # Where slopes are not finite, steps shrink: give up at once, and not after max_steps of them.
        stepsize_controller=diffrax.PIDController(
            rtol=rtol, atol=atol, dtmin=1e-9 * jnp.abs(times[-1] - times[0]), force_dtmin=False
        ),
        # With the first slope given, every step, rejected or not, reuses its first stage (first same as last).
        solver_state=(jnp.asarray(False), slope(y, times[0])),
        max_steps=max_steps,
        throw=False,
    )
    # One call for that first slope, six a step.
    return finished(solution, 1.0 + 6.0 * solution.stats["num_steps"], max_steps)


def finished(solution, calls, max_steps):
    """(solution.ys, calls); of a failed solution, UserError outside jit, and nan for all of them inside."""
    done = solution.result == diffrax.RESULTS.successful
    calls = jnp.where(done, calls, jnp.nan)
    _require_finite(calls, max_steps)
    return jax.tree.map(lambda leaf: jnp.where(done, leaf, jnp.nan), solution.ys), calls


def _require_finite(calls, max_steps):
    if is_known(calls) and np.isnan(calls).any():
        raise UserError(
            f"the solver stopped: its slopes were not finite, or max_steps={max_steps} were too few; raise that, or "
            "loosen rtol and atol"
        )


def sample(
    field,
    noise,
    x,
    times,
    key=None,
    *,
    solver="tsit5",
    rtol=1e-5,
    atol=1e-5,
    max_steps=4096,
    per_sample=False,
    trajectory=False,
):
    """Samples from x [B, ...] at times[0] to times[-1]; the times between serve the trajectory only.

    The velocity is read at both ends: where it is singular at t = 0, stop short of it.

    The batch shares its step sizes, chosen for its root-mean-square error; per_sample=True gives each sample its own.
    nfe (a float) is exact, rejected steps included; with per_sample it is the mean over the samples.
    Raises UserError as `solve` does; inside jit such samples, and nfe, are nan.
    """
    times = samplers.falling(times, x.dtype)
    stops = times if trajectory else times[jnp.array([0, -1])]

    def flow(x):
        return solve(
            lambda x, t: field(x, t).velocity, x, stops, solver=solver, rtol=rtol, atol=atol, max_steps=max_steps
        )

    if per_sample:
        path, calls = jax.vmap(lambda one: flow(one[None]), out_axes=(1, 0))(x)
        path = path[:, :, 0]
        _require_finite(calls, max_steps)
    else:
        path, calls = flow(x)
    return Samples(path[-1], path if trajectory else None, jnp.mean(calls), times)
