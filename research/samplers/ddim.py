"""DDIM (Song, Meng & Ermon 2021): fewer steps than the model has, of as much noise as eta says; and its way back."""

import jax
import jax.numpy as jnp
import numpy as np

from research import samplers
from research.errors import UserError, is_known
from research.samplers.transition import transition


def coefficients(alpha_bar_t, alpha_bar_s, eta):
    """(c_x0, c_eps, sigma) of x_s = c_x0 x0 + c_eps eps + sigma z, from t to an earlier s (eq. 12 and 16).

    sigma = eta sqrt((1 - alpha_bar_s) / (1 - alpha_bar_t)) sqrt(1 - alpha_bar_t / alpha_bar_s): of the ratio over the
    whole step, however many it skips. Scalars or arrays; in float64 where they are no JAX arrays. Raises UserError for
    eta outside of 0 .. 1.
    """
    _check(eta)
    xp = jnp if any(isinstance(a, jax.Array) for a in (alpha_bar_t, alpha_bar_s, eta)) else np
    lost = (alpha_bar_s - alpha_bar_t) / (alpha_bar_s * (1 - alpha_bar_t))  # 1 - SNR_t / SNR_s
    sigma_s = xp.sqrt(1 - alpha_bar_s)
    return xp.sqrt(alpha_bar_s), sigma_s * xp.sqrt(1 - eta**2 * lost), eta * sigma_s * xp.sqrt(lost)


def sample(field, noise, x, times, key=None, *, eta=0.0, sigma_hat=False, trajectory=False):
    """Samples from x [B, ...] at times[0], along descending times [S + 1]: one call a step.

    eta=0 draws no noise and needs no key; eta=1 is ddpm's "beta_tilde". For any alpha and sigma, sigma of eq. 16 is
    eta sigma_s / sigma_t sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2). sigma_hat, in the place of eta, is the
    larger noise of section 5 and D.3, ddpm's "beta", with eps as for eta=1, and none where the step ends at sigma = 0.
    Raises UserError for eta outside of 0 .. 1, and where noise is drawn without a key.
    """
    _check(eta)

    def step(x, t, s, i):
        prediction, sigma_s = field(x, t), noise.sigma(s)
        _, var_ts, lost = transition(noise, s, t)
        share = 1 if sigma_hat else eta
        mean = noise.alpha(s) * prediction.x0 + sigma_s * jnp.sqrt(1 - share**2 * lost) * prediction.eps
        if samplers.is_zero(share):
            return mean
        std = jnp.sqrt(jnp.where(sigma_s > 0, var_ts, 0)) if sigma_hat else eta * sigma_s * jnp.sqrt(lost)
        return mean + std * samplers.normal(key, i, x)

    return samplers.scan(step, x, times, calls=1, trajectory=trajectory)


def _check(eta):
    if is_known(eta) and not np.all((np.asarray(eta) >= 0) & (np.asarray(eta) <= 1)):
        raise UserError(f"ddim takes eta from 0 (no noise) to 1 (ddpm's), not eta={eta}")


def encode(field, noise, x, times, *, trajectory=False):
    """Samples whose x is the latent at times[0] of data x [B, ...] at times[-1]: eq. 13, run backwards.

    The times are those of sampling, falling. Where sigma = 0 the field has nothing to read: its eps is taken at the
    time after.
    """

    def step(x, s, t, _):
        alpha_ts, sigma_s = noise.alpha(t) / noise.alpha(s), noise.sigma(s)
        eps = field(x, jnp.where(sigma_s == 0, t, s)).eps
        return alpha_ts * x + (noise.sigma(t) - alpha_ts * sigma_s) * eps

    return samplers.scan(step, x, times, calls=1, trajectory=trajectory, upwards=True)


def reconstruct(field, noise, x, times, *, trajectory=False):
    """Samples from the latent of data x [B, ...]: x again, up to the error of the steps (table 2)."""
    latent = encode(field, noise, x, times)
    out = sample(field, noise, latent.x, times, trajectory=trajectory)
    return out._replace(nfe=latent.nfe + out.nfe)


def interpolate(z0, z1, weights):
    """Latents [W, B, ...] on the arcs from z0 [B, ...] (weight 0) to z1 (weight 1), of weights [W] (D.5, eq. 67)."""
    axes = tuple(range(1, z0.ndim))
    norms = [jnp.sqrt(jnp.sum(z**2, axes, keepdims=True)) for z in (z0, z1)]
    angle = jnp.arccos(jnp.clip(jnp.sum(z0 * z1, axes, keepdims=True) / (norms[0] * norms[1]), -1, 1))
    weights = jnp.asarray(weights, z0.dtype).reshape(-1, *[1] * z0.ndim)
    # Of parallel latents the arc is the straight line.
    arc = [jnp.sin(w * angle) / jnp.where(angle > 0, jnp.sin(angle), 1) for w in (1 - weights, weights)]
    w0, w1 = (jnp.where(angle > 0, a, w) for a, w in zip(arc, (1 - weights, weights)))
    return w0 * z0 + w1 * z1
