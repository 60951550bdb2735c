"""Heun's method on the probability-flow ODE: second order, two calls a step."""

import jax.numpy as jnp

from research import samplers


def sample(field, noise, x, times, key=None, *, variable="t", trajectory=False):
    """Samples from x [B, ...] at times[0], along descending times [S + 1], the last of them by two calls too.

    variable="t" steps d x / dt = velocity, "sigma" d(x / alpha) / d(sigma / alpha) = eps (Karras et al. 2022,
    algorithm 1, in the scaled variable). Where alpha = 0 that variable is infinite, and such a step is Euler's.
    """

    def step_t(x, t, t_next):
        first = field(x, t).velocity
        second = field(x + (t_next - t) * first, t_next).velocity
        return x + (t_next - t) * (first + second) / 2

    def step_sigma(x, t, t_next):
        alpha, alpha_next, sigma_next = noise.alpha(t), noise.alpha(t_next), noise.sigma(t_next)
        first = field(x, t)
        guess = alpha_next * first.x0 + sigma_next * first.eps
        second = field(guess, t_next)
        # The step in sigma / alpha, times alpha_next.
        width = jnp.where(alpha == 0, 0, sigma_next - alpha_next * noise.sigma(t) / jnp.where(alpha == 0, 1, alpha))
        return guess + width * (second.eps - first.eps) / 2

    step = step_t if samplers.is_t(variable) else step_sigma
    return samplers.scan(step, x, times, calls=2, trajectory=trajectory)
