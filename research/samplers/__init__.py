"""Samplers: sample(field, noise, x, times, key=None, **options) -> Samples, knowing no params, net or config.

One file a sampler; `find` imports it by name, so a new sampler is one new file.
"""

import importlib
import inspect
import operator
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np

from research.contracts import Samples
from research.errors import UserError, nearest

HELPERS = {"guidance"}  # files here that are no samplers


def find(name, **options):
    """The function `sample` of research/samplers/<name>.py. Raises UserError for an unknown name or option."""
    names = sorted({module.name for module in pkgutil.iter_modules(__path__)} - HELPERS)
    if name not in names:
        raise UserError(f"there is no sampler {name!r}: {nearest(name, names)}")
    sample = importlib.import_module(f"research.samplers.{name}").sample
    known = takes(sample)
    for option in options:
        if option not in known:
            raise UserError(f"the sampler {name!r} has no option {option!r}: {nearest(option, known)}")
    return sample


def takes(sample):
    """The names of a sampler's own options."""
    return [p.name for p in inspect.signature(sample).parameters.values() if p.kind is p.KEYWORD_ONLY]


def times(noise, num_steps):
    """Descending uniform grid [num_steps + 1] from noise.t_max to noise.t_min. Raises UserError below one step."""
    if operator.index(num_steps) < 1:
        raise UserError(f"sampling needs at least 1 step, not num_steps={num_steps}")
    return np.linspace(noise.t_max, noise.t_min, num_steps + 1)


def scan(step, x, times, *, calls, trajectory):
    """Samples after x <- step(x, t, t_next) along times [S + 1], as one lax.scan; `calls` of the field a step."""
    times = jnp.asarray(times, jnp.promote_types(x.dtype, jnp.float32))

    def body(x, interval):
        x = step(x, *interval)
        return x, x if trajectory else None

    last, path = jax.lax.scan(body, x, (times[:-1], times[1:]))
    path = jnp.concatenate([x[None], path]) if trajectory else None
    return Samples(last, path, jnp.asarray(calls * (len(times) - 1)))


def is_t(variable):
    """Whether to step in t rather than in sigma / alpha. Raises UserError for any other variable."""
    if variable not in ("t", "sigma"):
        raise UserError(f"a sampler cannot step in variable={variable!r}: give 't' or 'sigma'")
    return variable == "t"
