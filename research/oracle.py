"""Data whose score, flow, likelihood and loss floor are known exactly: what samplers and losses are tested against."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.contracts import Prediction
from research.noise import as_time, expand
from research.samplers.diffrax import solve


class Mixture(NamedTuple):
    """Data x [B, D] from a Gaussian mixture, under any process."""

    field: Callable  # (noise) -> field(x [B, D], t [] or [B]) -> Prediction
    log_prob: Callable  # (x [B, D], t [] or [B], noise) -> [B], log density of x_t in nats
    sample: Callable  # (key, n) -> x [n, D]
    loss_floor: Callable  # (noise, t [], key=None, n=...) -> [], least mean squared error of eps, per coordinate
    flow_map: Callable  # (x [B, D], t_from, t_to, noise, tolerance=...) -> x carried along the probability flow


def gaussian_mixture(weights, means, stds):
    """Mixture of N(means[k], stds[k]^2 I) from weights [K] (normalised here), means [K, D], stds [K].

    Everything is finite wherever no component's alpha^2 std^2 + sigma^2 is 0; so, alpha = 0 and sigma = 0 included,
    if no std is 0. The loss floor is the mean over n draws of x_t of the variance of eps given x_t, which is exact for
    one component, as is its flow; the flow of more is an ODE, solved to the tolerance.
    """
    # Traced, or in float64 as numpy has it, so that data made before x64 is switched on lose nothing.
    given = [a if isinstance(a, jax.Array) else np.asarray(a, float) for a in (weights, means, stds)]
    single = len(given[0]) == 1

    def constants(dtype=float):
        """log w [K], mu [K, D], s [K]."""
        weights, means, stds = (jnp.asarray(a, dtype) for a in given)
        return jnp.log(weights / weights.sum()), means, stds

    def components(x, t, noise):
        """log w_k N(x; alpha mu_k, var_k) [B, K]; x - alpha mu_k [B, K, D]; var_k = alpha^2 s_k^2 + sigma^2 [B, K]."""
        log_weights, means, stds = constants(x.dtype)
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
            _, means, stds = constants(x.dtype)
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
        (key_k, key_x), (log_weights, means, stds) = jax.random.split(key), constants()
        k = jax.random.categorical(key_k, log_weights, shape=(n,))
        return means[k] + stds[k, None] * jax.random.normal(key_x, (n, means.shape[1]))

    def loss_floor(noise, t, key=None, n=100_000):
        key_x, key_eps = jax.random.split(jax.random.key(0) if key is None else key)
        alpha, sigma = noise.alpha(t), noise.sigma(t)
        x0 = sample(key_x, 1 if single else n)
        log_joint, diff, var = components(alpha * x0 + sigma * jax.random.normal(key_eps, x0.shape), t, noise)
        posterior, var = jax.nn.softmax(log_joint, axis=1)[..., None], var[..., None]
        eps = sigma * diff / var  # the mean given x_t and the component, whose variance is alpha^2 s^2 / var
        mean = jnp.sum(posterior * eps, axis=1, keepdims=True)
        within = (alpha * constants(x0.dtype)[2][:, None]) ** 2 / var
        return jnp.mean(jnp.sum(posterior * (within + (eps - mean) ** 2), axis=1))

    def flow_map(x, t_from, t_to, noise, tolerance=1e-6):
        if not single:
            slope = lambda x, t: field(noise)(x, t).velocity  # noqa: E731
            return solve(slope, x, (t_from, t_to), rtol=tolerance, atol=tolerance)[0][-1]
        _, (mean,), (std,) = constants(x.dtype)
        (alpha, std_from), (alpha_to, std_to) = (
            (noise.alpha(t), jnp.hypot(noise.alpha(t) * std, noise.sigma(t)))
            for t in (expand(t_from, x), expand(t_to, x))
        )
        return alpha_to * mean + std_to / std_from * (x - alpha * mean)

    return Mixture(field, log_prob, sample, loss_floor, flow_map)


def ring(number=8, radius=2.0, std=0.2):
    """Mixture of `number` equal Gaussians at even angles of a circle; by default the toy set "8gaussians"."""
    angles = 2 * np.pi * np.arange(number) / number
    means = radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    return gaussian_mixture(np.ones(number), means, np.full(number, std))


def dirac(means, weights=None):
    """Mixture of points means [K, D], by default of equal weights: finite for t > 0 only, where sigma is not 0."""
    return gaussian_mixture(np.ones(len(means)) if weights is None else weights, means, np.zeros(len(means)))


class Pair(NamedTuple):
    """A straight-line flow between two independently coupled Gaussians, coordinate by coordinate."""

    field: Callable  # () -> field(x, t) -> Prediction, whose x0 and eps are the means of x_0 and x_1 given x_t
    flow_map: Callable  # (x, t_from, t_to) -> x carried exactly along the flow
    loss_floor: Callable  # () -> the least mean squared error that a velocity can have
    euler_std: Callable  # (num_steps) -> standard deviation at t = 0 after Euler steps from t = 1
    heun_std: Callable  # (num_steps) -> the same after Heun steps
    straightness: Callable  # () -> S of the flow, summed over the coordinates that the four numbers broadcast to


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

    def straightness():
        # x_t = mean + s z with s^2 = variance and one z ~ N(0, 1) all along, so S = int (s1 - s0 - s')^2 dt, which is
        # int s'^2 dt - (s1 - s0)^2. Here s'^2 = s0^2 + s1^2 - s0^2 s1^2 / s^2, and that integral is the loss floor's.
        s_0, s_1, *_ = np.broadcast_arrays(s0, s1, mu0, mu1)
        return float(np.sum((2 - np.pi / 2) * s_0 * s_1))

    def std_after(num_steps, factor):
        t = np.arange(num_steps, 0, -1) / num_steps
        return s1 * np.prod([np.abs(factor(a, a - 1 / num_steps, 1 / num_steps)) for a in t], axis=0)

    def euler_std(num_steps):
        return std_after(num_steps, lambda t, _, h: 1 - h * rate(t))

    def heun_std(num_steps):
        return std_after(num_steps, lambda t, t_next, h: 1 - h * (rate(t) + rate(t_next) * (1 - h * rate(t))) / 2)

    return Pair(lambda: predict, flow_map, loss_floor, euler_std, heun_std, straightness)
