"""Four readings of one net output: x0, eps, score, velocity.

They are linear in each other: x_t = alpha x0 + sigma eps, velocity = alpha' x0 + sigma' eps, score = -eps / sigma.
Some readings have no value at an end, and come out as inf or nan there: the score at sigma = 0, eps from x0 at
sigma = 0, x0 from eps at alpha = 0. A net that predicts v or the rectified flow's velocity gives x0, eps and velocity
at both ends. What a net of kind "edm" returns is F of Karras et al. (2022): x0 = c_skip x / alpha + c_out F.
"""

import jax.numpy as jnp

from research.contracts import Prediction
from research.noise import as_time, expand

KINDS = ("x0", "eps", "v", "velocity", "edm")


def _coefficients(noise, x, t):
    return (expand(c(t), x) for c in (noise.alpha, noise.sigma, noise.d_alpha, noise.d_sigma))


def _prediction(x0, eps, x, t, noise, velocity=None):
    _, sigma, d_alpha, d_sigma = _coefficients(noise, x, t)
    return Prediction(x0, eps, -eps / sigma, d_alpha * x0 + d_sigma * eps if velocity is None else velocity)


def from_x0(x0, x, t, noise):
    """Prediction from x0 [B, ...] at x [B, ...], t [] or [B], such as after clipping x0; singular at sigma = 0."""
    alpha, sigma, _, _ = _coefficients(noise, x, t)
    return _prediction(x0, (x - alpha * x0) / sigma, x, t, noise)


def from_eps(eps, x, t, noise):
    """Prediction from eps [B, ...] at x [B, ...], t [] or [B]; singular at alpha = 0."""
    alpha, sigma, _, _ = _coefficients(noise, x, t)
    return _prediction((x - sigma * eps) / alpha, eps, x, t, noise)


def from_v(v, x, t, noise):
    """Prediction from v = alpha eps - sigma x0 (Salimans & Ho 2022, appendix D, for any alpha^2 + sigma^2)."""
    alpha, sigma, _, _ = _coefficients(noise, x, t)
    norm = alpha**2 + sigma**2
    return _prediction((alpha * x - sigma * v) / norm, (sigma * x + alpha * v) / norm, x, t, noise)


def from_velocity(velocity, x, t, noise):
    """Prediction from velocity = d x_t / dt; for the rectified flow x0 = x - t velocity, eps = x + (1 - t) velocity."""
    alpha, sigma, d_alpha, d_sigma = _coefficients(noise, x, t)
    determinant = alpha * d_sigma - sigma * d_alpha
    x0 = (d_sigma * x - sigma * velocity) / determinant
    eps = (alpha * velocity - d_alpha * x) / determinant
    return _prediction(x0, eps, x, t, noise, velocity)


def reading(prediction, t, noise, kind, sigma_data=None):
    """What a net of that kind returned, up to a shift that x alone decides, from its Prediction; t [] or [B].

    The difference of two readings, the net's and the truth's, is the net's error.
    """
    x0, eps = prediction.x0, prediction.eps
    if kind == "v":
        return expand(noise.alpha(t), x0) * eps - expand(noise.sigma(t), x0) * x0
    if kind == "edm":
        return x0 / precondition(expand(t, x0), noise, sigma_data)[1]
    return getattr(prediction, kind)


def eps_error(t, noise, kind, sigma_data=None):
    """|error of eps| [] or [B] where a net of that kind is off by 1: it carries weights from one kind to another."""
    alpha, sigma = noise.alpha(t), noise.sigma(t)
    if kind == "edm":
        return precondition(t, noise, sigma_data)[1] * alpha / sigma
    if kind == "velocity":
        return alpha / (alpha * noise.d_sigma(t) - sigma * noise.d_alpha(t))
    return {"x0": alpha / sigma, "eps": jnp.ones_like(alpha), "v": alpha / (alpha**2 + sigma**2)}[kind]


def precondition(t, noise, sigma_data):
    """c_skip, c_out, c_in, c_noise of Karras et al. (2022), table 1, at sigma / alpha."""
    sigma = noise.sigma(t) / noise.alpha(t)
    norm = jnp.sqrt(sigma**2 + sigma_data**2)
    return sigma_data**2 / norm**2, sigma * sigma_data / norm, 1 / norm, jnp.log(sigma) / 4


def field(apply, noise, kind, sigma_data=None):
    """field(x [B, ...], t [] or [B]) -> Prediction from a net apply(x, t [B]) -> [B, ...] trained to predict `kind`.

    A net that predicts averages over spans of time is asked by field(x, t, to), and gets apply(x, t, to). A net of
    kind "edm" sees x / alpha over the root of sigma_data^2 + sigma^2, and log(sigma) / 4 for the time.
    Raises ValueError for a kind that is not one of x0, eps, v, velocity, edm.
    """
    readings = dict(zip(KINDS, (from_x0, from_eps, from_v, from_velocity)))
    if kind not in KINDS:
        raise ValueError(f"a net cannot be read as {kind!r}: give one of {', '.join(KINDS)}")

    def predict(x, t, *to):
        t = as_time(t)
        return readings[kind](apply(x, *(jnp.broadcast_to(a, x.shape[:1]) for a in (t, *to))), x, t, noise)

    def predict_edm(x, t, *to):
        t = jnp.broadcast_to(as_time(t), x.shape[:1])
        scaled = x / expand(noise.alpha(t), x)
        c_skip, c_out, c_in, c_noise = (expand(c, x) for c in precondition(t, noise, sigma_data))
        x0 = c_skip * scaled + c_out * apply(c_in * scaled, c_noise.reshape(-1), *to)
        return from_x0(x0, x, t, noise)

    return predict_edm if kind == "edm" else predict
