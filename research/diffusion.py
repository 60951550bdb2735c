"""What all diffusion models share: the denoising loss, sampling by any sampler, guidance, and likelihoods.

A model states its process, what its net predicts, at which times it is trained and how errors there are weighted.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research import likelihood, noise, parameterize, samplers
from research.contracts import Model, Prediction
from research.encoding import decode, encode, labels, quantize
from research.errors import UserError, is_known, nearest
from research.nets import build
from research.nets.embedding import drop_labels
from research.samplers import thresholding
from research.samplers.guidance import guide

EXACT_TRACE = 16  # dimensions up to which the likelihood's trace is exact
MIN_SNR = 5.0  # gamma of Hang et al. (2023)
WEIGHTS = ("simple", "score", "min_snr")
THRESHOLDS = {"static": thresholding.static, "dynamic": thresholding.dynamic}


class Denoiser(NamedTuple):
    """What a model states; `make` turns it into a Model."""

    process: noise.Process
    kind: str  # what the net predicts: a name of research.parameterize.KINDS
    draw_times: Callable  # (key, n) -> t [n] to train at
    weigh: Callable  # (t [n]) -> weight of the squared error of the net's output
    sigma_data: float | None = None  # of kind "edm"
    net_time: Callable = lambda t: t  # what the net is told for t
    log_prob: Callable | None = None  # (field, x0, key) -> LogProb of data without noise; else the probability flow's


class _Parts(NamedTuple):
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


def make(config, data_shape, denoiser):
    """Model of data of shape `data_shape`, from the sections data, net, model and sampler of `config`.

    Integers 0 .. data.levels - 1 enter on [-1, 1], floats as they are, or standardized. Raises UserError.
    """
    levels, standardize = config.data.levels or None, config.model.get("standardize")  # older runs have no such field
    net = build.make(config.net, config.data.num_classes or None)
    if config.model.get("flip") and len(data_shape) != 3:
        raise UserError("config.model.flip mirrors images: their shape is [H, W, C]")
    if standardize and levels:
        raise UserError("config.model.standardize is for continuous data; integers enter on [-1, 1] as they are")

    def field(params, label, train=False, **rngs):
        def apply(x, t):
            return net.apply(params, x, denoiser.net_time(t), label, train, **rngs)

        return parameterize.field(apply, denoiser.process, denoiser.kind, denoiser.sigma_data)

    def init(key, batch):
        """{"params": ...} from one example of a batch, with standardize also its "stats", measured on all of it."""
        params = net.init(key, encode(batch["x"][:1], levels, 0.5), jnp.zeros(1), jnp.full((1,), -1))
        if not standardize:
            return params
        return {**params, "stats": {"mean": batch["x"].mean(axis=0), "std": batch["x"].std(axis=0) + 1e-6}}

    def enter(params, x, offset):
        x = encode(x, levels, offset)
        return (x - params["stats"]["mean"]) / params["stats"]["std"] if standardize else x

    def leave(params, x):
        return x * params["stats"]["std"] + params["stats"]["mean"] if standardize else decode(x, levels)

    parts = _Parts(config, tuple(data_shape), denoiser, field, enter, leave)
    return Model(init, *(functools.partial(function, parts) for function in (_loss, _sample, _log_prob)))


def _loss(parts, params, key, batch, train=True):
    """Weighted mean squared error of the net's output at x_t = alpha x0 + sigma eps."""
    key_u, key_eps, key_t, key_label, key_dropout = jax.random.split(key, 5)
    x, n, fields, process = batch["x"], len(batch["x"]), parts.config.model, parts.denoiser.process
    if fields.get("flip") and train:
        key_u, key_flip = jax.random.split(key_u)
        x = jnp.where(noise.expand(jax.random.bernoulli(key_flip, shape=(n,)), x), jnp.flip(x, axis=2), x)
    x0 = parts.enter(params, x, jax.random.uniform(key_u, x.shape) if fields.dequantize else 0.5)
    eps = jax.random.normal(key_eps, x0.shape)
    t = parts.denoiser.draw_times(key_t, n)
    label = labels(batch.get("condition") if parts.num_classes else None, n, parts.num_classes)
    if train:
        label = drop_labels(key_label, label, fields.label_dropout)
    alpha, sigma, d_alpha, d_sigma = (
        noise.expand(c(t), x0) for c in (process.alpha, process.sigma, process.d_alpha, process.d_sigma)
    )
    found = parts.field(params, label, train, rngs={"dropout": key_dropout})(alpha * x0 + sigma * eps, t)
    truth = Prediction(x0, eps, None, d_alpha * x0 + d_sigma * eps)
    ours, exact = (
        parameterize.reading(p, t, process, parts.denoiser.kind, parts.denoiser.sigma_data) for p in (found, truth)
    )
    value = jnp.mean(parts.denoiser.weigh(t) * ((ours - exact) ** 2).reshape(n, -1).mean(axis=1))
    return value, ({"loss": value}, params.get("stats"))


