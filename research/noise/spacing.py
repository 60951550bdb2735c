"""At which times a sampler stops: grids over a process, and a user's own list."""

import operator

import jax
import numpy as np

from research.errors import UserError, nearest

SPACINGS = ("uniform", "leading", "linspace", "quadratic", "karras", "log_snr")
RHO = 7.0  # of Karras et al. (2022), eq. 5


def times(process, num_steps, spacing="uniform", end=None, offset=0):
    """Falling times [num_steps + 1], of which a sampler's first is process.t_max and its last `end`.

    spacing: "uniform" in t; "quadratic" in its root (Song et al. 2021, DDIM, D.2); "karras" in the 7th root of
    sigma / alpha; "log_snr" in that. Or a falling list of one's own: times, or integers n of a discrete process.
    Where `end`, by default the process's own, is None the grid ends at t_min; else num_steps points lead there, or to
    step 1 of a discrete process, and `end` follows; None of a discrete process is 0.
    A discrete process gets whole steps from all but karras and log_snr: its "uniform" counts back from T ("trailing"),
    "leading" counts up from 1 + offset in even strides, "linspace" has both 1 and T. Its end is 0, where alpha_bar is
    1; or 1 / T, where some libraries stop.
    Raises UserError below 1 step, above T, for an unknown spacing, and for a list that does not fall.
    """
    steps = process.num_steps
    if not isinstance(spacing, str):
        return _own(process, spacing)
    if spacing not in SPACINGS or (spacing in ("leading", "linspace") and not steps):
        kinds = SPACINGS if steps else [s for s in SPACINGS if s not in ("leading", "linspace")]
        raise UserError(
            f"there is no spacing '{spacing}' of {'discrete' if steps else 'continuous'} times: "
            f"{nearest(spacing, kinds)}"
        )
    if operator.index(num_steps) < 1:
        raise UserError(f"sampling needs at least 1 step, not num_steps={num_steps}")
    if steps and num_steps > steps:
        raise UserError(f"num_steps={num_steps} is more than the {steps} steps that the model was trained on")
    end = process.end if end is None else end
    if end is not None and not 0 <= end <= (1 / steps if steps else process.t_min):
        lowest = f"1 / {steps}" if steps else process.t_min
        raise UserError(f"end={end} is where the last step goes: from 0 to {lowest} of this process")
    points = num_steps + 1 if end is None else num_steps
    found = _discrete(process, points, spacing, offset) if steps else _continuous(process, points, spacing)
    return found if end is None else np.append(found, end)


def _continuous(process, points, spacing):
    high, low = process.t_max, process.t_min
    if spacing == "uniform":
        return np.linspace(high, low, points)
    if spacing == "quadratic":
        return np.linspace(high**0.5, low**0.5, points) ** 2
    return _by_noise(process, high, low, points, spacing)


def _discrete(process, points, spacing, offset):
    steps = process.num_steps
    # Halves are rounded as in diffusers: counted down from T, and up from 0.
    if spacing == "uniform":
        n = np.arange(steps, 0, -steps / points)[:points]
    elif spacing == "leading":
        n = np.arange(points)[::-1] * (steps // points) + 1 + offset
    elif spacing == "linspace":
        n = np.round(np.linspace(0, steps - 1, points))[::-1] + 1 if points > 1 else np.array([steps])
    elif spacing == "quadratic":
        n = np.linspace(steps**0.5, 1, points) ** 2
    else:
        return _by_noise(process, 1.0, 1 / steps, points, spacing)
    n = np.round(n)
    if n.max() > steps:
        raise UserError(f"offset={offset} leads beyond the {steps} steps that the model was trained on")
    if len(set(n)) < points:  # rounding made two of one
        raise UserError(f"{points} steps of {spacing} spacing fall on the same of {steps} steps; take fewer of them")
    return n / steps


@jax.ensure_compile_time_eval()  # numbers, also within jit
def _by_noise(process, high, low, points, spacing):
    """Times at which the 7th root of sigma / alpha, or the log-SNR, is evenly spaced."""
    log_snr = np.asarray(process.log_snr(np.array([high, low])), np.float64)
    if not np.isfinite(log_snr).all():
        raise UserError(
            f"{spacing} spacing needs noise and signal at both ends, which t = {high} .. {low} have not; "
            "take another spacing"
        )
    if spacing == "log_snr":
        grid = np.linspace(*log_snr, points)
    else:
        grid = -2 * RHO * np.log(np.linspace(*np.exp(-log_snr / 2 / RHO), points))
    found = np.array(process.time(grid), np.float64)
    found[[0, -1]] = [high, low][: 1 if points == 1 else 2]
    return found


def _own(process, values):
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if process.num_steps and found.size and np.all(found == np.round(found)) and found.max() > 1:
        found = found / process.num_steps
    if found.ndim != 1 or len(found) < 2 or not np.all(np.diff(found) < 0) or found[0] > 1 or found[-1] < 0:
        first = f"step {process.num_steps}" if process.num_steps else "t = 1"
        raise UserError(f"times must fall, from {first} at most to 0 at least, and be two or more, not {values}")
    return found
