"""Inpainting, and imputation of tables: the unknown entries drawn given the known ones, by any one-step sampler."""

import jax
import jax.numpy as jnp

from research import samplers
from research.errors import UserError
from research.samplers.transition import transition


def sample(draw, field, noise, x, times, key, *, known, mask, resample=1, trajectory=False, **options):
    """Samples from x [B, ...] at times[0] that equal `known` [B, ...] where `mask` (broadcast to it) is True.

    Before each step of `draw`, a sampler's `sample` that takes `options`, the known entries are set to
    alpha_t known + sigma_t eps (Song et al. 2021, I.2). resample > 1 goes back by fresh noise and takes the step
    again, that many times in all, which brings the unknown entries into line with the known (Lugmayr et al. 2022,
    algorithm 1). Known values elsewhere than in the mask, nan included, are not read. draw sees one interval at a
    time: a multistep method is of first order, and edm's S_churn is that of one step.
    Raises UserError without a key or below one resample, and as draw does.
    """
    samplers.require_key(key)
    if resample < 1:
        raise UserError(f"inpainting takes each step once at least, not resample={resample}")
    takes_last = "last_mean" in samplers.takes(draw)

    def is_last(i):
        return i == len(times) - 2

    def once(x, t, s, i, key):
        key_known, key_draw, key_back = jax.random.split(key, 3)
        level = noise.alpha(t) * known + noise.sigma(t) * samplers.normal(key_known, 0, x)
        own = {"last_mean": is_last(i)} if takes_last else {}
        out = draw(field, noise, jnp.where(mask, level, x), jnp.stack([t, s]), key_draw, **own, **options)
        alpha_ts, var_ts, _ = transition(noise, s, t)
        return out.x, alpha_ts * out.x + jnp.sqrt(var_ts) * samplers.normal(key_back, 0, x), out.nfe

    def step(carry, t, s, i):
        def again(j, carry):
            x, calls = carry
            x_s, x_t, nfe = once(x, t, s, i, jax.random.fold_in(jax.random.fold_in(key, i), j))
            return jnp.where(j < resample - 1, x_t, x_s), calls + nfe

        x, calls = jax.lax.fori_loop(0, resample, again, carry)
        return jnp.where(mask & is_last(i), known, x), calls

    return samplers.scan(
        step, (x, jnp.zeros(())), times, calls=lambda c: c[1], read=lambda c: c[0], trajectory=trajectory
    )