def _sample(
    parts,
    params,
    key,
    num_samples,
    condition=None,
    *,
    sampler=None,
    num_steps=None,
    spacing=None,
    end=None,
    offset=0,
    guidance=None,
    guidance_interval=None,
    threshold=None,
    trajectory=False,
    **options,
):
    """Samples in the data's own type, conditioned on one class or [num_samples] of them, by default on none.

    What is not given comes from config.sampler; `options` go to the sampler. The trajectory, in the data's unit, is not
    rounded. Guidance other than 1 doubles nfe, which is nan where a sample is not finite. Raises UserError.
    """
    given = {"name": sampler, "num_steps": num_steps, "spacing": spacing, "end": end, "threshold": threshold}
    defaults, process = parts.config.sampler, parts.denoiser.process
    chosen = {name: defaults.get(name) if value is None else value for name, value in given.items()}
    draw = samplers.find(chosen["name"], **options)
    takes = samplers.takes(draw)
    options = {o: defaults[o] for o in defaults if o in takes} | options
    grid, adaptive = process, "rtol" in takes
    if adaptive:  # it reads the field at the last of its times too, and there is none at `end`
        grid = process._replace(end=1 / process.num_steps if process.num_steps else None)
    times = noise.times(grid, chosen["num_steps"], chosen["spacing"] or "uniform", chosen["end"], offset)
    times = np.unique(times)[::-1] if adaptive else times
    if options.get("per_sample") and parts.num_classes:
        raise UserError(
            "per_sample=True solves one by one, and this model is told a class each: draw them by num_samples=1"
        )
    field, calls = _guided(parts, params, condition, num_samples, guidance, guidance_interval)
    if chosen["threshold"] not in (None, "none"):
        field = _threshold(chosen["threshold"], parts.levels)(field, process)
    key_x, key_sampler = jax.random.split(key)
    x = process.prior(key_x, (num_samples, *parts.shape))
    out = draw(field, process, x, times, key_sampler, trajectory=trajectory, **options)
    return out._replace(
        x=quantize(parts.leave(params, out.x), parts.levels),
        trajectory=parts.leave(params, out.trajectory) if trajectory else None,
        nfe=jnp.where(jnp.isfinite(out.x).all(), 1.0 * calls, jnp.nan) * out.nfe,
    )


def _guided(parts, params, condition, n, guidance, interval):
    """(field, calls of the net it makes) at that guidance within that interval, of config.sampler where it is None."""
    defaults, dropped = parts.config.sampler, parts.config.model.label_dropout
    if condition is not None and is_known(dropped) and dropped >= 1:
        raise UserError("this model was trained without classes (model.label_dropout is 1): leave the condition out")
    scale = defaults.guidance if guidance is None else guidance
    field = parts.field(params, labels(condition, n, parts.num_classes))
    if is_known(scale) and float(scale) == 1:
        return field, 1
    if not parts.num_classes:
        raise UserError(f"guidance={scale} needs a model with classes (config.data.num_classes)")
    if condition is None and guidance is not None:
        raise UserError(f"guidance={scale} needs a condition: the class to guide to")
    if condition is None:
        return field, 1
    interval = interval or defaults.get("guidance_interval", (0.0, 1.0))
    return guide(field, parts.field(params, labels(None, n, parts.num_classes)), scale, interval), 2


def _threshold(name, levels):
    if name not in THRESHOLDS:
        raise UserError(f"there is no threshold '{name}': {nearest(name, ['none', *THRESHOLDS])}")
    if not levels:
        raise UserError(f"threshold={name} clips to the range of integer data, which continuous data have not")
    return THRESHOLDS[name]


def _log_prob(parts, params, key, x, condition=None, *, num_probes=1, rtol=None, atol=None):
    """LogProb of x [B, ...] as stored; the trace is exact up to 16 dimensions, beyond by num_probes probes.

    By the probability flow integers get one uniform draw each: their nats are, on average, a lower bound of log P(x).
    Raises UserError for examples of another shape.
    """
    if x.shape[1:] != parts.shape:
        raise UserError(f"this model is of examples of shape {parts.shape}, not {x.shape[1:]}")
    key_u, key_probe = jax.random.split(key)
    field = parts.field(params, labels(condition, len(x), parts.num_classes))
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
