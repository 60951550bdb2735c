"""From a Denoiser to a Model: its net, the way of the data into its unit and back, its density."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from research import likelihood, parameterize
from research.contracts import Model
from research.diffusion.denoiser import Parts
from research.diffusion.loss import loss
from research.diffusion.sampling import field_of, sample
from research.encoding import decode, encode
from research.errors import UserError
from research.nets import build

EXACT_TRACE = 16  # dimensions up to which the likelihood's trace is exact


def make(config, data_shape, denoiser):
    """Model of data of shape `data_shape`, from the sections data, net, model and sampler of `config`.

    Integers 0 .. data.levels - 1 enter on [-1, 1], floats as they are, or standardized. Raises UserError.
    """
    levels, standardize = config.data.levels or None, config.model.get("standardize")  # older runs have no such field
    net = build.make(config.net, config.data.num_classes or None)
    if denoiser.spans:
        denoiser = denoiser._replace(net_time=functools.partial(told_span, denoiser))
    if config.model.get("flip") and len(data_shape) != 3:
        raise UserError("config.model.flip mirrors images: their shape is [H, W, C]")
    if standardize and levels:
        raise UserError("config.model.standardize is for continuous data; integers enter on [-1, 1] as they are")

    def field(params, label, train=False, **rngs):
        def apply(x, t, *to):
            if to and not denoiser.spans:
                raise UserError(f"a {config.model.name} knows no averages over spans of time: take another sampler.")
            return net.apply(params, x, denoiser.net_time(t, *to), label, train, **rngs)

        return parameterize.field(apply, denoiser.process, denoiser.kind, denoiser.sigma_data)

    def init(key, batch):
        """{"params": ...} from one example of a batch, with standardize also its "stats", measured on all of it."""
        x, t = encode(batch["x"][:1], levels, 0.5), denoiser.net_time(jnp.zeros(1))
        params = net.init(key, x, t, jnp.full((1,), -1))
        if not standardize:
            return params
        return {**params, "stats": {"mean": batch["x"].mean(axis=0), "std": batch["x"].std(axis=0) + 1e-6}}

    def enter(params, x, offset):
        x = encode(x, levels, offset)
        return (x - params["stats"]["mean"]) / params["stats"]["std"] if standardize else x

    def leave(params, x):
        return x * params["stats"]["std"] + params["stats"]["mean"] if standardize else decode(x, levels)

    parts = Parts(config, tuple(data_shape), denoiser, field, enter, leave)
    of_loss, of_sample, of_log_prob, of_field = (
        functools.partial(f, parts) for f in (loss, sample, log_prob, field_of)
    )
    # Of the density of another data set at t = 1 nothing is known.
    return Model(init, of_loss, of_sample, None if config.data.get("source") else of_log_prob, field=of_field)


def told_span(denoiser, t, to=None):
    """What a net that knows averages is told [B, 2]: the time, and the span above `to`, or 0 up to the least one."""
    span = jnp.zeros_like(t) if to is None else t - to
    return denoiser.net_time(jnp.stack([t, jnp.where(span > denoiser.least_span, span, 0)], axis=-1))


def log_prob(parts, params, key, x, condition=None, *, num_probes=1, rtol=None, atol=None):
    """LogProb of x [B, ...] as stored; the trace is exact up to 16 dimensions, beyond by num_probes probes.

    By the probability flow integers get one uniform draw each: their nats are, on average, a lower bound of log P(x).
    Raises UserError for examples of another shape, and without the condition of a model that never trained without.
    """
    if x.shape[1:] != parts.shape:
        raise UserError(f"this model is of examples of shape {parts.shape}, not {x.shape[1:]}")
    key_u, key_probe = jax.random.split(key)
    field = field_of(parts, params, len(x), condition, guidance=1.0)
    if parts.denoiser.log_prob:
        found = parts.denoiser.log_prob(field, parts.enter(params, x, 0.5), key_probe)
    else:
        sampler = parts.config.sampler
        found = likelihood.probability_flow(
            field,
            parts.denoiser.process,
            parts.enter(params, x, jax.random.uniform(key_u, x.shape)),
            key_probe,
            trace="exact" if math.prod(parts.shape) <= EXACT_TRACE else "hutchinson",
            num_probes=num_probes,
            rtol=sampler.rtol if rtol is None else rtol,
            atol=sampler.atol if atol is None else atol,
        )
        found = likelihood.as_stored(found, parts.levels, parts.shape)
    if parts.config.model.get("standardize"):
        found = dataclasses.replace(found, nats=found.nats - jnp.sum(jnp.log(params["stats"]["std"])))
    return found
