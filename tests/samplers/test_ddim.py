"""DDIM's coefficients for steps that skip, its way back to the latent, and walks between latents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle, samplers
from research.errors import UserError
from research.samplers.ddim import coefficients, encode, interpolate, reconstruct, sample

TABLE = noise.alpha_bar()
PROCESS = noise.discrete(TABLE)
MIXTURE = oracle.gaussian_mixture([1.0, 2.0], [[1.0, 0.5], [-1.0, 0.0]], [0.4, 0.3])
FIELD = MIXTURE.field(PROCESS)


def test_a_skipped_step_takes_the_ratio_of_alpha_bar():
    c_x0, c_eps, sigma = coefficients(TABLE[1000], TABLE[980], 1.0)
    ratio = TABLE[1000] / TABLE[980]
    want = np.sqrt((1 - TABLE[980]) / (1 - TABLE[1000]) * (1 - ratio))
    np.testing.assert_allclose([c_x0, c_eps, sigma], [TABLE[980] ** 0.5, (1 - TABLE[980] - want**2) ** 0.5, want])
    # The trap: with beta_1000 alone the noise is four times too small.
    np.testing.assert_allclose(sigma / np.sqrt((1 - TABLE[980]) / (1 - TABLE[1000]) * 0.02), 4.07, atol=0.01)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_coefficients_keep_the_variance(eta):
    t, s = np.array([1, 2, 500, 1000]), np.array([0, 1, 100, 900])
    c_x0, c_eps, sigma = coefficients(TABLE[t], TABLE[s], eta)
    np.testing.assert_allclose(c_x0**2 + c_eps**2 + sigma**2, 1, rtol=1e-12)
    assert c_eps[0] == sigma[0] == 0
    single = jax.jit(coefficients)(jnp.float32(TABLE[t]), jnp.float32(TABLE[s]), eta)
    np.testing.assert_allclose(np.array(single), [c_x0, c_eps, sigma], atol=1e-5)


def test_a_step_is_that_of_the_coefficients():
    x, key, (t, s) = jnp.array([[0.3, -0.4]]), jax.random.key(0), (0.8, 0.3)
    c_x0, c_eps, sigma = coefficients(TABLE[800], TABLE[300], 0.7)
    read, z = FIELD(x, t), samplers.normal(key, 0, x)
    want = c_x0 * read.x0 + c_eps * read.eps + sigma * z
    np.testing.assert_allclose(sample(FIELD, PROCESS, x, [t, s], key, eta=0.7).x, want, rtol=1e-4)
    # sigma_hat: more noise beside the eps of eta = 1.
    _, c_eps, _ = coefficients(TABLE[800], TABLE[300], 1.0)
    want = c_x0 * read.x0 + c_eps * read.eps + np.sqrt(1 - TABLE[800] / TABLE[300]) * z
    np.testing.assert_allclose(sample(FIELD, PROCESS, x, [t, s], key, sigma_hat=True).x, want, rtol=1e-4)


def test_reconstruction_improves_with_steps():
    # Table 2's law, on data of two modes.
    x = MIXTURE.sample(jax.random.key(1), 64)
    errors = []
    for steps in (10, 40, 160):
        out = reconstruct(FIELD, PROCESS, x, noise.times(PROCESS, steps), trajectory=True)
        errors.append(float(jnp.mean((out.x - x) ** 2)))
        assert out.nfe == 2 * steps and out.trajectory.shape == (steps + 1, 64, 2)
    assert errors[2] < errors[1] / 4 < errors[0] / 16 and errors[2] < 1e-3


def test_the_latent_is_that_of_the_flow_and_its_path_goes_up():
    one = oracle.gaussian_mixture([1.0], [[0.6]], [0.5])
    x, process = jnp.array([[0.3], [1.4]]), noise.vp(t_min=1e-3)
    out = encode(one.field(process), process, x, noise.times(process, 400), trajectory=True)
    np.testing.assert_allclose(out.x, one.flow_map(x, 1e-3, 1.0, process), atol=0.02)
    np.testing.assert_array_equal(out.trajectory[0], x)
    assert out.times[0] == np.float32(1e-3) and out.times[-1] == 1 and out.nfe == 400


def test_encoding_reads_no_field_where_there_is_no_noise():
    seen = []

    def field(x, t):
        jax.debug.callback(lambda t: seen.append(float(t)), t)
        return FIELD(x, t)

    out = encode(field, PROCESS, jnp.ones((1, 2)), noise.times(PROCESS, 4))
    jax.effects_barrier()
    np.testing.assert_allclose(sorted(seen), [0.25, 0.25, 0.5, 0.75])
    assert jnp.isfinite(out.x).all()


def test_latents_on_an_arc():
    z0, z1 = jnp.array([[1.0, 0.0], [2.0, 0.0]]), jnp.array([[0.0, 1.0], [4.0, 0.0]])
    arc = interpolate(z0, z1, [0.0, 1 / 3, 0.5, 1.0])
    want = [[np.cos(a), np.sin(a)] for a in np.array([0, 1 / 3, 0.5, 1]) * np.pi / 2]
    np.testing.assert_allclose(arc[:, 0], want, atol=1e-6)
    np.testing.assert_allclose(arc[:, 1, 0], [2, 2 + 2 / 3, 3, 4], rtol=1e-6)  # parallel: a straight line
    images = interpolate(jnp.ones((3, 2, 2, 1)), -jnp.eye(2)[None, ..., None].repeat(3, 0), jnp.array([0.5]))
    assert images.shape == (1, 3, 2, 2, 1) and jnp.isfinite(images).all()


@pytest.mark.parametrize("eta", [-0.1, 1.5, float("nan")])
def test_eta_out_of_range_is_said(eta):
    with pytest.raises(UserError, match="eta="):
        sample(FIELD, PROCESS, jnp.ones((1, 2)), [0.9, 0.1], jax.random.key(0), eta=eta)
