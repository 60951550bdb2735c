"""Our samplers end where the schedulers of Hugging Face's diffusers end, as make_diffusers.py wrote it down."""

import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, parameterize, samplers
from research.samplers import thresholding

FOUND = json.loads(pathlib.Path(__file__).with_name("diffusers.json").read_text())
CASES, TABLES = FOUND["cases"], FOUND["tables"]
SCHEDULES = {"squaredcos_cap_v2": "cosine"}
KINDS = {"epsilon": "eps", "v_prediction": "v"}
SPACINGS = {"trailing": "uniform"}
SIGMAS = {"use_karras_sigmas": "karras", "use_exponential_sigmas": "log_snr", "use_lu_lambdas": "log_snr"}
# What their schedulers do where a config does not say; the ones left out are ours too.
DEFAULTS = {
    "DDPM": {"clip_sample": True, "timestep_spacing": "leading"},
    "DDIM": {"clip_sample": True, "timestep_spacing": "leading"},
    "EulerDiscrete": {"timestep_spacing": "linspace"},
    "HeunDiscrete": {"timestep_spacing": "linspace", "beta_start": 0.00085, "beta_end": 0.012},
    "DPMSolverMultistep": {"timestep_spacing": "linspace"},
}
CLOSE = 2e-5  # their sigmas are float32
SHAPE = (4, 3, 8, 8)
SIZE = math.prod(SHAPE)
START = (np.arange(SIZE).reshape(3, 8, 8, 4) / SIZE).transpose(3, 0, 1, 2)
NETS = {
    "ratio": lambda x, n: x * n / (n + 1),
    "wave": lambda x, n: x * n / (n + 30) + jnp.sin(2 * x + n / 300) * (1000 - n) / 4000,
}


def table(config):
    """Our alpha_bar of their config."""
    kind = config.get("beta_schedule", "linear")
    betas = {name: config[name] for name in ("beta_start", "beta_end") if name in config}
    zero = config.get("rescale_betas_zero_snr", False)
    return noise.alpha_bar(SCHEDULES.get(kind, kind), zero_terminal_snr=zero, **betas)


def between(alpha_bar):
    """The process of Euler's and Heun's schedulers: between steps sigma / alpha is linear in its logarithm."""
    log_ratio = np.log((1 - alpha_bar[1:]) / alpha_bar[1:]) / 2

    def ratio(t):
        return jnp.where(t > 0, jnp.exp(jnp.interp(t * 1000, np.arange(1, 1001), log_ratio)), 0)

    return noise.pair(
        lambda t: 1 / jnp.sqrt(1 + ratio(t) ** 2),
        lambda t: ratio(t) / jnp.sqrt(1 + ratio(t) ** 2),
        t_min=1e-3,
        end=0.0,
    )


def grid(case, config, process):
    """Our times of their config."""
    steps, spacing = case["steps"], config["timestep_spacing"]
    kept = config.get("set_alpha_to_one") is False or config.get("final_sigmas_type") == "sigma_min"
    end = 1 / 1000 if kept else 0.0
    for theirs, our_name in SIGMAS.items():
        if config.get(theirs):
            return noise.times(process, steps, our_name, end)
    if case["scheduler"] == "DPMSolverMultistep" and spacing != "trailing":
        # Their linspace and leading are of one step more, of which the last is left out: a list of one's own here.
        return noise.times(process, steps, [*(n + 1 for n in case["timesteps"]), 1000 * end])
    return noise.times(process, steps, SPACINGS.get(spacing, spacing), end, offset=config.get("steps_offset", 0))


