"""Noise in T steps by a table of alpha_bar, as DDPM states it. Entry 0 is the data: alpha_bar_0 = 1, always."""

import jax.numpy as jnp
import numpy as np

from research.errors import UserError, nearest
from research.noise.process import Process, as_time

MAX_BETA = 0.999  # of the cosine schedule (Nichol & Dhariwal 2021, section 3.2)
SCHEDULES = ("linear", "scaled_linear", "cosine", "sigmoid")


def alpha_bar(schedule="linear", num_steps=1000, beta_start=1e-4, beta_end=0.02, s=0.008, zero_terminal_snr=False):
    """[T + 1] in float64 from the betas of a schedule; entry 0 is 1.

    linear (Ho et al. 2020), scaled_linear (in the root of beta; Rombach et al. 2022) and sigmoid (over -6 .. 6; Xu et
    al. 2022) rise from beta_start to beta_end, which by default fit 1000 steps; cosine has s instead.
    zero_terminal_snr moves and scales the roots so that the last is 0 (Lin et al. 2024, algorithm 1).
    Raises UserError for an unknown schedule, less than 1 step, or betas out of 0 .. 1.
    """
    if schedule not in SCHEDULES:
        raise UserError(f"there is no schedule '{schedule}': {nearest(schedule, SCHEDULES)}")
    if num_steps < 1 or num_steps != int(num_steps):
        raise UserError(f"a schedule needs at least 1 step, a whole number, not num_steps={num_steps}")
    num_steps = int(num_steps)
    if not 0 < beta_start <= beta_end < 1:
        raise UserError(f"betas rise within 0 .. 1: not from beta_start={beta_start} to beta_end={beta_end}")
    if not 0 <= s < 1:
        raise UserError(f"the cosine schedule takes s from 0 to below 1, not s={s}")
    ramp = np.linspace(0, 1, num_steps)
    if schedule == "linear":
        beta = beta_start + (beta_end - beta_start) * ramp
    elif schedule == "scaled_linear":
        beta = (beta_start**0.5 + (beta_end**0.5 - beta_start**0.5) * ramp) ** 2
    elif schedule == "sigmoid":
        beta = beta_start + (beta_end - beta_start) / (1 + np.exp(6 - 12 * ramp))
    else:
        root = np.cos((np.arange(num_steps + 1) / num_steps + s) / (1 + s) * np.pi / 2)
        beta = np.minimum(1 - (root[1:] / root[:-1]) ** 2, MAX_BETA)
    table = np.concatenate([[1.0], np.cumprod(1 - beta)])
    return zero_terminal(table) if zero_terminal_snr and num_steps > 1 else table


def zero_terminal(table):
    """alpha_bar [T + 1] of which the last is 0 and the first of the steps is kept."""
    root = np.sqrt(table[1:])
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return np.concatenate([[1.0], root**2])


def discrete(table):
    """The process of alpha_bar [T + 1]: at t = n / T that of the table, between linear in alpha and in sigma.

    So all of it is finite from t = 0 on, and an Euler step over neighbours is a DDIM step. Raises UserError where the
    table does not fall from 1 to 0 or more.
    """
    table = np.asarray(table, np.float64)
    if table.ndim != 1 or len(table) < 2 or table[0] != 1 or not np.all(np.diff(table) < 0) or table[-1] < 0:
        raise UserError("alpha_bar must be a list that starts at 1, falls at each step, and ends at 0 or above")
    num_steps = len(table) - 1

    def line(values):
        def at(t):
            # At a step itself the slope is that towards the data, where samplers go; t = n / T is rounded.
            slack = 4 * num_steps * jnp.finfo(t.dtype).eps
            left = jnp.clip(jnp.ceil(t * num_steps - slack) - 1, 0, num_steps - 1)
            low, high = (jnp.asarray(values, t.dtype)[left.astype(int) + i] for i in (0, 1))
            share = t * num_steps - left
            return low * (1 - share) + high * share

        return at

    alpha, sigma = line(np.sqrt(table)), line(np.sqrt(1 - table))
    return Process(
        log_alpha=lambda t: jnp.log(alpha(t)),
        variance=lambda t: sigma(t) ** 2,
        exact_alpha=alpha,
        exact_sigma=sigma,
        end=0.0,
        num_steps=num_steps,
    )


def step(process, t):
    """The integer n of t = n / T of a discrete process; rounding, since int(n / T * T) is below n for some n."""
    return jnp.round(as_time(t) * process.num_steps).astype(int)
