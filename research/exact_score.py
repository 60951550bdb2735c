"""What is known of a diffusion whose score is exact: its samplers, marginals, adaptive steps and likelihoods."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from research import likelihood, noise, oracle, samplers
from research.metrics.sliced_wasserstein import sliced_wasserstein

RING = oracle.ring()
PARTS = ((1 / 3, -1.5, 0.25), (2 / 3, 1.0, 0.4))  # weight, mean, deviation
LINE = oracle.gaussian_mixture([w for w, _, _ in PARTS], [[m] for _, m, _ in PARTS], [s for _, _, s in PARTS])
PROCESSES = {"vp": noise.vp(), "sub_vp": noise.sub_vp(), "ve": noise.ve()}
METHODS = {  # name: predictor, corrector's steps
    "ancestral, P": ("ancestral", 0),
    "ancestral, PC": ("ancestral", 1),
    "reverse diffusion, P": ("reverse_diffusion", 0),
    "reverse diffusion, PC": ("reverse_diffusion", 1),
    "probability flow, P": ("flow", 0),
    "corrector alone, C": ("none", 1),
}
CALLS = (32, 64, 128, 256)  # of the score, a sample
COUNT, SEEDS = 4096, 3
MANY, CRITICAL = 20_000, 1.95 / np.sqrt(20_000)  # at 99.9 % of Kolmogorov's distance of so many samples
STOPS = (0.9, 0.75, 0.5, 0.25, 0.1, 0.0)
TOLERANCES = tuple(10.0**-k for k in range(1, 8))


def sampled(count=COUNT, seeds=SEEDS, calls=CALLS):
    """({process: {method: {calls: [distance a seed]}}}, floor): sliced W2 of samples by the exact score to the data."""
    target, other = (np.asarray(RING.sample(jax.random.key(900 + i), count)) for i in (0, 1))
    table = {name: {method: {} for method in METHODS} for name in ("vp", "ve")}
    draw = jax.jit(_draw, static_argnums=(1, 2, 3, 4, 5))
    for (name, found), method, budget in itertools.product(table.items(), METHODS, calls):
        steps = budget // (METHODS[method][1] + (METHODS[method][0] != "none"))
        drawn = [draw(jax.random.key(seed), PROCESSES[name], count, *METHODS[method], steps) for seed in range(seeds)]
        found[method][budget] = [round(sliced_wasserstein(x, target, 128), 5) for x in drawn]
    return table, sliced_wasserstein(other, target, 128)


def _draw(key, process, count, predictor, corrector, steps):
    key_x, key_walk = jax.random.split(key)
    start, times = process.prior(key_x, (count, 2)), noise.times(process, steps)
    if predictor == "flow":
        return samplers.find("euler")(RING.field(process), process, start, times).x
    walk, options = samplers.find("predictor_corrector"), {"predictor": predictor, "corrector_steps": corrector}
    return walk(RING.field(process), process, start, times, key_walk, **options).x


def marginals(count=MANY, steps=1000, paths=12):
    """Of two Gaussians on a line under VP: density, paths and Kolmogorov distances to it by ODE and by SDE at STOPS."""
    process, field = PROCESSES["vp"], LINE.field(PROCESSES["vp"])
    start, found = process.prior(jax.random.key(0), (count, 1)), {}
    for name, sampler, n in (("ODE", "heun", steps // 5), ("SDE", "euler_maruyama", steps)):
        draw = functools.partial(samplers.find(sampler), field, process, times=noise.times(process, n), trajectory=True)
        out = jax.jit(draw)(x=start, key=jax.random.key(1))
        at = [int(np.argmin(abs(np.asarray(out.times) - t))) for t in STOPS]
        far = [_kolmogorov(np.asarray(out.trajectory[i, :, 0]), _cdf(float(out.times[i]), process)) for i in at]
        thin = slice(None, None, max(n // 40, 1))
        shown = np.round(np.asarray(out.trajectory[thin, :paths, 0]).T, 3)
        found[name] = {"times": np.round(np.asarray(out.times[thin]), 4), "paths": shown, "distance": far}
    x, t = np.linspace(-3, 3, 61), np.linspace(1, process.t_min, 41)
    density = [np.exp(np.asarray(LINE.log_prob(jnp.asarray(x)[:, None], s, process))) for s in t]
    return found | {"x": x.round(3), "t": t.round(4), "density": np.round(density, 3), "stops": STOPS}


def _cdf(t, process):
    """x -> P(x_t <= x) of LINE's two Gaussians."""
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    return lambda x: sum(w * stats.norm.cdf(x, alpha * m, np.hypot(alpha * s, sigma)) for w, m, s in PARTS)


def _kolmogorov(x, cdf):
    """The largest difference of the empirical distribution of x [N] and a cdf."""
    return float(stats.kstest(x, cdf).statistic)


def adaptive(count=COUNT):
    """{"tolerance", "calls", "error", "distance"}: of RING's ODE under VP by an adaptive solver, in float64.

    error: root mean square to the solution at 1e-9; distance: sliced W2 to the data.
    """
    with jax.enable_x64(True):
        process, target = PROCESSES["vp"], np.asarray(RING.sample(jax.random.key(900), count))
        start = jnp.asarray(process.prior(jax.random.key(0), (count, 2)), jnp.float64)
        flow, times = samplers.find("diffrax"), noise.times(process, 1)
        solve = jax.jit(lambda tol: flow(RING.field(process), process, start, times, rtol=tol, atol=tol))
        truth, outs = solve(1e-9).x, [solve(tol) for tol in TOLERANCES]
        error = [float(jnp.sqrt(jnp.mean(jnp.sum((out.x - truth) ** 2, axis=1)))) for out in outs]
        distance = [sliced_wasserstein(out.x, target, 128) for out in outs]
        return {
            "tolerance": TOLERANCES,
            "calls": [float(out.nfe) for out in outs],
            "error": error,
            "distance": distance,
        }


def exact(count=1000):
    """{process: [nats by the ODE of the exact score, the exact nats]}, means over the same points of RING."""
    with jax.enable_x64(True):
        x, found = jnp.asarray(RING.sample(jax.random.key(7), count), jnp.float64), {}
        for name, process in PROCESSES.items():
            by_flow = jax.jit(lambda x, p=process: likelihood.probability_flow(RING.field(p), p, x).nats)(x)
            found[name] = [float(by_flow.mean()), float(RING.log_prob(x, 0.0, noise.vp()).mean())]
    return found
