"""Predictor and corrector (Song et al. 2021, appendix G): a step back in time, and Langevin steps at one time."""

import jax
import jax.numpy as jnp

from research import samplers
from research.errors import UserError
from research.samplers.transition import posterior, transition

PREDICTORS = ("reverse_diffusion", "ancestral", "none")


def sample(
    field,
    noise,
    x,
    times,
    key=None,
    *,
    predictor="reverse_diffusion",
    corrector_steps=1,
    snr=0.16,
    last_mean=True,
    trajectory=False,
):
    """Samples from x [B, ...] at times[0], along descending times [S + 1].

    At each time but the last corrector_steps Langevin steps x + e score + sqrt(2 e) z, e = 2 alpha_ts^2
    (snr |z| / |score|)^2 with norms averaged over the batch (algorithms 4 and 5), then the predictor to the next:
    "reverse_diffusion", (2 - alpha_ts) x + var_ts score + sqrt(var_ts) z (algorithms 2 and 3, for any process),
    "ancestral" (F), or "none", which is annealed Langevin dynamics. The papers' loop is cut before the corrector: so
    no score is read at the end, and the last thing done is a predictor's step without noise, unless last_mean is False.
    corrector_steps calls a step, and one of a predictor. Raises UserError for another predictor, and without a key.
    """
    if predictor not in PREDICTORS:
        raise UserError(f"there is no predictor={predictor!r}: give one of {', '.join(PREDICTORS)}")
    samplers.at_least(0, corrector_steps=corrector_steps, snr=snr)
    draws = corrector_steps + 1

    def norm(a):
        return jnp.mean(jnp.sqrt(jnp.sum(a.reshape(len(a), -1) ** 2, axis=1)))

    def step(x, t, s, i):
        alpha_ts, var_ts, _ = transition(noise, s, t)

        def correct(j, x):
            score, z = field(x, t).score, samplers.normal(key, i * draws + j, x)
            size = 2 * (alpha_ts * snr * norm(z) / norm(score)) ** 2
            return x + size * score + jnp.sqrt(2 * size) * z

        x = jax.lax.fori_loop(0, corrector_steps, correct, x)
        if predictor == "none":
            return x
        if predictor == "ancestral":
            mean, var = posterior(noise, x, field(x, t).x0, t, s)
        else:
            mean, var = (2 - alpha_ts) * x + var_ts * field(x, t).score, var_ts
        z = samplers.normal(key, i * draws + corrector_steps, x)
        return mean + samplers.noisy(i, times, last_mean) * jnp.sqrt(var) * z

    calls = corrector_steps + (predictor != "none")
    return samplers.scan(step, x, times, calls=calls, trajectory=trajectory)
