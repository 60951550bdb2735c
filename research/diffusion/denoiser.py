"""What a diffusion model states."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from research import noise, parameterize
from research.errors import UserError, nearest

MIN_SNR = 5.0  # gamma of Hang et al. (2023)
WEIGHTS = ("simple", "score", "min_snr")


class Denoiser(NamedTuple):
    """What a model states; `make` turns it into a Model."""

    process: noise.Process
    kind: str  # what the net predicts: a name of research.parameterize.KINDS
    draw_times: Callable | None  # (key, n) -> t [n] to train at
    weigh: Callable | None  # (t [n]) -> weight of the squared error of the net's output
    sigma_data: float | None = None  # of kind "edm"
    net_time: Callable = lambda t: t  # what the net is told for t
    log_prob: Callable | None = None  # (field, x0, key) -> LogProb of data without noise; else the probability flow's
    distance: Callable = lambda error: jnp.mean(error**2, axis=1)  # (weighted error [B, D]) -> [B]
    gamma: Callable | None = None  # (t [n]) -> deviation of noise added between the ends; the net predicts velocity
    couple: Callable | None = None  # (key, x0, x1, label) -> order [B] in which x1 go to x0; else as they come
    only_velocity: bool = False  # ends belong together, so the score is not that of independent noise
    spans: bool = False  # the net is told net_time of (t, t - to), and asked for averages by field(x, t, to)
    least_span: float = 0.0  # spans up to this one are told as 0
    loss: Callable | None = (
        None  # (fields, x0, x1, label, key) -> [B]; fields(label, train=...) is a field; else as above
    )


class Parts(NamedTuple):
    """A Denoiser with its net, and the way of the data into its unit and back."""

    config: Any
    shape: tuple
    denoiser: Denoiser
    field: Callable  # (params, label, train=False, **rngs) -> field of a sampler
    enter: Callable  # (params, x, offset) -> data in the net's unit
    leave: Callable  # (params, x) -> data in their own unit, not rounded

    @property
    def levels(self):
        return self.config.data.levels or None

    @property
    def num_classes(self):
        return self.config.data.num_classes or None


def even_times(key, n):
    """t [n] in [0, 1), uniform each and spread evenly by one draw (Kingma et al. 2021, appendix I.1)."""
    return (jax.random.uniform(key) + jnp.arange(n) / n) % 1


def share(ratio):
    """(n) -> how many of n rows are that share of them: one or more, unless it is 0.

    A plain number, so that a loss may ask the net something else for these rows alone. Raises UserError outside of
    [0, 1].
    """
    if not 0 <= ratio <= 1:
        raise UserError(f"config.model.ratio is {ratio}: give a share of the batch, from 0 to 1.")
    return lambda n: max(round(ratio * n), 1) if ratio else 0


def weight(name, kind, process, sigma_data=None):
    """weight(t) [B] on the squared error of a net's own output.

    "simple": 1, whatever the output is (L_simple of DDPM, lambda of EDM); "score": what makes it 1 on the error of eps,
    hence sigma^2 on that of the score; "min_snr": min(SNR, 5) on that of x0 (Hang et al. 2023). Raises UserError for
    any other.
    """
    if name not in WEIGHTS:
        raise UserError(f"there is no weight '{name}' (config.model.weight): {nearest(name, WEIGHTS)}")

    def of(t):
        if name == "simple":
            return jnp.ones_like(t)
        scale = parameterize.eps_error(t, process, kind, sigma_data) ** 2
        return scale * jnp.exp(jnp.minimum(math.log(MIN_SNR) - process.log_snr(t), 0)) if name == "min_snr" else scale

    return of
