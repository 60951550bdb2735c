"""One log-likelihood for every model with a velocity field, DDPM's bound, and bits per dimension in one place."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm

from research.contracts import LogProb
from research.errors import UserError
from research.samplers.diffrax import solve

PROBES = {"rademacher": jax.random.rademacher, "gaussian": jax.random.normal}


def _total(a):
    """The sum [B] over all axes of a [B, ...] but the first."""
    return jnp.sum(a.reshape(a.shape[0], -1), axis=1)


def standard_normal(std=1.0):
    """x [B, ...] -> log density [B] of N(0, std^2) in every coordinate."""
    return lambda x: _total(norm.logpdf(x, scale=std))


def divergence(function, x, probes=None):
    """function(x) [B, ...] and its divergence [B] at x [B, ...], or, of probes v [K, B, ...], each v . J v [K, B].

    Without probes it takes as many tangents as x has coordinates. The examples must not be mixed by the function.
    """
    value, tangents = jax.linearize(function, x)
    if probes is not None:
        return value, jax.vmap(lambda v: _total(v * tangents(v)))(probes)
    basis = jnp.eye(x[0].size, dtype=x.dtype).reshape(-1, *x.shape[1:])
    along = jax.vmap(lambda v: _total(v * tangents(jnp.broadcast_to(v, x.shape))))(basis)
    return value, jnp.sum(along, axis=0)


def integrate(velocity, x, t_from, t_to, probes=None, *, rtol=1e-5, atol=1e-5, max_steps=4096):
    """(x [B, ...] carried from t_from to t_to, integral of `divergence` on the way). Raises UserError as `solve`."""

    def slope(state, t):
        return divergence(lambda x: velocity(x, t), state[0], probes)

    start = x, jnp.zeros(x.shape[:1] if probes is None else probes.shape[:2], x.dtype)
    path, _ = solve(slope, start, (t_from, t_to), rtol=rtol, atol=atol, max_steps=max_steps)
    return jax.tree.map(lambda leaf: leaf[-1], path)


def probability_flow(
    field,
    noise,
    x,
    key=None,
    *,
    trace="exact",
    num_probes=1,
    probes="rademacher",
    prior="normal",
    rtol=1e-5,
    atol=1e-5,
    max_steps=4096,
):
    """LogProb of x [B, ...] at t_min, by d log p(x_t) / dt = -tr(d velocity / d x_t) up to the noise end at t_max.

    trace="exact" differentiates along every coordinate, which costs as many tangents as x has. "hutchinson" draws
    num_probes by `key` and keeps them along the path (Grathwohl et al. 2019): "rademacher" signs, exact for a diagonal
    Jacobian, or "gaussian" vectors; two and more give a standard error. prior: the density at t_max, "normal" for
    N(0, prior_std^2) or x -> nats [B], such as the exact density of known data there.
    Each example is taken to have a velocity of its own, so no batch statistics. Raises UserError for an unknown
    trace or kind of probe, for "hutchinson" without a key, and as research.samplers.diffrax.solve does.
    """
    if trace not in ("exact", "hutchinson"):
        raise UserError(f"a trace cannot be computed by trace={trace!r}: give 'exact' or 'hutchinson'")
    if probes not in PROBES:
        raise UserError(f"Hutchinson's trace has no probes={probes!r}: give one of {', '.join(PROBES)}")
    if num_probes < 1:
        raise UserError(f"Hutchinson's trace takes at least 1 probe, not num_probes={num_probes}")
    if trace == "exact":
        drawn = None
    elif key is None:
        raise UserError("Hutchinson's trace draws probes: give probability_flow a key, or trace='exact'")
    else:
        drawn = PROBES[probes](key, (num_probes, *x.shape), x.dtype)

    velocity = lambda x, t: field(x, t).velocity  # noqa: E731
    end, grown = integrate(velocity, x, noise.t_min, noise.t_max, drawn, rtol=rtol, atol=atol, max_steps=max_steps)
    log_prior = standard_normal(noise.prior_std) if prior == "normal" else prior
    nats = log_prior(end) + grown  # [B], or [num_probes, B]
    if trace == "exact":
        return LogProb(nats)
    stderr = jnp.std(nats, axis=0, ddof=1) / math.sqrt(num_probes) if num_probes > 1 else None
    return LogProb(nats.mean(axis=0), stderr, kind="unbiased")


def variational_terms(field, noise, x, key, *, levels=None, variance="beta_tilde"):
    """The terms [T + 1, B] in nats of DDPM's bound on -log p(x) (Ho et al. 2020, eq. 5), each by one draw of x_n.

    First KL(q(x_T | x) || prior), then KL(q(x_n-1 | x_n, x) || p(x_n-1 | x_n)) for n = T .. 2, last -log p(x | x_1).
    x [B, ...] is on the net's scale; noise is discrete, T = noise.num_steps; field(x_n, n / T) is called T times.
    variance of p: "beta" or "beta_tilde" (eq. 6 and 7), of which step 1 takes that of step 2, as its own is 0.
    levels: x holds the centres of that many bins of [-1, 1], and the last term is the mass of its bin (eq. 13), the
    outermost of which reach to infinity; without levels it is a density. Raises UserError for a continuous process
    and an unknown variance.
    """
    if noise.num_steps is None:
        raise UserError("DDPM's bound is a sum over steps: it takes a discrete process, see noise.discrete")
    if variance not in ("beta", "beta_tilde"):
        raise UserError(f"a step of DDPM has no variance={variance!r}: give 'beta' or 'beta_tilde'")
    last, scale = noise.num_steps, noise.prior_std
    alpha, sigma, weight, offset, decoder_std = _steps(noise, variance)
    rows = jnp.asarray(np.stack([alpha, sigma, weight, offset], 1)[:0:-1], x.dtype)

    def step(_, row):
        n, (alpha, sigma, weight, offset) = row
        eps = jax.random.normal(jax.random.fold_in(key, n), x.shape, x.dtype)
        x0 = field(alpha * x + sigma * eps, n / last).x0
        return x0, weight * _total((x - x0) ** 2) + offset * x[0].size

    # The prediction of step 1 is what the scan ends with, so the field is compiled once.
    x0, kl = jax.lax.scan(step, jnp.zeros_like(x), (jnp.arange(last, 0, -1), rows))
    ratio = (sigma[last] / scale) ** 2
    prior = _total(x**2) * float(alpha[last] / scale) ** 2 / 2 + x[0].size * float(ratio - 1 - np.log(ratio)) / 2
    decoder = _log_bin(x, x0, decoder_std, levels) if levels else norm.logpdf(x, x0, decoder_std)
    return jnp.concatenate([prior[None], kl[:-1], -_total(decoder)[None]])


def _steps(noise, variance):
    """alpha_n, sigma_n, the weight of |x - x0|^2 and the rest of the KL per coordinate [T + 1]; the decoder's std [].

    The means of q and p differ by x - x0 only, whose weight is (SNR_n-1 - SNR_n) / 2 (Kingma et al. 2021, eq. 12) where
    the variances are equal. In float64, as neighbours differ by little.
    """
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        t = np.arange(noise.num_steps + 1) / noise.num_steps
        alpha, sigma = np.asarray(noise.alpha(t)), np.asarray(noise.sigma(t))
    with np.errstate(divide="ignore"):  # SNR_T may be 0
        log_snr = 2 * np.log(alpha[1:] / sigma[1:])
    fall = -np.expm1(np.diff(log_snr))  # 1 - SNR_n / SNR_n-1, n = 2 .. T
    weight = np.exp(log_snr[:-1]) * fall / 2
    offset, decoder = 0 * weight, sigma[1] * np.sqrt(fall[0] if len(fall) else 1)
    if variance == "beta":
        log_ratio = 2 * np.log(sigma[1:-1] / sigma[2:])  # of beta_tilde to beta
        weight, offset, decoder = weight * np.exp(log_ratio), (np.expm1(log_ratio) - log_ratio) / 2, sigma[1]
    return alpha, sigma, *(np.concatenate([[0, 0], a]) for a in (weight, offset)), float(decoder)


def _log_bin(x, mean, std, levels):
    """log P(bin around x) under N(mean, std^2), of `levels` bins of width 2 / levels on [-1, 1], elementwise."""
    center, half = -jnp.abs(x - mean), 1 / levels  # mirrored to below the mean, so that the small tail is measured
    high, low = log_ndtr((center + half) / std), log_ndtr((center - half) / std)
    lowest, highest = x < 2 * half - 1, x > 1 - 2 * half
    beyond = log_ndtr((jnp.where(lowest, x - mean, mean - x) + half) / std)
    return jnp.where(lowest | highest, beyond, high + jax.nn.log1mexp(high - low))


def variational_bound(field, noise, x, key, **options):
    """DDPM's bound on log p(x) as a LogProb, from one draw a step: minus the sum of `variational_terms`, same options.

    With levels it is the log of a probability of integers, so there is no unit left to convert.
    """
    nats = -jnp.sum(variational_terms(field, noise, x, key, **options), axis=0)
    return LogProb(nats, kind="lower_bound", space="discrete" if options.get("levels") else "continuous")


def as_stored(log_prob, levels, data_shape):
    """The LogProb of data on [-1, 1] (see research.encoding) as one per unit of the data as stored.

    Integers were dequantised uniformly, so their nats are, on average, a lower bound of log P(x). Without levels the
    data entered as they are, and so does the record.
    """
    if not levels:
        return log_prob
    nats = log_prob.nats + math.prod(data_shape) * math.log(2 / levels)
    return LogProb(nats, log_prob.stderr, "lower_bound", "uniform_dequantized")


def bits_per_dim(log_prob, data_shape):
    """Bits per dimension [B] of a LogProb of data of that shape, -nats / (d ln 2): per stored unit, so no offset."""
    return -log_prob.nats / (math.prod(data_shape) * math.log(2))
