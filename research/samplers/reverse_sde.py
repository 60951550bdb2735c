"""The reverse SDE by diffrax: higher-order solvers for additive noise, and steps that follow a tolerance."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from research import samplers
from research.contracts import Samples
from research.errors import UserError, is_known
from research.samplers.diffrax import finished
from research.samplers.euler_maruyama import check, drift

SOLVERS = {"euler": diffrax.Euler, "heun": diffrax.Heun, "shark": diffrax.ShARK}
CALLS = {"euler": 1, "heun": 2, "shark": 2}  # of the field a step


class Scaled(diffrax.ControlTerm):
    """vector_field(t, ...) [] times a Brownian motion in the shape of x."""

    def prod(self, vf, control):
        """vf control, as a number times an array."""
        return jax.tree.map(lambda dw: vf * dw, control)


def sample(
    field,
    noise,
    x,
    times,
    key=None,
    *,
    lam=1.0,
    solver="euler",
    adaptive=False,
    sde_rtol=1e-3,
    sde_atol=1e-3,
    max_steps=4096,
    trajectory=False,
):
    """Samples from x [B, ...] at times[0] to times[-1]: euler_maruyama's SDE, in the time s = times[0] - t.

    Steps stop at each of descending times [S + 1]; adaptive=True chooses them for the batch by sde_rtol and sde_atol,
    which euler, having no error estimate, cannot. "heun" is of weak order 2 as g depends on t alone, "shark" (Foster et
    al. 2023) of strong order 1.5. heun reads the score at times[-1] too, where sigma may not be 0. nfe is exact.
    Raises UserError for another solver, without a key, and as research.samplers.diffrax.solve does.
    """
    samplers.require_key(key)
    if solver not in SOLVERS:
        raise UserError(f"there is no reverse_sde of solver={solver!r}: give one of {', '.join(SOLVERS)}")
    if adaptive and solver == "euler":
        raise UserError("euler has no error estimate to be adaptive by: give solver='heun' or 'shark'")
    check(noise, times, lam)
    times = np.unique(times)[::-1] if is_known(times) else times  # a grid that ends at step 1 stops there twice
    times = samplers.falling(times, x.dtype)
    start, stops = times[0], times[0] - times
    span, steps = stops[-1], len(times) - 1
    # The tree's finest interval lies below the shortest step, as far as that is known.
    finest = jnp.minimum(span * 2.0**-14, jnp.min(jnp.diff(stops)) / 2)
    levy = diffrax.SpaceTimeLevyArea if solver == "shark" else diffrax.BrownianIncrement
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    brownian = diffrax.VirtualBrownianTree(0, span, finest, shape, key, levy_area=levy)
    control = diffrax.StepTo(ts=stops)
    if adaptive:
        control = diffrax.PIDController(rtol=sde_rtol, atol=sde_atol, pcoeff=0.1, icoeff=0.3)
        # A path between its steps is no straight line, so a trajectory's times are steps.
        control = diffrax.ClipStepSizeController(control, step_ts=stops) if trajectory else control
    solution = diffrax.diffeqsolve(
        diffrax.MultiTerm(
            diffrax.ODETerm(lambda s, x, _: -drift(field, noise, x, start - s, lam)),
            Scaled(lambda s, x, _: lam * noise.g(start - s), brownian),
        ),
        SOLVERS[solver](),
        0,
        span,
        span / 100 if adaptive else None,
        x,
        saveat=diffrax.SaveAt(ts=stops) if trajectory else diffrax.SaveAt(t1=True),
        stepsize_controller=control,
        max_steps=max_steps if adaptive else steps,
        throw=False,
    )
    path, calls = finished(solution, 1.0 * CALLS[solver] * solution.stats["num_steps"], max_steps)
    return Samples(path[-1], path if trajectory else None, calls, times)
