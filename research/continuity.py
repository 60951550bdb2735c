"""Diffusion derived from an ODE, and every step of the derivation as a residual that can be computed.

1. dx/dt = f(x, t) carries points. In dt a small box changes its volume by det(I + dt df/dx) = 1 + dt div f and keeps
   its mass, so along a path d log p(x_t) / dt = -div f.
2. The left side is d log p / dt + f . grad log p at a fixed x; times p this is the continuity equation
   dp/dt + div(p f) = 0.
3. With f = -D_t grad log p it reads dp/dt = D_t laplacian p, the heat equation: a path down the density's own slope
   spreads the data as heat spreads.
4. Its solution is the data's density convolved with N(0, sigma_t^2 I), sigma_t^2 = 2 int D_t dt. So x_t = x_0 + sigma_t
   eps has this p_t, D_t = sigma sigma', and f = -sigma' sigma score is its probability flow.
5. dx = f dt + g dW has dp/dt = -div(p f) + (g^2 / 2) laplacian p (Fokker-Planck), which is the continuity equation of
   f - (g^2 / 2) score: the SDE and this ODE share every p_t (Song et al. 2021, appendix D.1).
"""

import jax
import jax.numpy as jnp

from research.likelihood import divergence, integrate
from research.noise import as_time, expand


def _residual(log_prob, drift, diffusivity, x, t):
    """d log p / dt + f . s + div f - D (div s + |s|^2), s = grad log p: (dp/dt + div(p f) - D laplacian p) / p."""
    t = as_time(t)
    _, rate = jax.jvp(lambda t: log_prob(x, t), (t,), (jnp.ones_like(t),))
    score, laplacian = divergence(jax.grad(lambda x: jnp.sum(log_prob(x, t))), x)
    velocity, spread = divergence(lambda x: drift(x, t), x)
    dot = lambda a, b: jnp.sum((a * b).reshape(x.shape[0], -1), axis=1)  # noqa: E731
    return rate + dot(velocity, score) + spread - diffusivity * (laplacian + dot(score, score))


def continuity_residual(velocity, log_prob, x, t):
    """d log p / dt + f . grad log p + div f [B] at x [B, ...], t [] or [B]: 0 where `velocity` carries p_t.

    velocity(x, t) -> [B, ...] and log_prob(x, t) -> [B] must not mix examples.
    """
    return _residual(log_prob, velocity, 0.0, x, t)


def heat_residual(log_prob, diffusivity, x, t):
    """(dp/dt - D laplacian p) / p [B] at x [B, ...], t [] or [B]; diffusivity(t) is D, of the shape of t."""
    return _residual(log_prob, lambda x, t: jnp.zeros_like(x), diffusivity(as_time(t)), x, t)


def fokker_planck_residual(log_prob, drift, diffusion, x, t):
    """(dp/dt + div(p f) - (g^2 / 2) laplacian p) / p [B] of dx = f dt + g dW: drift(x, t) is f, diffusion(t) is g."""
    return _residual(log_prob, drift, diffusion(as_time(t)) ** 2 / 2, x, t)


def heat_velocity(score, noise):
    """velocity(x [B, ...], t [] or [B]) = -sigma' sigma score(x, t), which spreads x_0 to x_0 + sigma_t eps.

    sigma' sigma is taken as half the slope of sigma^2, which is finite at sigma = 0 too.
    """
    return lambda x, t: -expand(noise.d_variance(t), x) / 2 * score(x, t)


def carry(velocity, x, t_from, t_to, log_p=None, *, tolerance=1e-6):
    """(x [B, ...] at t_to, its log-density [B] there), from x at t_from of log-density log_p [B]; either way in time.

    Without log_p, as if it were 0, the second is the change on the way, -int div f dt, by the exact trace.
    Raises UserError as research.samplers.diffrax.solve does.
    """
    x, grown = integrate(velocity, x, t_from, t_to, rtol=tolerance, atol=tolerance)
    return x, (0 if log_p is None else log_p) - grown
