"""A net that returns exactly what it was asked for is read as the exact field, on every process by every kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle, parameterize

PROCESSES = {
    "rectified": noise.rectified(),
    "vp": noise.vp(),
    "sub_vp": noise.sub_vp(),
    "ve": noise.ve(),
    "cosine": noise.cosine(),
    "edm": noise.edm(),
    "heat": noise.heat(lambda t: jnp.sinh(3 * t)),
    "pair": noise.pair(lambda t: jnp.cos(1.5 * t), lambda t: t**1.5),
    "discrete linear": noise.discrete(noise.alpha_bar()),
    "discrete cosine": noise.discrete(noise.alpha_bar("cosine", 10)),
}
SIGMA_DATA = 0.6
MIXTURE = oracle.gaussian_mixture([1.0, 2.0, 1.0], [[-1.0, 0.0], [1.0, 0.5], [0.3, -1.0]], [0.5, 0.3, 0.1])
T = np.array([0.15, 0.4, 0.77])  # 0.4 is a step of the discrete ones, the others fall between steps of ten


def exact(process):
    """x [3, 2] at noise levels T, and the oracle's Prediction there."""
    x0, eps = np.random.default_rng(0).normal(size=(2, 3, 2))
    x = noise.expand(process.alpha(T), x0) * x0 + noise.expand(process.sigma(T), x0) * eps
    return x, MIXTURE.field(process)(x, T)


def output(kind, read, x, process):
    """What the perfect net of a kind returns, by the papers' definitions."""
    alpha, sigma = process.alpha(T)[:, None], process.sigma(T)[:, None]
    if kind == "v":
        return alpha * read.eps - sigma * read.x0
    if kind == "edm":  # D = c_skip x + c_out F, in Karras et al.'s variable x / alpha of noise sigma / alpha
        noisy, level = x / alpha, sigma / alpha
        c_skip, c_out = SIGMA_DATA**2 / (level**2 + SIGMA_DATA**2), level * SIGMA_DATA
        return (read.x0 - c_skip * noisy) / (c_out / (level**2 + SIGMA_DATA**2) ** 0.5)
    return getattr(read, kind)


@pytest.fixture(params=PROCESSES)
def process(request):
    with jax.enable_x64(True):
        yield PROCESSES[request.param]


def test_every_kind_is_read_as_the_exact_field(process):
    x, want = exact(process)
    for kind in parameterize.KINDS:
        out = output(kind, want, x, process)
        got = parameterize.field(lambda *_, out=out: out, process, kind, SIGMA_DATA)(x, T)
        for name, a, b in zip(want._fields, got, want):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * abs(b).max(), err_msg=f"{name} from {kind}")


def test_the_exact_field_is_that_of_its_density(process):
    # Tweedie: x0 = (x + sigma^2 score) / alpha; and the probability flow, from f and g.
    x, read = exact(process)
    alpha, sigma, f, g = (c(T)[:, None] for c in (process.alpha, process.sigma, process.f, process.g))
    score = jax.grad(lambda x: MIXTURE.log_prob(x, T, process).sum())(jnp.asarray(x))
    close = {"rtol": 1e-8, "atol": 1e-9}
    np.testing.assert_allclose(read.score, score, **close)
    np.testing.assert_allclose(read.x0, (x + sigma**2 * score) / alpha, **close)
    np.testing.assert_allclose(read.eps, -sigma * score, **close)
    np.testing.assert_allclose(read.velocity, f * x - g**2 * score / 2, rtol=1e-8, atol=1e-9 * abs(read.velocity).max())


def test_the_exact_eps_is_the_mean_of_the_noise():
    # By quadrature over x0 in one dimension: E[eps | x_t] weighs eps = (x_t - alpha x0) / sigma by p(x0) p(x_t | x0).
    data = oracle.gaussian_mixture([1.0, 3.0], [[-1.0], [0.7]], [0.3, 0.5])
    with jax.enable_x64(True):
        grid = np.linspace(-6, 6, 4001)[:, None]
        prior = np.exp(data.log_prob(grid, 0.0, noise.heat(lambda t: t)))
        for process in (noise.vp(), noise.edm(sigma_max=2.0)):
            alpha, sigma = process.alpha(0.3), process.sigma(0.3)
            x = np.array([[-0.8], [0.1], [1.5]])
            eps = (x - alpha * grid.T) / sigma
            weight = prior * np.exp(-(eps**2) / 2)
            want = (weight * eps).sum(1) / weight.sum(1)
            np.testing.assert_allclose(data.field(process)(x, 0.3).eps[:, 0], want, rtol=1e-8)
