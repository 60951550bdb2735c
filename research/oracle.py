"""Data whose score, flow, likelihood and loss floor are known exactly: what samplers and losses are tested against."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.contracts import Prediction
from research.noise import as_time, expand


class Mixture(NamedTuple):
    """Data x [B, D] from a Gaussian mixture, under any process."""

    field: Callable  # (noise) -> field(x [B, D], t [] or [B]) -> Prediction
    log_prob: Callable  # (x [B, D], t [] or [B], noise) -> [B], log density of x_t in nats
    sample: Callable  # (key, n) -> x [n, D]


def gaussian_mixture(weights, means, stds):
    """Mixture of N(means[k], stds[k]^2 I) from weights [K] (normalised here), means [K, D], stds [K].

    Everything is finite from t = 0 on, if no std is 0, except that a process may have alpha = 0 or sigma = 0 there.
    """
    weights, means, stds = (jnp.asarray(a, float) for a in (weights, means, stds))
    log_weights = jnp.log(weights / weights.sum())

    def components(x, t, noise):
        """log w_k N(x; alpha mu_k, var_k) [B, K]; x - alpha mu_k [B, K, D]; var_k = alpha^2 s_k^2 + sigma^2 [B, K]."""
        t = jnp.broadcast_to(as_time(t), x.shape[:1])
        alpha = noise.alpha(t)[:, None]
        var = (alpha * stds) ** 2 + noise.sigma(t)[:, None] ** 2
        diff = x[:, None] - alpha[..., None] * means
        log_joint = log_weights - 0.5 * (jnp.sum(diff**2, -1) / var + x.shape[1] * jnp.log(2 * jnp.pi * var))
        return log_joint, diff, var

    def field(noise):
        def predict(x, t):
            alpha, sigma, d_alpha, d_var = (
                expand(c(t), x) for c in (noise.alpha, noise.sigma, noise.d_alpha, noise.d_variance)
            )
            log_joint, diff, var = components(x, t, noise)
            posterior = jax.nn.softmax(log_joint, axis=1)[..., None]
            pull = diff / var[..., None]
            x0 = jnp.sum(posterior * (means + expand(alpha, pull) * stds[:, None] ** 2 * pull), axis=1)
            score = -jnp.sum(posterior * pull, axis=1)
            # sigma' eps = -(sigma^2)' score / 2, which stays finite at sigma = 0.
            return Prediction(x0, -sigma * score, score, d_alpha * x0 - d_var * score / 2)

        return predict

    def log_prob(x, t, noise):
        return jax.nn.logsumexp(components(x, t, noise)[0], axis=1)

    def sample(key, n):
        key_k, key_x = jax.random.split(key)
        k = jax.random.categorical(key_k, log_weights, shape=(n,))
        return means[k] + stds[k, None] * jax.random.normal(key_x, (n, means.shape[1]))

    return Mixture(field, log_prob, sample)


class Pair(NamedTuple):
    """A straight-line flow between two independently coupled Gaussians, coordinate by coordinate."""

    field: Callable  # () -> field(x, t) -> Prediction, whose x0 and eps are the means of x_0 and x_1 given x_t
    flow_map: Callable  # (x, t_from, t_to) -> x carried exactly along the flow
    loss_floor: Callable  # () -> the least mean squared error that a velocity can have
    euler_std: Callable  # (num_steps) -> standard deviation at t = 0 after Euler steps from t = 1
    heun_std: Callable  # (num_steps) -> the same after Heun steps


def gaussian_pair(mu0, s0, mu1, s1):
    """Pair on x_t = (1 - t) x_0 + t x_1, x_0 ~ N(mu0, s0^2) and x_1 ~ N(mu1, s1^2); s0, s1 are standard deviations."""

    def mean(t):
        return (1 - t) * mu0 + t * mu1

    def variance(t):
        return (1 - t) ** 2 * s0**2 + t**2 * s1**2

    def rate(t):
        """d log std / dt = cov(x_1 - x_0, x_t) / var(x_t): the velocity is mu1 - mu0 + rate (x - mean)."""
        return (t * s1**2 - (1 - t) * s0**2) / variance(t)

    def predict(x, t):
        t = expand(t, x)
        score = -(x - mean(t)) / variance(t)
        x0, x1 = mu0 - (1 - t) * s0**2 * score, mu1 - t * s1**2 * score
        return Prediction(x0, x1, score, mu1 - mu0 + rate(t) * (x - mean(t)))

    def flow_map(x, t_from, t_to):
        t_from, t_to = expand(t_from, x), expand(t_to, x)
        return mean(t_to) + jnp.sqrt(variance(t_to) / variance(t_from)) * (x - mean(t_from))

    def loss_floor():
        # var(x_1 - x_0 | x_t) = s0^2 s1^2 / var(x_t), whose integral over t is pi s0 s1 / 2.
        return float(np.mean(np.pi * np.multiply(s0, s1) / 2))

    def std_after(num_steps, factor):
        t = np.arange(num_steps, 0, -1) / num_steps
        return s1 * np.prod([np.abs(factor(a, a - 1 / num_steps, 1 / num_steps)) for a in t], axis=0)

    def euler_std(num_steps):
        return std_after(num_steps, lambda t, _, h: 1 - h * rate(t))

    def heun_std(num_steps):
        return std_after(num_steps, lambda t, t_next, h: 1 - h * (rate(t) + rate(t_next) * (1 - h * rate(t))) / 2)

    return Pair(lambda: predict, flow_map, loss_floor, euler_std, heun_std)
