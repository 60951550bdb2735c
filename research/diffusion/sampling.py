"""Sampling by any sampler, with guidance and thresholds."""

import jax
import jax.numpy as jnp
import numpy as np

from research import noise as processes
from research import samplers
from research.encoding import labels, quantize
from research.errors import UserError, is_known, nearest
from research.samplers import thresholding
from research.samplers.guidance import guide

THRESHOLDS = {"static": thresholding.static, "dynamic": thresholding.dynamic}


def sample(
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
    noise=None,
    source=None,
    rounded=True,
    trajectory=False,
    **options,
):
    """Samples in the data's own type, conditioned on one class or [num_samples] of them, by default on none.

    What is not given comes from config.sampler; `options` go to the sampler. The trajectory, in the data's unit, is not
    rounded; rounded=False leaves the samples so too. They start from noise [num_samples, ...] of N(0, 1), by
    default by `key`, or from `source` [num_samples, ...] as stored. Guidance other than 1 doubles nfe, which is nan
    where a sample is not finite. Raises UserError.
    """
    given = {"name": sampler, "num_steps": num_steps, "spacing": spacing, "end": end, "threshold": threshold}
    defaults, process = parts.config.sampler, parts.denoiser.process
    chosen = {name: defaults.get(name) if value is None else value for name, value in given.items()}
    draw = samplers.find(chosen["name"], **options)
    takes = samplers.takes(draw)
    if (parts.denoiser.only_velocity or parts.config.data.get("source")) and chosen["name"] not in samplers.BY_VELOCITY:
        raise UserError(
            f"the sampler '{chosen['name']}' takes noise for independent of the data, and this model was trained on "
            f"ends that are not, or have none: take one of {', '.join(samplers.BY_VELOCITY)}."
        )
    options = {o: defaults[o] for o in defaults if o in takes} | options
    grid, adaptive = process, "rtol" in takes
    if adaptive:  # it reads the field at the last of its times too, and there is none at `end`
        grid = process._replace(end=1 / process.num_steps if process.num_steps else None)
    times = processes.times(grid, chosen["num_steps"], chosen["spacing"] or "uniform", chosen["end"], offset)
    times = np.unique(times)[::-1] if adaptive else times
    if options.get("per_sample") and parts.num_classes:
        raise UserError(
            "per_sample=True solves one by one, and this model is told a class each: draw them by num_samples=1"
        )
    field, calls = _guided(parts, params, condition, num_samples, guidance, guidance_interval)
    if chosen["threshold"] not in (None, "none"):
        field = _threshold(chosen["threshold"], parts.levels)(field, process)
    key_x, key_sampler = jax.random.split(key)
    x = _start(parts, params, key_x, num_samples, noise, source)
    out = draw(field, process, x, times, key_sampler, trajectory=trajectory, **options)
    x = parts.leave(params, out.x)
    return out._replace(
        x=quantize(x, parts.levels) if rounded else x,
        trajectory=parts.leave(params, out.trajectory) if trajectory else None,
        nfe=jnp.where(jnp.isfinite(out.x).all(), 1.0 * calls, jnp.nan) * out.nfe,
    )


def _start(parts, params, key, n, drawn, source):
    """x [n, ...] at t = 1."""
    if parts.config.data.get("source") and source is None:
        raise UserError(f"this model starts from examples of {parts.config.data.source}: give it source=[{n}, ...]")
    if source is not None:
        whole = jnp.issubdtype(source.dtype, jnp.integer)
        return parts.enter(params, source, jax.random.uniform(key, source.shape) if whole else 0)
    if drawn is not None:
        return parts.denoiser.process.prior_std * drawn
    return parts.denoiser.process.prior(key, (n, *parts.shape))


def field_of(parts, params, n, condition=None, guidance=None):
    """The field in the net's unit that n samples with that condition follow."""
    return _guided(parts, params, condition, n, guidance, None)[0]


def _guided(parts, params, condition, n, guidance, interval):
    """(field, calls of the net it makes) at that guidance within that interval, of config.sampler where it is None."""
    defaults, dropped = parts.config.sampler, parts.config.model.label_dropout
    if condition is not None and is_known(dropped) and dropped >= 1:
        raise UserError("this model was trained without classes (model.label_dropout is 1): leave the condition out")
    told = parts.num_classes and is_known(dropped) and dropped == 0  # always, so what it says untold means nothing
    if told and condition is None:
        raise UserError(
            "this model was trained with classes alone (model.label_dropout is 0): give it a condition, as "
            "sampler.balanced=True does"
        )
    scale = defaults.guidance if guidance is None else guidance
    field = parts.field(params, labels(condition, n, parts.num_classes))
    if is_known(scale) and float(scale) == 1:
        return field, 1
    if not parts.num_classes:
        raise UserError(f"guidance={scale} needs a model with classes (config.data.num_classes)")
    if told:
        raise UserError(
            f"guidance={scale} needs a model that was also trained without classes, and model.label_dropout is 0: take "
            "guidance=1"
        )
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
