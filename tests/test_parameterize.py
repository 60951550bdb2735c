"""The four readings of a net agree, whatever it was trained to predict."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, parameterize

PROCESSES = {"rectified": noise.rectified(), "vp": noise.vp()}
OUTPUTS = {  # what a perfect net of each kind returns, written out once more
    "x0": lambda x0, eps, a, s, da, ds: x0,
    "eps": lambda x0, eps, a, s, da, ds: eps,
    "v": lambda x0, eps, a, s, da, ds: a * eps - s * x0,
    "velocity": lambda x0, eps, a, s, da, ds: da * x0 + ds * eps,
    "edm": lambda x0, eps, a, s, da, ds: (
        (x0 - (x0 + s / a * eps) * 0.25 / (0.25 + (s / a) ** 2)) / (s / a * 0.5 / (0.25 + (s / a) ** 2) ** 0.5)
    ),
}
SIGMA_DATA = 0.5  # of edm
T = jnp.array([0.1, 0.4, 0.9])
X0, EPS = jax.random.normal(jax.random.key(0), (2, 3, 2, 2, 1))


def at(process, t):
    return [noise.expand(c(t), X0) for c in (process.alpha, process.sigma, process.d_alpha, process.d_sigma)]


def test_every_kind_is_tested():
    assert set(OUTPUTS) == set(parameterize.KINDS)


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("t", [T, jnp.float32(0.3)], ids=["batch", "scalar"])
def test_every_kind_recovers_all_four(process, kind, t):
    alpha, sigma, d_alpha, d_sigma = at(process, t)

    def net(x, told):
        assert told.shape == (3,)
        return OUTPUTS[kind](X0, EPS, *at(process, t))

    read = jax.jit(parameterize.field(net, process, kind, SIGMA_DATA))(alpha * X0 + sigma * EPS, t)
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(read.x0, X0, **close)
    np.testing.assert_allclose(read.eps, EPS, **close)
    np.testing.assert_allclose(read.score, -EPS / sigma, **close)
    np.testing.assert_allclose(read.velocity, d_alpha * X0 + d_sigma * EPS, **close)


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_velocity_is_the_probability_flow_of_any_output(process, kind):
    # dx/dt = f x - g^2 score / 2 (the factor 1/2!), also for outputs that no x0 and eps gave.
    x, out = X0, EPS
    read = parameterize.field(lambda x, t: out, process, kind, SIGMA_DATA)(x, T)
    flow = noise.expand(process.f(T), x) * x - noise.expand(process.g(T) ** 2, x) * read.score / 2
    np.testing.assert_allclose(read.velocity, flow, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_a_reading_is_the_output_and_says_how_far_eps_is_off(process, kind):
    x = noise.expand(process.alpha(T), X0) * X0 + noise.expand(process.sigma(T), X0) * EPS
    outs = OUTPUTS[kind](X0, EPS, *at(process, T)), jnp.ones_like(x)
    readings = [
        (
            p := parameterize.field(lambda x, t, out=out: out, process, kind, SIGMA_DATA)(x, T),
            parameterize.reading(p, T, process, kind, SIGMA_DATA),
        )
        for out in outs
    ]
    (a, read_a), (b, read_b) = readings
    np.testing.assert_allclose(read_a - read_b, outs[0] - outs[1], rtol=1e-3, atol=1e-4)
    scale = noise.expand(parameterize.eps_error(T, process, kind, SIGMA_DATA), x)
    np.testing.assert_allclose(abs(a.eps - b.eps), scale * abs(outs[0] - outs[1]), rtol=1e-3, atol=1e-4)


def test_what_an_edm_net_sees():
    seen = []
    net = lambda x, t: seen.append((x, t)) or x  # noqa: E731
    process, x = noise.edm(), jnp.array([[3.0], [-20.0]])
    parameterize.field(net, process, "edm", SIGMA_DATA)(x, jnp.array([0.01, 0.5]))  # sigma 0.8 and 40
    np.testing.assert_allclose(seen[0][0], x / np.sqrt([[0.25 + 0.64], [0.25 + 1600]]), rtol=1e-6)
    np.testing.assert_allclose(seen[0][1], np.log([0.8, 40]) / 4, rtol=1e-5)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_rebuilding_after_clipping_keeps_x(process):
    alpha, sigma, _, _ = at(process, T)
    x, clipped = X0 + EPS, jnp.clip(X0, -0.5, 0.5)
    read = parameterize.from_x0(clipped, x, T, process)
    np.testing.assert_array_equal(read.x0, clipped)
    np.testing.assert_allclose(alpha * read.x0 + sigma * read.eps, x, atol=1e-5)


def test_rectified_velocity_is_exact_at_both_ends():
    read = parameterize.field(lambda x, t: EPS, noise.rectified(), "velocity")
    for t in (0, 1):
        np.testing.assert_array_equal(read(X0, t).x0, X0 - t * EPS)
        np.testing.assert_array_equal(read(X0, t).eps, X0 + (1 - t) * EPS)
        np.testing.assert_array_equal(read(X0, t).velocity, EPS)
    assert jnp.isfinite(jax.grad(lambda x: read(x, 0.0).velocity.sum() + read(x, 0.0).x0.sum())(X0)).all()


def test_the_singular_ends_are_those_stated():
    process = noise.rectified()
    assert not jnp.isfinite(parameterize.from_velocity(EPS, X0, 0.0, process).score).any()
    assert not jnp.isfinite(parameterize.from_x0(EPS, X0, 0.0, process).eps).any()
    assert not jnp.isfinite(parameterize.from_eps(EPS, X0, 1.0, process).x0).any()


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match=r"'epsilon'.*x0, eps, v, velocity"):
        parameterize.field(None, noise.rectified(), "epsilon")
