"""Samplers: sample(field, noise, x, times, key=None, **options) -> Samples, knowing no params, net or config.

One file a sampler; `find` imports it by name, so a new sampler is one new file.
"""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np

from research.contracts import Samples
from research.errors import UserError, is_known, nearest
from research.noise import times as times

BY_VELOCITY = ("euler", "heun", "diffrax", "probability_flow", "jump")  # all that they read of a field
HELPERS = {"guidance", "inpainting", "thresholding", "transition"}  # files here that are no samplers


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


def scan(step, carry, times, *, calls, trajectory, read=lambda carry: carry, upwards=False):
    """Samples after carry <- step(carry, t, t_next, i) along times [S + 1], i = 0 .. S - 1, as one lax.scan.

    The carry is x, or a pytree that `read` picks x from. calls: of the field a step, or a function of the last carry
    that returns all of them. upwards: walk from the last of the times to the first. Raises UserError as `falling` does.
    """
    times = falling(times, read(carry).dtype)[:: -1 if upwards else 1]

    def body(carry, interval):
        carry = step(carry, *interval)
        return carry, read(carry) if trajectory else None

    last, path = jax.lax.scan(body, carry, (times[:-1], times[1:], jnp.arange(len(times) - 1)))
    path = jnp.concatenate([read(carry)[None], path]) if trajectory else None
    nfe = calls(last) if callable(calls) else calls * (len(times) - 1)
    return Samples(read(last), path, jnp.asarray(nfe), times)


def falling(times, dtype):
    """times [S + 1] as an array; where they are known, raises UserError unless they fall.

    The last two may be equal: a discrete grid that ends at step 1 takes that step twice.
    """
    if is_known(times):
        found = np.asarray(times)
        if found.ndim != 1 or len(found) < 2:
            raise UserError(f"sampling needs a list of two times or more, not one of shape {found.shape}")
        falls = np.diff(found) < 0
        falls[-1] |= found[-1] == found[-2]
        if not falls.all():
            i = int(np.argmin(falls))
            raise UserError(
                f"sampling goes from noise to data, so its times must fall: times[{i + 1}] = {found[i + 1]} "
                f"follows {found[i]}"
            )
    return jnp.asarray(times, jnp.promote_types(dtype, jnp.float32))


def is_zero(value):
    """Whether a value is known to be 0, so that what it scales can be left out."""
    return is_known(value) and not np.any(value)


def at_least(least, **values):
    """Raises UserError for a value that is known and below `least`, or no number."""
    for name, value in values.items():
        if is_known(value) and not value >= least:
            raise UserError(f"this sampler takes {name} of {least} and above, not {name}={value}")


def require_key(key):
    """Raises UserError where there is no key."""
    if key is None:
        raise UserError("this sampler draws noise: give it a key, such as jax.random.key(0)")


def normal(key, i, x):
    """The i-th draw of N(0, 1) in the shape of x. Raises UserError without a key."""
    require_key(key)
    return jax.random.normal(jax.random.fold_in(key, i), x.shape, x.dtype)


def noisy(i, times, last_mean):
    """0 at the last step if last_mean, else 1: what multiplies the noise of step i."""
    return 1 - ((i == len(times) - 2) & last_mean)


def is_t(variable):
    """Whether to step in t rather than in sigma / alpha. Raises UserError for any other variable."""
    if variable not in ("t", "sigma"):
        raise UserError(f"a sampler cannot step in variable={variable!r}: give 't' or 'sigma'")
    return variable == "t"
