"""The exact law of every noisy sampler's output on Gaussian data, and the samplers that are each other's special cases.

On Gaussian data a step is affine in x and in its noise, so rows with one draw set to 1 give the output's whole law.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle, samplers
from research.samplers.transition import posterior, transition

MEAN, STD = 0.7, 0.5
GAUSSIAN = oracle.gaussian_mixture([1.0], [[MEAN]], [STD])
VP, RECTIFIED, TABLE = noise.vp(t_min=1e-3), noise.rectified(), noise.alpha_bar()
DISCRETE = noise.discrete(TABLE)
LAWS = {  # name -> sampler, process, options
    "ddpm": ("ddpm", DISCRETE, {}),
    "ddpm_beta": ("ddpm", VP, {"variance": "beta"}),
    "ddpm_beta_sub_vp": ("ddpm", noise.sub_vp(t_min=1e-3), {"variance": "beta", "last_mean": False}),
    "ddim": ("ddim", DISCRETE, {"eta": 0.5}),
    "sigma_hat": ("ddim", RECTIFIED, {"sigma_hat": True}),
    "churn": ("edm", RECTIFIED, {"S_churn": 30.0}),
    "churn_discrete": ("edm", DISCRETE, {"S_churn": 30.0}),
    "dpm": ("dpm_solver_pp", VP, {"sde": True}),
    "sde_0": ("euler_maruyama", VP, {"lam": 0.0}),
    "sde_half": ("euler_maruyama", VP, {"lam": 0.5}),
    "sde_1": ("euler_maruyama", RECTIFIED, {}),
    "sde_2": ("euler_maruyama", VP, {"lam": 2.0, "last_mean": False}),
    "reverse_diffusion": ("predictor_corrector", VP, {"corrector_steps": 0}),
    "ancestral": ("predictor_corrector", RECTIFIED, {"corrector_steps": 0, "predictor": "ancestral"}),
}


def exact(process, t):
    alpha, sigma = process.alpha(t), process.sigma(t)
    return float(alpha * MEAN), float((alpha * STD) ** 2 + sigma**2)


def law(monkeypatch, name, process, steps, **options):
    """(error of the mean, of the variance) at the last time, started from the exact marginal, in float64."""
    rows = np.zeros((steps, steps + 2, 1))
    rows[np.arange(steps), np.arange(steps) + 2, 0] = 1
    x = np.zeros((steps + 2, 1))
    x[1] = 1
    with jax.enable_x64(True):
        monkeypatch.setattr(samplers, "normal", lambda key, i, x: jnp.asarray(rows)[i])
        times = noise.times(process if process is DISCRETE else process._replace(t_max=0.99), steps)
        base = GAUSSIAN.field(process)
        y = samplers.find(name)(base, process, jnp.asarray(x), times, jax.random.key(0), **options).x[:, 0]
        mean, var = exact(process, times[0])
        got = y[0] + (y[1] - y[0]) * mean, (y[1] - y[0]) ** 2 * var + jnp.sum((y[2:] - y[0]) ** 2)
        return [abs(float(a) - b) for a, b in zip(got, exact(process, times[-1]))]


@pytest.mark.parametrize("case", LAWS)
def test_mean_and_variance_approach_the_exact_ones_at_first_order(case, monkeypatch):
    name, process, options = LAWS[case]
    coarse, fine = (law(monkeypatch, name, process, steps, **options) for steps in (100, 200))
    assert max(fine) < 0.02
    for a, b in zip(coarse, fine):
        assert b < 0.65 * a or b < 2e-4


def end(name, process=DISCRETE, times=None, dtype=float, **options):
    """One draw of two eight-mode samples, by the same key whoever the sampler."""
    angle = np.arange(8) * np.pi / 4
    field = oracle.gaussian_mixture(np.ones(8), 2 * np.stack([np.cos(angle), np.sin(angle)], 1), np.full(8, 0.2))
    x = jnp.array([[0.3, -0.4], [-1.0, 0.8]], dtype)
    times = noise.times(process, 20) if times is None else times
    return samplers.find(name)(field.field(process), process, x, times, jax.random.key(3), **options).x


CONSECUTIVE = np.arange(12, -1, -1) / 1000
TWINS = [  # samplers that are the same to rounding; the second at None keeps the grid of 20 steps of 1000
    (("ddim", {"eta": 1.0}), ("ddpm", {}), CONSECUTIVE),
    (("ddim", {"eta": 1.0}), ("ddpm", {}), None),
    (("ddim", {"sigma_hat": True}), ("ddpm", {"variance": "beta"}), None),
    (("ddim", {"eta": 0.0}), ("euler", {"variable": "sigma"}), None),
    (("ddim", {}), ("dpm_solver_pp", {"order": 1}), None),
    (("ddpm", {}), ("dpm_solver_pp", {"order": 1, "sde": True}), None),
    (("ddpm", {}), ("predictor_corrector", {"predictor": "ancestral", "corrector_steps": 0}), None),
    (("euler_maruyama", {"lam": 0.0}), ("euler", {"variable": "t"}), None),
    (("edm", {}), ("heun", {"variable": "sigma"}), CONSECUTIVE[:-1]),
    (("edm", {"S_churn": 9.0, "S_tmin": 1e3}), ("edm", {}), None),
    (("edm", {"S_churn": 9.0, "S_tmax": 1e-4}), ("edm", {}), None),
]


@pytest.mark.parametrize(("one", "other", "times"), TWINS, ids=str)
def test_special_cases_agree_to_rounding(one, other, times):
    with jax.enable_x64(True):
        a, b = (end(name, times=times, **options) for name, options in (one, other))
    np.testing.assert_allclose(a, b, rtol=1e-9)


def test_single_precision_draws_the_same(monkeypatch):
    # The steps of neighbours are differences of nearly equal numbers: each sampler keeps the digits that it shows.
    draws = np.random.default_rng(0).normal(size=(60, 2, 2))
    monkeypatch.setattr(samplers, "normal", lambda key, i, x: jnp.asarray(draws, x.dtype)[i])
    grid = np.arange(60, -1, -1) / 1000
    for name, options in (("ddpm", {}), ("ddpm", {"variance": "beta"}), ("dpm_solver_pp", {"sde": True})):
        single = end(name, times=grid, dtype=jnp.float32, **options)
        with jax.enable_x64(True):
            double = end(name, times=grid, **options)
        np.testing.assert_allclose(single, double, atol=1e-3)


def test_a_step_between_neighbours_is_that_of_the_paper():
    # Ho et al., eq. 7, written by beta_t.
    with jax.enable_x64(True):
        n = np.array([2, 500, 1000])
        beta, bar, before = 1 - TABLE[n] / TABLE[n - 1], TABLE[n], TABLE[n - 1]
        t, s, x, x0 = n / 1000, (n - 1) / 1000, 0.3, -0.7
        mean, var = posterior(DISCRETE, x, x0, t, s)
        want = before**0.5 * beta / (1 - bar) * x0 + (1 - beta) ** 0.5 * (1 - before) / (1 - bar) * x
        np.testing.assert_allclose(mean, want, rtol=1e-9)
        np.testing.assert_allclose(var, (1 - before) / (1 - bar) * beta, rtol=1e-9)
        alpha_ts, var_ts, _ = transition(DISCRETE, s, t)
        np.testing.assert_allclose(alpha_ts, (1 - beta) ** 0.5, rtol=1e-9)
        np.testing.assert_allclose(var_ts, beta, rtol=1e-9)
    single = transition(DISCRETE, jnp.float32(s), jnp.float32(t))
    np.testing.assert_allclose(single[1], beta, rtol=2e-3)


def test_steps_from_no_signal_and_to_no_noise_are_finite():
    process = noise.discrete(noise.alpha_bar(zero_terminal_snr=True))
    for name, options in (("ddpm", {"variance": "beta"}), ("ddim", {"eta": 1.0}), ("dpm_solver_pp", {"sde": True})):
        assert jnp.isfinite(end(name, process, [1.0, 0.5, 0.0], **options)).all()
    for name in ("edm", "predictor_corrector"):
        assert jnp.isfinite(end(name, process, [1.0, 0.5, 0.0])).all()
    np.testing.assert_allclose(np.array(transition(process, 0.0, 1.0)), [0, 1, 1], atol=1e-7)
    np.testing.assert_array_equal(np.array(transition(process, 0.3, 0.3)), [1, 0, 0])


@pytest.mark.parametrize("process", [VP, RECTIFIED, DISCRETE], ids=["vp", "rectified", "discrete"])
def test_the_last_step_of_ancestral_sampling_draws_nothing(process):
    # One step, with the variance that would not vanish there by itself.
    t = [0.5, 0.0] if process is DISCRETE else [0.5, 0.1]
    quiet = end("ddpm", process, t, variance="beta")
    np.testing.assert_array_equal(quiet, end("ddpm", process, t))
    assert (quiet != end("ddpm", process, t, variance="beta", last_mean=False)).all()


def test_churn_raises_the_noise_as_the_paper_does():
    # One step of EDM's own process: sigma_hat = sigma (1 + gamma), then Heun, by hand.
    process, gamma = noise.edm(), 0.25
    field, x, z = GAUSSIAN.field(process), jnp.array([[30.0]]), samplers.normal(jax.random.key(3), 0, jnp.ones((1, 1)))
    sigma, sigma_next = 40.0, 20.0
    t = [sigma / 80, sigma_next / 80]
    sigma_hat = sigma * (1 + gamma)
    x_hat = x + 1.1 * (sigma_hat**2 - sigma**2) ** 0.5 * z
    slope = field(x_hat, sigma_hat / 80).eps
    guess = x_hat + (sigma_next - sigma_hat) * slope
    want = x_hat + (sigma_next - sigma_hat) * (slope + field(guess, t[1]).eps) / 2
    draw = samplers.find("edm")
    got = draw(field, process, x, t, jax.random.key(3), S_churn=gamma, S_noise=1.1).x
    np.testing.assert_allclose(got, want, rtol=1e-4)
    most = draw(field, process, x, t, jax.random.key(3), S_churn=9.0).x
    np.testing.assert_allclose(most, draw(field, process, x, t, jax.random.key(3), S_churn=2**0.5 - 1).x, rtol=1e-5)


def test_options_that_weigh_noise_can_be_traced():
    grid = [0.9, 0.5, 0.1]
    for name, option, values in (
        ("ddim", "eta", [0.0, 0.5]),
        ("euler_maruyama", "lam", [0.0, 1.0]),
        ("edm", "S_churn", [0.0, 1.0]),
    ):
        many = jax.jit(jax.vmap(lambda v, name=name, option=option: end(name, times=grid, **{option: v})))
        alone = [end(name, times=grid, **{option: v}) for v in values]
        np.testing.assert_allclose(many(jnp.array(values)), jnp.stack(alone), rtol=1e-4, atol=1e-5)
