"""Processes x_t = alpha(t) x0 + sigma(t) eps from data (t = 0) to noise (t = 1).

A process states two functions, and all else is derived from them. Functions take t [] or [B] and return its shape.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


def as_time(t):
    """t as a floating-point array, so that it can be differentiated."""
    return jnp.asarray(t, jnp.result_type(t, float))


def expand(a, x):
    """a [] or [B] with the trailing ones that let it multiply x [B, ...]."""
    a = jnp.asarray(a)
    return a.reshape(a.shape + (1,) * (jnp.ndim(x) - a.ndim)) if a.ndim else a


def _slope(function, t):
    t = as_time(t)
    return jax.jvp(function, (t,), (jnp.ones_like(t),))[1]


class Process(NamedTuple):
    """`log_alpha` and `variance` (= sigma^2) state a process; the `exact_*` forms stand in where those lose precision.

    Samplers and likelihoods stay within t_min .. t_max; from the last point a sampler may go on to `end`, where the net
    is not called. The noise end is N(0, prior_std^2). A discrete process lives on t = n / num_steps.
    """

    log_alpha: Callable
    variance: Callable
    t_min: float = 0.0
    t_max: float = 1.0
    prior_std: float = 1.0
    exact_alpha: Callable | None = None  # where log alpha is singular
    exact_sigma: Callable | None = None  # where the root of the variance has no slope
    exact_time: Callable | None = None  # log-SNR -> t; without it `time` halves an interval
    end: float | None = None  # where the last step goes, if not t_min
    num_steps: int | None = None  # of a discrete process

    def alpha(self, t):
        """The signal's scale."""
        return self.exact_alpha(as_time(t)) if self.exact_alpha else jnp.exp(self.log_alpha(as_time(t)))

    def sigma(self, t):
        """The noise's standard deviation."""
        return self.exact_sigma(as_time(t)) if self.exact_sigma else jnp.sqrt(self.variance(as_time(t)))

    def d_alpha(self, t):
        """d alpha / dt."""
        return _slope(self.alpha, t)

    def d_variance(self, t):
        """d sigma^2 / dt, finite wherever the process is smooth."""
        return _slope(self.variance, t)

    def d_sigma(self, t):
        """d sigma / dt; infinite where sigma = 0 unless the process states sigma itself."""
        return _slope(self.sigma, t) if self.exact_sigma else self.d_variance(t) / (2 * self.sigma(t))

    def f(self, t):
        """Drift d log alpha / dt of dx = f x dt + g dW (Kingma et al. 2021); -inf where alpha = 0."""
        return _slope(self.log_alpha, t)

    def g(self, t):
        """Diffusion, g^2 = d variance / dt - 2 f variance; from the variance, as sigma has no slope where it is 0."""
        return jnp.sqrt(jnp.maximum(self.d_variance(t) - 2 * self.f(t) * self.variance(as_time(t)), 0))

    def log_snr(self, t):
        """log(alpha^2 / sigma^2); +inf where sigma = 0, -inf where alpha = 0."""
        return 2 * self.log_alpha(as_time(t)) - jnp.log(self.variance(as_time(t)))

    def time(self, log_snr):
        """The t at which the log-SNR is that; by bisection of t_min .. t_max where no closed form is stated."""
        log_snr = as_time(log_snr)
        if self.exact_time:
            return self.exact_time(log_snr)

        def halve(_, ends):
            low, high = ends
            middle = (low + high) / 2
            too_clean = self.log_snr(middle) > log_snr
            return jnp.where(too_clean, middle, low), jnp.where(too_clean, high, middle)

        ends = jnp.full_like(log_snr, self.t_min), jnp.full_like(log_snr, self.t_max)
        return sum(jax.lax.fori_loop(0, jnp.finfo(log_snr.dtype).nmant + 2, halve, ends)) / 2

    def prior(self, key, shape):
        """Draws of that shape from the noise end."""
        return self.prior_std * jax.random.normal(key, shape)
