"""EDM's stochastic sampler (Karras et al. 2022, algorithm 2): Heun's method in sigma / alpha, with churn."""

import jax
import jax.numpy as jnp

from research import samplers
from research.samplers.heun import correct, predict
from research.samplers.transition import transition


def sample(
    field,
    noise,
    x,
    times,
    key=None,
    *,
    S_churn=0.0,
    S_tmin=0.0,
    S_tmax=float("inf"),
    S_noise=1.0,
    trajectory=False,
):
    """Samples from x [B, ...] at times[0], along descending times [S + 1]: two calls a step, one where it ends at 0.

    Before each step from sigma / alpha within S_tmin .. S_tmax that is raised by 1 + gamma, gamma =
    min(S_churn / S, sqrt 2 - 1), by fresh noise times S_noise; a process that ends below that level bounds it. Without
    churn no key is needed. A step from alpha = 0 is Euler's. Raises UserError for churn without a key.
    """
    samplers.at_least(0, S_churn=S_churn)

    def churn(x, t, i):
        gamma = jnp.minimum(S_churn / (len(times) - 1), 2**0.5 - 1)
        ratio = noise.sigma(t) / noise.alpha(t)
        raises = (gamma > 0) & (S_tmin <= ratio) & (ratio <= S_tmax) & (noise.alpha(t) > 0)
        t_hat = jnp.where(raises, jnp.maximum(noise.time(noise.log_snr(t) - 2 * jnp.log1p(gamma)), t), t)
        alpha, var, _ = transition(noise, t, t_hat)
        return jnp.where(raises, alpha * x + S_noise * jnp.sqrt(var) * samplers.normal(key, i, x), x), t_hat

    def step(x, t, t_next, i):
        if not samplers.is_zero(S_churn):
            x, t = churn(x, t, i)
        first, guess = predict(field, noise, x, t, t_next)
        # A true branch and no `where`: the second call is spared.
        return jax.lax.cond(
            noise.sigma(t_next) == 0,
            lambda: guess,
            lambda: correct(field, noise, first, guess, t, t_next),
        )

    out = samplers.scan(step, x, times, calls=2, trajectory=trajectory)
    return out._replace(nfe=out.nfe - (noise.sigma(out.times[-1]) == 0))
