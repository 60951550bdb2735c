"""The probability-flow likelihood and DDPM's bound against densities and divergences that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import likelihood, noise, oracle, parameterize
from research.contracts import LogProb
from research.encoding import encode
from research.errors import UserError

GAUSSIAN = oracle.gaussian_mixture([1.0], [[0.5, -0.2]], [0.7])
MIXTURE = oracle.gaussian_mixture([1.0, 2.0], [[-1.0, 0.0], [1.0, 0.5]], [0.5, 0.4])
X = jnp.array([[0.0, 0.0], [1.0, 0.3], [-0.8, 0.2]])


def test_exact_trace_is_the_density():
    process = noise.rectified()

    @jax.jit
    def both(means, stds):
        data = oracle.gaussian_mixture([1.0, 2.0], means, stds)
        out = likelihood.probability_flow(data.field(process), process, X, rtol=1e-6)
        return out, data.log_prob(X, 0.0, process)

    mixture, want = both(jnp.array([[-1.0, 0.0], [1.0, 0.5]]), jnp.array([0.5, 0.4]))
    np.testing.assert_allclose(mixture.nats, want, atol=1e-4)
    gaussian, _ = both(jnp.array([[0.5, -0.2]] * 2), jnp.array([0.7] * 2))
    normal = jax.scipy.stats.norm.logpdf(X, jnp.array([0.5, -0.2]), 0.7).sum(1)
    np.testing.assert_allclose(gaussian.nats, normal, atol=1e-4)
    assert gaussian.stderr is None and (gaussian.kind, gaussian.space) == ("exact", "continuous")


def test_a_prior_of_ones_own():
    # VP leaves a little signal at t_max, so that N(0, I) is off there; and the density is that of x at t_min.
    process = noise.vp(0.1, 5.0)
    out = likelihood.probability_flow(
        MIXTURE.field(process), process, X, rtol=1e-6, prior=lambda z: MIXTURE.log_prob(z, process.t_max, process)
    )
    np.testing.assert_allclose(out.nats, MIXTURE.log_prob(X, process.t_min, process), atol=1e-4)
    normal = likelihood.standard_normal()(X)
    assert abs(normal - MIXTURE.log_prob(X, process.t_max, process)).max() > 1e-2


PROCESSES = {
    "vp": noise.vp(),
    "sub_vp": noise.sub_vp(),
    "ve": noise.ve(),
    "cosine": noise.cosine(),
    "edm": noise.edm(),
    "rectified": noise.rectified(),
    "heat": noise.heat(lambda t: 3.0 * t + t**2),
}


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_likelihood_of_every_process_to_1e_5_bits_per_dim(process):
    # With the exact density at t_max, what is left is the solver's error.
    with jax.enable_x64(True):
        flow = jax.jit(
            lambda x: likelihood.probability_flow(
                MIXTURE.field(process),
                process,
                x,
                prior=lambda z: MIXTURE.log_prob(z, process.t_max, process),
                rtol=1e-8,
                atol=1e-8,
            )
        )
        x = jnp.asarray(X, float)
        off = likelihood.bits_per_dim(flow(x), (2,)) + MIXTURE.log_prob(x, process.t_min, process) / 2 / np.log(2)
        assert abs(off).max() < 1e-5


def test_prior_std_is_used():
    still = lambda x, t: GAUSSIAN.field(noise.rectified())(x, t)._replace(velocity=0 * x)  # noqa: E731
    out = likelihood.probability_flow(still, noise.rectified()._replace(prior_std=2.0), X)
    np.testing.assert_allclose(out.nats, -(X**2).sum(1) / 8 - np.log(8 * np.pi), rtol=1e-5)


@pytest.mark.parametrize("probes", likelihood.PROBES)
def test_hutchinson_agrees_within_its_standard_error(probes):
    data, process = MIXTURE, noise.rectified()
    flow = jax.jit(
        lambda key: likelihood.probability_flow(
            data.field(process), process, X, key, trace="hutchinson", num_probes=64, probes=probes, rtol=1e-4
        )
    )
    out, exact = flow(jax.random.key(0)), data.log_prob(X, 0.0, process)
    assert out.kind == "unbiased" and out.stderr.shape == (3,) and (out.stderr > 1e-3).all()
    assert (abs(out.nats - exact) < 4 * out.stderr).all()
    assert (flow(jax.random.key(1)).nats != out.nats).any()


def test_one_probe_is_exact_for_a_diagonal_jacobian_and_has_no_error():
    # Rademacher probes square to 1, so v . J v = tr J where J is diagonal: images keep their shape on the way.
    pair, process = oracle.gaussian_pair(0.2, 0.5, 0.0, 1.0), noise.rectified()
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 1))
    signs, gaussian = (
        likelihood.probability_flow(pair.field(), process, x, jax.random.key(0), trace="hutchinson", probes=probes)
        for probes in ("rademacher", "gaussian")
    )
    exact = jax.scipy.stats.norm.logpdf(x, 0.2, 0.5).reshape(2, -1).sum(1)
    np.testing.assert_allclose(signs.nats, exact, rtol=1e-4)
    assert signs.stderr is None
    assert abs(gaussian.nats - exact).min() > 0.01  # a Gaussian probe squares to 1 on average only


def test_divergence_and_its_estimates():
    # f = (x y, 3 y + x): div f = y + 3, and v . J v = y v0^2 + (x + 1) v0 v1 + 3 v1^2.
    field = lambda x: jnp.stack([x[:, 0] * x[:, 1], 3 * x[:, 1] + x[:, 0]], axis=1)  # noqa: E731
    x, y = X.T
    value, exact = likelihood.divergence(field, X)
    np.testing.assert_array_equal(value, field(X))
    np.testing.assert_allclose(exact, y + 3, rtol=1e-6)
    probes = jax.random.normal(jax.random.key(0), (4, *X.shape))
    v0, v1 = probes[..., 0], probes[..., 1]
    np.testing.assert_allclose(
        likelihood.divergence(field, X, probes)[1], y * v0**2 + (x + 1) * v0 * v1 + 3 * v1**2, rtol=1e-5, atol=1e-5
    )


def test_bits_per_dim():
    # A uniform density over 256 levels is 8 bits a dimension.
    nats = LogProb(jnp.full(2, -12 * np.log(256.0)))
    np.testing.assert_allclose(likelihood.bits_per_dim(nats, (2, 2, 3)), [8, 8], rtol=1e-6)


BETAS = {"linear": noise.alpha_bar(num_steps=8, beta_start=0.05, beta_end=0.6), "cosine": noise.alpha_bar("cosine", 8)}
TABLES = BETAS | {"zero terminal": noise.alpha_bar("cosine", 8, zero_terminal_snr=True)}


def two_gaussians(mean_q, var_q, mean_p, var_p):
    """KL(N(mean_q, var_q) || N(mean_p, var_p)), summed over the last axis."""
    return 0.5 * np.sum(np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1, axis=-1)


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_term_is_the_kl_of_two_gaussians(table, variance):
    # The field answers x0 = x_n / 2 + n / T; eps is read off from what it is called with. By Ho et al.'s eq. 6 and 7.
    process, seen, last = noise.discrete(table), [], len(table) - 1

    def field(x_n, t):
        jax.debug.callback(lambda *a: seen.append([np.float64(v) for v in a]), x_n, t, ordered=True)
        return GAUSSIAN.field(process)(x_n, t)._replace(x0=x_n / 2 + t)

    terms = likelihood.variational_terms(field, process, X, jax.random.key(0), variance=variance)
    jax.effects_barrier()
    assert terms.shape == (last + 1, 3) and [round(float(t) * last) for _, t in seen] == [*range(last, 0, -1)]
    x = np.float64(X)
    np.testing.assert_allclose(
        terms[0], two_gaussians(table[-1] ** 0.5 * x, 1 - table[-1], np.zeros(2), 1.0), rtol=1e-5, atol=1e-7
    )
    beta = 1 - table[1:] / table[:-1]  # of n = 1 .. T
    tilde = beta * (1 - table[:-1]) / (1 - table[1:])
    draws = []
    for row, n in zip(np.float64(terms[1:]), range(last, 0, -1)):
        x_n, t = seen[last - n]
        draws.append((x_n - table[n] ** 0.5 * x) / (1 - table[n]) ** 0.5)
        guess = x_n / 2 + t
        if n == 1:
            var = beta[0] if variance == "beta" else tilde[1]
            want = np.sum((x - guess) ** 2 / var + np.log(2 * np.pi * var), axis=1) / 2
        else:
            var = beta[n - 1] if variance == "beta" else tilde[n - 1]
            to_x0 = table[n - 1] ** 0.5 * beta[n - 1] / (1 - table[n])
            to_x_n = (1 - beta[n - 1]) ** 0.5 * (1 - table[n - 1]) / (1 - table[n])
            want = two_gaussians(to_x0 * x + to_x_n * x_n, tilde[n - 1], to_x0 * guess + to_x_n * x_n, var)
        np.testing.assert_allclose(row, want, rtol=2e-5)
    # Each draw is one of its own.
    assert len(np.unique(np.round(np.concatenate(draws), 3))) > 0.95 * np.size(draws)
    total = likelihood.variational_bound(field, process, X, jax.random.key(0), variance=variance)
    np.testing.assert_allclose(total.nats, -terms.sum(0), rtol=1e-6)
    assert (total.kind, total.space, total.stderr) == ("lower_bound", "continuous", None)


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_a_thousand_steps_lose_nothing_in_float32(variance):
    table = noise.alpha_bar()
    process = noise.discrete(table)
    field = lambda x, t: MIXTURE.field(process)(x, t)._replace(x0=0 * x)  # noqa: E731
    terms = jax.jit(lambda x, key: likelihood.variational_terms(field, process, x, key, variance=variance))(
        X, jax.random.key(0)
    )
    # Nothing is drawn where x0 is always 0: each KL is known.
    beta, snr = 1 - table[1:] / table[:-1], table[1:] / (1 - table[1:])
    ratio = (1 - table[1:-1]) / (1 - table[2:]) if variance == "beta" else 1.0
    weight = ratio * (snr[:-1] - snr[1:]) / 2
    rest = np.broadcast_to(ratio - 1 - np.log(ratio), weight.shape)  # in float64: 1e-9 and up
    want = weight[:, None] * np.sum(np.float64(X) ** 2, axis=1) + rest[:, None]
    np.testing.assert_allclose(terms[1:-1][::-1], want, rtol=3e-6, atol=1e-12)
    std = np.sqrt(beta[0] if variance == "beta" else beta[1] * (1 - table[1]) / (1 - table[2]))
    np.testing.assert_allclose(terms[-1], -jax.scipy.stats.norm.logpdf(X, 0.0, std).sum(1), rtol=1e-5)


def gap(data, steps, n, variance):
    """(mean, standard error) of the bound above the negative log-likelihood, the log-SNR falling evenly in `steps`.

    The last term is always that of "beta": the decoder of "beta_tilde" is as narrow as its step, which costs more and
    more as the first step shrinks.
    """
    process = noise.discrete([1.0, *(1 / (1 + np.exp(-np.linspace(9, -9, steps))))])

    @jax.jit
    def found(key):
        x = data.sample(key, n)
        kl, last = (
            likelihood.variational_terms(data.field(process), process, x, jax.random.key(1), variance=v)
            for v in (variance, "beta")
        )
        return data.log_prob(x, 0.0, process) + kl[:-1].sum(0) + last[-1]

    found = np.float64(found(jax.random.key(0)))
    return found.mean(), found.std() / np.sqrt(n)


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("data", ["gaussian", "mixture"])
def test_the_bound_is_above_the_truth_and_nears_it_as_steps_are_added(data, variance):
    for dims in (1, 2):
        draws = {
            "gaussian": oracle.gaussian_mixture([1.0], [[0.5, -0.2][:dims]], [0.7]),
            "mixture": oracle.gaussian_mixture([1.0, 2.0], [[-1.0, 0.0][:dims], [1.0, 0.5][:dims]], [0.5, 0.4]),
        }[data]
        (few, error), (many, last_error) = (gap(draws, *of, variance) for of in ((4, 16000), (256, 4000)))
        # A step of "beta_tilde" costs a quarter of its square, where data are wide beside the noise: half of the steps.
        limit = dims * (0.03 if variance == "beta" else 9 * (18 / 255) / 4)
        assert -3 * last_error < many < limit + 3 * last_error
        assert few > many + 3 * (error**2 + last_error**2) ** 0.5


def test_every_term_of_a_gaussian_in_expectation():
    # x0 = m + k (x_n - a m), k = a s^2 / (a^2 s^2 + sigma^2), so that x - x0 = (1 - k a)(x - m) - k sigma eps.
    m, s, table, x = 0.5, 0.7, BETAS["linear"], 1.1
    data, process = oracle.gaussian_mixture([1.0], [[m]], [s]), noise.discrete(table)
    n = 20_000
    terms = jax.jit(lambda x, key: likelihood.variational_terms(data.field(process), process, x, key))(
        jnp.full((n, 1), x), jax.random.key(3)
    )
    a, sigma = np.sqrt(table[1:]), np.sqrt(1 - table[1:])
    k = a * s**2 / (a**2 * s**2 + sigma**2)
    error = (1 - k * a) ** 2 * (x - m) ** 2 + (k * sigma) ** 2
    snr, var = a**2 / sigma**2, (1 - table[1]) * (1 - table[2] / table[1]) / (1 - table[2])
    kl, decoder = (snr[:-1] - snr[1:]) / 2 * error[1:], (error[0] / var + np.log(2 * np.pi * var)) / 2
    want = np.array([*kl[::-1], decoder])
    assert (abs(terms[1:].mean(1) - want) < 4 * terms[1:].std(1) / np.sqrt(n) + 1e-5).all()
    assert (terms[1:].std(1) / want / np.sqrt(n) < 0.02).all()


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.01), (0.3, 0.5), (-1.2, 0.1), (3.0, 1e-3), (0.999, 30.0)])
def test_the_decoder_shares_out_all_mass(levels, mean, std):
    centers = (jnp.arange(levels) + 0.5) / levels * 2 - 1
    log_mass = likelihood._log_bin(centers, mean, std, levels)
    np.testing.assert_allclose(jnp.exp(log_mass).sum(), 1, rtol=2e-4)
    edges = np.concatenate([[-np.inf], np.arange(1, levels) / levels * 2 - 1, [np.inf]])
    with jax.enable_x64(True):
        want = np.diff(jax.scipy.stats.norm.cdf((edges - mean) / std))
    seen = want > 1e-9  # 1 - cdf has no digits further out
    np.testing.assert_allclose(jnp.exp(log_mass)[seen], want[seen], rtol=1e-3)
    slope = jax.grad(lambda m: likelihood._log_bin(centers, m, std, levels).sum())(mean)
    assert jnp.isfinite(log_mass).all() and jnp.isfinite(slope)


def test_a_far_bin_keeps_its_digits():
    # log of the mass 8 and 300 standard deviations out: log cdf(-8) - cdf(-9), and nearly the density's exponent.
    log_mass = likelihood._log_bin(jnp.array([0.0, 0.0]), jnp.array([-0.25 - 8 * 0.5, 150.25]), 0.5, 4)
    want = np.array([-35.013619, -(300.0**2) / 2 - np.log(300 * np.sqrt(2 * np.pi))])
    np.testing.assert_allclose(log_mass, want, rtol=1e-5)


def test_levels_make_it_a_probability_of_integers():
    process, levels = noise.discrete(noise.alpha_bar(num_steps=20, beta_start=1e-3, beta_end=0.3)), 4
    net = parameterize.field(lambda x, t: jnp.zeros_like(x), process, "eps")
    x = encode(jnp.arange(12).reshape(3, 2, 2, 1) % levels, levels, 0.5)
    out = likelihood.variational_bound(net, process, x, jax.random.key(0), levels=levels)
    assert (out.kind, out.space) == ("lower_bound", "discrete")
    bits = likelihood.bits_per_dim(out, (2, 2, 1))
    assert (bits > 0).all() and jnp.isfinite(bits).all()
    # Only the last term knows of levels.
    terms, density = (
        likelihood.variational_terms(net, process, x, jax.random.key(0), levels=levels) for levels in (levels, None)
    )
    np.testing.assert_array_equal(terms[:-1], density[:-1])
    assert (terms[-1] >= 0).all() and (terms[-1] != density[-1]).all()


def test_a_wide_decoder_weighs_a_narrow_bin_by_its_density():
    process, x = noise.discrete([1.0, 0.8, 0.5]), X / 2
    binned, density = (
        likelihood.variational_terms(GAUSSIAN.field(process), process, x, jax.random.key(0), levels=levels)[-1]
        for levels in (1000, None)
    )
    np.testing.assert_allclose(binned, density - 2 * np.log(2 / 1000), rtol=1e-3)


def test_one_step_of_ddpm():
    # Of a single step neither variance has another: beta_1. And the bound takes no clipping the field does not do.
    process = noise.discrete([1.0, 0.3])
    for variance in ("beta", "beta_tilde"):
        field = lambda x, t: GAUSSIAN.field(process)(x, t)._replace(x0=0 * x + 7)  # noqa: E731
        terms = likelihood.variational_terms(field, process, X, jax.random.key(0), variance=variance)
        np.testing.assert_allclose(terms[1], -jax.scipy.stats.norm.logpdf(X, 7.0, np.sqrt(0.7)).sum(1), rtol=1e-5)
        assert terms.shape == (2, 3)


def test_mistakes():
    field, process = GAUSSIAN.field(noise.rectified()), noise.rectified()
    with pytest.raises(UserError, match="trace='skilling'"):
        likelihood.probability_flow(field, process, X, trace="skilling")
    with pytest.raises(UserError, match="key"):
        likelihood.probability_flow(field, process, X, trace="hutchinson")
    with pytest.raises(UserError, match="probes='sobol'"):
        likelihood.probability_flow(field, process, X, jax.random.key(0), trace="hutchinson", probes="sobol")
    with pytest.raises(UserError, match=r"noise.discrete"):
        likelihood.variational_terms(field, process, X, jax.random.key(0))
    with pytest.raises(UserError, match="variance='learned'"):
        likelihood.variational_bound(field, noise.discrete([1.0, 0.5]), X, jax.random.key(0), variance="learned")
    with pytest.raises(UserError, match="max_steps=2"):
        likelihood.probability_flow(field, process, X, rtol=1e-7, max_steps=2)
