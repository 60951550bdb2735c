"""One log-likelihood for every model with a velocity field, and bits per dimension computed in one place."""

import math

import jax
import jax.numpy as jnp

from research.contracts import LogProb
from research.errors import UserError
from research.samplers.diffrax import solve


def standard_normal(std=1.0):
    """x [B, ...] -> log density [B] of N(0, std^2) in every coordinate."""

    def log_density(x):
        return jnp.sum(jax.scipy.stats.norm.logpdf(x, scale=std).reshape(x.shape[0], -1), axis=1)

    return log_density


def probability_flow(
    field, noise, x, key=None, *, trace="exact", num_probes=1, prior="normal", rtol=1e-5, atol=1e-5, max_steps=4096
):
    """LogProb of x [B, ...] at t_min, by d log p(x_t) / dt = -tr(d velocity / d x_t) up to the noise end at t_max.

    trace="exact" differentiates along every coordinate, which costs as many tangents as x has. "hutchinson" draws
    num_probes sign vectors by `key` and keeps them along the path (Grathwohl et al. 2019); two and more
    give a standard error. prior: the density at t_max, "normal" for N(0, prior_std^2) or x -> nats [B].
    Each example is taken to have a velocity of its own, so no batch statistics. Raises UserError for an unknown
    trace, for "hutchinson" without a key, and as research.samplers.diffrax.solve does.
    """
    if trace not in ("exact", "hutchinson"):
        raise UserError(f"a trace cannot be computed by trace={trace!r}: give 'exact' or 'hutchinson'")
    if trace == "exact":
        size = x[0].size
        directions = jnp.broadcast_to(jnp.eye(size, dtype=x.dtype).reshape(size, 1, *x.shape[1:]), (size, *x.shape))
    elif key is None:
        raise UserError("Hutchinson's trace draws probes: give probability_flow a key, or trace='exact'")
    else:
        directions = jax.random.rademacher(key, (num_probes, *x.shape), x.dtype)

    def slope(state, t):
        x, _ = state
        velocity, tangents = jax.linearize(lambda x: field(x, t).velocity, x)
        along = jnp.sum((directions * jax.vmap(tangents)(directions)).reshape(*directions.shape[:2], -1), axis=-1)
        return velocity, jnp.sum(along, axis=0, keepdims=True) if trace == "exact" else along

    start = x, jnp.zeros((1 if trace == "exact" else num_probes, x.shape[0]), x.dtype)
    path, _ = solve(slope, start, (noise.t_min, noise.t_max), rtol=rtol, atol=atol, max_steps=max_steps)
    end, log_det = jax.tree.map(lambda leaf: leaf[-1], path)
    log_prior = standard_normal(noise.prior_std) if prior == "normal" else prior
    nats = log_prior(end) + log_det  # [1 or num_probes, B]
    stderr = jnp.std(nats, axis=0, ddof=1) / math.sqrt(len(nats)) if len(nats) > 1 else None
    return LogProb(nats.mean(axis=0), stderr, kind="exact" if trace == "exact" else "unbiased")


def as_stored(log_prob, levels, data_shape):
    """The LogProb of data on [-1, 1] (see research.encoding) as one per unit of the data as stored.

    Integers were dequantised uniformly, so their nats are, on average, a lower bound of log P(x). Without levels the
    data entered as they are, and so does the record.
    """
    if not levels:
        return log_prob
    nats = log_prob.nats + math.prod(data_shape) * math.log(2 / levels)
    return LogProb(nats, log_prob.stderr, "lower_bound", "uniform_dequantized")


def bits_per_dim(log_prob, data_shape):
    """Bits per dimension [B] of a LogProb of data of that shape, -nats / (d ln 2): per stored unit, so no offset."""
    return -log_prob.nats / (math.prod(data_shape) * math.log(2))
