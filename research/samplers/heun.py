"""Heun's method on the probability-flow ODE: second order, two calls a step."""

import jax.numpy as jnp

from research import samplers


def sample(field, noise, x, times, key=None, *, variable="t", trajectory=False):
    """Samples from x [B, ...] at times[0], along descending times [S + 1], the last of them by two calls too.

    variable="t" steps d x / dt = velocity, "sigma" d(x / alpha) / d(sigma / alpha) = eps (Karras et al. 2022,
    algorithm 1, in the scaled variable). Where alpha = 0 that variable is infinite, and such a step is Euler's; so is
    one to sigma = 0 where the field has no finite slope there.
    """

    def step_t(x, t, t_next, _):
        first = field(x, t).velocity
        second = field(x + (t_next - t) * first, t_next).velocity
        return x + (t_next - t) * (first + or_first(second, first, noise.sigma(t_next))) / 2

    def step_sigma(x, t, t_next, _):
        first, guess = predict(field, noise, x, t, t_next)
        return correct(field, noise, first, guess, t, t_next)

    step = step_t if samplers.is_t(variable) else step_sigma
    return samplers.scan(step, x, times, calls=2, trajectory=trajectory)


def predict(field, noise, x, t, t_next):
    """(prediction at t, Euler's step from there in sigma / alpha)."""
    first = field(x, t)
    return first, noise.alpha(t_next) * first.x0 + noise.sigma(t_next) * first.eps


def correct(field, noise, first, guess, t, t_next):
    """Heun's step from Euler's `guess`: the mean of the slopes, in sigma / alpha, times alpha_next."""
    alpha, alpha_next, sigma_next = noise.alpha(t), noise.alpha(t_next), noise.sigma(t_next)
    width = jnp.where(alpha == 0, 0, sigma_next - alpha_next * noise.sigma(t) / jnp.where(alpha == 0, 1, alpha))
    second = or_first(field(guess, t_next).eps, first.eps, sigma_next)
    return guess + width * (second - first.eps) / 2


def or_first(second, first, sigma_next):
    """The second slope, or the first where that one is not finite because the step ends at sigma = 0."""
    return jnp.where((sigma_next == 0) & ~jnp.isfinite(second), first, second)
