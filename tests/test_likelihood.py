"""The probability-flow likelihood against densities that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import likelihood, noise, oracle
from research.contracts import LogProb
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


def test_prior_std_is_used():
    still = lambda x, t: GAUSSIAN.field(noise.rectified())(x, t)._replace(velocity=0 * x)  # noqa: E731
    out = likelihood.probability_flow(still, noise.rectified()._replace(prior_std=2.0), X)
    np.testing.assert_allclose(out.nats, -(X**2).sum(1) / 8 - np.log(8 * np.pi), rtol=1e-5)


def test_hutchinson_agrees_within_its_standard_error():
    data, process = MIXTURE, noise.rectified()
    flow = jax.jit(
        lambda key: likelihood.probability_flow(
            data.field(process), process, X, key, trace="hutchinson", num_probes=64, rtol=1e-4
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
    out = likelihood.probability_flow(pair.field(), process, x, jax.random.key(0), trace="hutchinson")
    exact = jax.scipy.stats.norm.logpdf(x, 0.2, 0.5).reshape(2, -1).sum(1)
    np.testing.assert_allclose(out.nats, exact, rtol=1e-4)
    assert out.stderr is None


def test_bits_per_dim():
    # A uniform density over 256 levels is 8 bits a dimension.
    nats = LogProb(jnp.full(2, -12 * np.log(256.0)))
    np.testing.assert_allclose(likelihood.bits_per_dim(nats, (2, 2, 3)), [8, 8], rtol=1e-6)


def test_mistakes():
    field, process = GAUSSIAN.field(noise.rectified()), noise.rectified()
    with pytest.raises(UserError, match="trace='skilling'"):
        likelihood.probability_flow(field, process, X, trace="skilling")
    with pytest.raises(UserError, match="key"):
        likelihood.probability_flow(field, process, X, trace="hutchinson")
    with pytest.raises(UserError, match="max_steps=2"):
        likelihood.probability_flow(field, process, X, rtol=1e-7, max_steps=2)