def sampler(case, config):
    """(our sampler's name, its options) of their scheduler."""
    options = case["options"]
    if case["scheduler"] == "DDPM":
        variance = "beta" if config.get("variance_type") == "fixed_large" else "beta_tilde"
        # Theirs leaves the noise out at step 1 only, wherever the last step starts.
        return "ddpm", {"variance": variance, "last_mean": config["timestep_spacing"] != "trailing"}
    if case["scheduler"] == "DDIM":
        return "ddim", {"eta": options.get("eta", 0.0)}
    if case["scheduler"] == "EulerDiscrete":
        return "euler", {"variable": "sigma"}
    if case["scheduler"] == "HeunDiscrete":
        return "edm", {}
    # Theirs has the first order at the end for few steps, or where sigma ends at 0.
    first = (config.get("lower_order_final", True) and case["steps"] < 15) or "final_sigmas_type" not in config
    return "dpm_solver_pp", {"sde": "algorithm_type" in config, "lower_order_final": first}


def limited(field, process, case, config):
    """The field with the thresholding of their config."""
    if config.get("thresholding"):
        return thresholding.dynamic(field, process, config["dynamic_thresholding_ratio"])
    if not config.get("clip_sample"):
        return field
    keep = case["scheduler"] == "DDIM" and not case["options"].get("use_clipped_model_output")
    return thresholding.static(field, process, config.get("clip_sample_range", 1.0), keep_eps=keep)


def ours(name, net):
    """(x that our sampler ends with, the steps at which it called the net)."""
    case = CASES[name]
    config = DEFAULTS[case["scheduler"]] | case["config"]
    fractional = any(config.get(name) for name in SIGMAS) and case["scheduler"] != "DPMSolverMultistep"
    process = between(table(config)) if fractional else noise.discrete(table(config))

    def step(t):
        return 1000 * t - 1 if fractional else noise.step(process, t) - 1

    def apply(x, t):
        return NETS[net](x, noise.expand(step(t), x))

    field = parameterize.field(apply, process, KINDS[config.get("prediction_type", "epsilon")])
    field, times = limited(field, process, case, config), grid(case, config, process)
    kind, options = sampler(case, config)
    sample = samplers.find(kind, **options)
    x = jax.jit(lambda x: sample(field, process, x, times, jax.random.key(0), **options).x)(START)
    return x, np.asarray(step(times[:-1]))


@pytest.fixture(autouse=True)
def known_noise(monkeypatch):
    """The i-th draw of every sampler is theirs; and both sides count in float64."""
    draws = 2**0.5 * np.cos(np.arange(SIZE).reshape(SHAPE) + 2.4 * np.arange(1000)[:, None, None, None, None])
    monkeypatch.setattr(samplers, "normal", lambda key, i, x: jnp.asarray(draws, x.dtype)[i])
    with jax.enable_x64():
        yield


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", CASES)
def test_samples_are_theirs(name, net):
    x, steps = ours(name, net)
    case, size = CASES[name], jnp.mean(jnp.abs(x))
    theirs = case[net]
    if "timesteps" in case:
        # Heun's second calls of a step are listed there too.
        np.testing.assert_allclose(steps, sorted(set(case["timesteps"]))[::-1], atol=1e-4)
    np.testing.assert_allclose(size, theirs["mean"], rtol=CLOSE)
    np.testing.assert_allclose(jnp.sum(x), theirs["sum"], rtol=CLOSE, atol=CLOSE * size)
    entries = x.flatten()[jnp.array(FOUND["entries"])]
    np.testing.assert_allclose(entries, theirs["entries"], rtol=CLOSE, atol=CLOSE * size)


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_theirs(name):
    alpha_bar = table(TABLES[name]["config"])
    for n, value in TABLES[name]["alpha_bar"].items():
        # Near 0 their products in float32 have lost digits.
        assert alpha_bar[int(n)] == pytest.approx(value, rel=1e-4, abs=0) and abs(alpha_bar[int(n)] - value) < 1e-6


@pytest.mark.parametrize("spacing", FOUND["grids"])
def test_steps_are_theirs(spacing):
    for num_steps, theirs in FOUND["grids"][spacing].items():
        process = noise.discrete(noise.alpha_bar())
        times = noise.times(process, int(num_steps), SPACINGS.get(spacing, spacing))
        found = np.asarray(noise.step(process, times[:-1])) - 1
        np.testing.assert_array_equal(found, theirs)
