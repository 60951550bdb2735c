"""Noise in T steps by a table of alpha_bar, as DDPM states it. Entry 0 is the data: alpha_bar_0 = 1, always."""

import jax.numpy as jnp
import numpy as np

from research.errors import UserError, nearest
from research.noise.process import Process, as_time

MAX_BETA = 0.999  # of the cosine schedule (Nichol & Dhariwal 2021, section 3.2)
SCHEDULES = ("linear", "scaled_linear", "cosine", "sigmoid")


def alpha_bar(schedule="linear", num_steps=1000, beta_start=None, beta_end=0.02, s=0.008, zero_terminal_snr=False):
    """[T + 1] in float64 from the betas of a schedule; entry 0 is 1.

    linear (Ho et al. 2020), scaled_linear (in the root of beta; Rombach et al. 2022) and sigmoid (over -6 .. 6; Xu et
    al. 2022) rise from beta_start, by default 1e-4, to beta_end, which fits 1000 steps; cosine has s instead.
    zero_terminal_snr moves and scales the roots so that the last is 0 (Lin et al. 2024, algorithm 1).
    Raises UserError for an unknown schedule, less than 1 step, or betas out of 0 .. 1.
    """
    if schedule not in SCHEDULES:
        raise UserError(f"there is no schedule '{schedule}': {nearest(schedule, SCHEDULES)}")
    if num_steps < 1:
        raise UserError(f"a schedule needs at least 1 step, not num_steps={num_steps}")
    start = 1e-4 if beta_start is None else beta_start
    if not 0 < start <= beta_end < 1:
        raise UserError(f"betas rise within 0 .. 1: not from beta_start={start} to beta_end={beta_end}")
    ramp = np.linspace(0, 1, num_steps)
    if schedule == "linear":
        beta = start + (beta_end - start) * ramp
    elif schedule == "scaled_linear":
        beta = (start**0.5 + (beta_end**0.5 - start**0.5) * ramp) ** 2
    elif schedule == "sigmoid":
        beta = start + (beta_end - start) / (1 + np.exp(6 - 12 * ramp))
    else:
        root = np.cos((np.arange(num_steps + 1) / num_steps + s) / (1 + s) * np.pi / 2)
        beta = np.minimum(1 - (root[1:] / root[:-1]) ** 2, MAX_BETA)
    table = np.concatenate([[1.0], np.cumprod(1 - beta)])
    return zero_terminal(table) if zero_terminal_snr else table


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
            left = jnp.clip(jnp.floor(t * num_steps), 0, num_steps - 1)
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
