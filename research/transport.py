"""How straight a flow is, what a coupling costs, and couplings of a batch that cost less than the independent one.

A coupling is order [B]: row i of x0 goes with row order[i] of x1.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from research import noise
from research.errors import UserError, is_known
from research.samplers import heun

ROUND = 10  # iterations of Sinkhorn between two exponentials: see `_potentials`
START = (0.01, 20)  # epsilon and iterations of the potentials that the exact search starts from


def straightness(field, x, times):
    """S [] = int E|(x_1 - x_0) - v(x_t, t)|^2 dt of the flow of x [B, ...], by trapezoids over `straightness_curve`.

    It is 0 where every path is a straight line at constant speed (Liu et al. 2022, section 2.2).
    """
    return -jnp.trapezoid(straightness_curve(field, x, times), jnp.asarray(times))


def straightness_curve(field, x, times):
    """E|(x_1 - x_0) - v(x_t, t)|^2 [S + 1] at each of the times: summed over coordinates, averaged over the batch."""
    return follow(field, x, times)[1]


def follow(field, x, times):
    """(x_0 [B, ...], `straightness_curve` [S + 1]) of the flow that carries x.

    Heun's steps carry x [B, ...], drawn at times[0], down to times[-1]. Times may stop short of 1 or 0 where the field
    is singular: x_1 - x_0 is then the whole way over the time it took. Raises UserError for times that do not fall.
    """
    walk = heun.sample(field, noise.rectified(), x, times, trajectory=True)
    slope = (x - walk.x) / (walk.times[0] - walk.times[-1])

    def at(point):
        x_t, t = point
        return transport_cost(field(x_t, t).velocity, slope)

    return walk.x, jax.lax.map(at, (walk.trajectory, walk.times))


def transport_cost(x0, x1, p=2):
    """E|x_1 - x_0|^p [] of paired rows x0, x1 [B, ...], by the Euclidean norm of a row."""
    return jnp.mean(jnp.sum(_rows(x1 - x0) ** 2, axis=1) ** (p / 2))


def exact_pairs(x0, x1, label=None):
    """order [B] of the least summed squared distance between x0 and x1[order], both [B, ...].

    label [B] of x0: rows change places within a class only, so that the noise of every class stays N(0, I), as a
    class-conditional model needs it. Solved on the host, by one of the processes, and for the whole batch, however it
    is spread over devices. Raises UserError where the shapes differ.
    """
    x0, x1, label = _checked(x0, x1, label)
    # Potentials leave the order as it is, and near the dual solution they save most of the search.
    cost, f, g = _potentials(x0, x1, label, *START)
    order = jax.ShapeDtypeStruct(label.shape, jnp.int32)
    return jax.pure_callback(_assign, order, cost - f - g, label, vmap_method="sequential")


def _assign(cost, label):
    """The order, on the host. What is not finite counts as 0, since the step reports bad numbers itself."""
    cost, label = np.asarray(cost), np.asarray(label)
    order = np.empty(len(label), np.int32)
    for one in np.unique(label):
        rows = np.flatnonzero(label == one)
        order[rows] = rows[linear_sum_assignment(np.nan_to_num(cost[np.ix_(rows, rows)], posinf=0, neginf=0))[1]]
    return order


def sinkhorn_pairs(x0, x1, key, label=None, *, epsilon=0.05, num_iters=50):
    """order [B]: the partner of each row of x0, drawn from its row of the entropic plan between x0 and x1 [B, ...].

    Row by row as OT-CFM (Tong et al. 2023), so a row of x1 may be drawn several times; label as in `exact_pairs`.
    epsilon is in units of the mean cost (Cuturi 2013); num_iters is rounded up to tens. At 0.05, 50 iterations leave
    the plan's columns off by less than 1 % on average; a smaller epsilon needs more. Raises UserError.
    """
    plan = _plan(x0, x1, label, epsilon, num_iters)
    below = jnp.cumsum(plan, axis=1)
    draw = jax.random.uniform(key, (len(plan), 1), plan.dtype) * below[:, -1:]
    # Sums may differ by a rounding where nothing is added: what is blocked is left out by name.
    return jnp.argmax((plan > 0) * (1 + (below > draw)), axis=1).astype(jnp.int32)


def _plan(x0, x1, label, epsilon, num_iters):
    """The plan [B, B] whose rows sum to 1 and whose columns nearly do; exactly 0 between classes."""
    for name, value, least in (("epsilon", epsilon, "above 0"), ("num_iters", num_iters, "of 1 and above")):
        if is_known(value) and not value > 0:
            raise UserError(f"sinkhorn_pairs takes {name} {least}, not {name}={value}")
    cost, f, g = _potentials(*_checked(x0, x1, label), epsilon, num_iters)
    return jnp.exp(f + g - cost)


def _potentials(x0, x1, label, epsilon, num_iters):
    """(cost [B, B], f [B, 1], g [B]) of the plan exp(f + g - cost).

    The cost is |x0 - x1|^2 in units of epsilon times its mean, less numbers of rows and of columns, which leave it with
    a 0 in each; it is infinite between classes. Kernels are multiplied, and every ROUND iterations the factors move
    into f and g. The first kernel has a 1 in each row and column and nothing above, hence sums in 1 .. B; each half of
    an iteration then changes a factor at most B-fold, so for B < 6000 ROUND of them cannot leave float32.
    """
    dtype, same = jnp.promote_types(x0.dtype, jnp.float32), label[:, None] == label
    with jax.default_matmul_precision("highest"):
        x0, x1 = (_rows(x.astype(dtype)) - _rows(x0.astype(dtype)).mean(axis=0) for x in (x0, x1))
        cost = jnp.sum(x1**2, axis=1) - 2 * x0 @ x1.T
        mean = jnp.mean(cost + jnp.sum(x0**2, axis=1)[:, None], where=same)
        cost = jnp.where(same, cost, jnp.inf)
        for axis in (1, 0):
            cost = cost - cost.min(axis=axis, keepdims=True)
        cost = cost / jnp.maximum(epsilon * mean, jnp.finfo(dtype).tiny)

        def absorb(potentials, _):
            f, g = potentials
            kernel = jnp.exp(f + g - cost)

            def iterate(_, factors):
                v = 1 / (factors[0] @ kernel)
                return 1 / (kernel @ v), v

            u, v = jax.lax.fori_loop(0, ROUND, iterate, (jnp.ones_like(g), g))
            return (f + jnp.log(u)[:, None], g + jnp.log(v)), None

        start = jnp.zeros_like(cost[:, :1]), jnp.zeros_like(cost[0])
        (f, g), _ = jax.lax.scan(absorb, start, length=-(-num_iters // ROUND))
        return cost, f, g


def _rows(x):
    return x.reshape(len(x), -1)


def _checked(x0, x1, label):
    """(x0, x1, label [B]) without gradients, label 0 where there is none. Raises UserError where the shapes differ."""
    label = jnp.zeros(len(x0), int) if label is None else jnp.asarray(label)
    if x0.shape != x1.shape or label.shape != x0.shape[:1]:
        raise UserError(
            f"a coupling takes x0, x1 [B, ...] and label [B], not shapes {x0.shape}, {x1.shape} and {label.shape}"
        )
    return (*map(jax.lax.stop_gradient, (x0, x1)), label)
