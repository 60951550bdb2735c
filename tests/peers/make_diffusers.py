"""Writes diffusers.json: what the schedulers of Hugging Face's diffusers make of two known models.

python tests/peers/make_diffusers.py, by hand, where torch and diffusers are installed. No test imports this file.

A case starts all schedulers from the same x of unit-variance scale. What it ends with is brought to that scale again,
as Euler's and Heun's schedulers work on x / alpha. The noise of step i is the root of 2 times cos(place + 2.4 i).
alphas_cumprod of a case is made again in float64, since 1 - alphas_cumprod[0] has but three digits in float32; `tables`
has it as it is.
"""

import itertools
import json
import math
import pathlib

import diffusers
import torch
from diffusers.schedulers import scheduling_ddpm

SHAPE, ENTRIES = (4, 3, 8, 8), (0, 191, 400, 767)
STEPS = (1, 2, 10, 500, 900, 999, 1000)  # of the tables

# The start and the model of diffusers' own tests.
START = (torch.arange(math.prod(SHAPE), dtype=torch.float64).reshape(3, 8, 8, 4) / math.prod(SHAPE)).permute(3, 0, 1, 2)
PLACES = torch.arange(math.prod(SHAPE), dtype=torch.float64).reshape(SHAPE)
GRIDS = (2, 7, 10, 16, 30, 48, 75)


def ratio(x, t):
    return x * t / (t + 1)


def wave(x, t):
    """Neither linear in x nor zero at t = 0; near x at the noise end, as a trained net is."""
    return x * t / (t + 30) + torch.sin(2 * x + t / 300) * (1000 - t) / 4000


def noises():
    """The noise of each step in turn."""
    return (2**0.5 * torch.cos(PLACES + 2.4 * i) for i in itertools.count())


LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
COSINE, SIGMOID = {"beta_schedule": "squaredcos_cap_v2"}, {"beta_schedule": "sigmoid"}
TRAILING, LINSPACE, LEADING = ({"timestep_spacing": kind} for kind in ("trailing", "linspace", "leading"))
FREE, LARGE = {"clip_sample": False}, {"variance_type": "fixed_large"}
V, KARRAS, ZERO_SNR = {"prediction_type": "v_prediction"}, {"use_karras_sigmas": True}, {"rescale_betas_zero_snr": True}
NOT_ONE, OFFSET, SIGMA_MIN = {"set_alpha_to_one": False}, {"steps_offset": 1}, {"final_sigmas_type": "sigma_min"}
SDE, ALWAYS_SECOND = {"algorithm_type": "sde-dpmsolver++"}, {"lower_order_final": False}
DYNAMIC = {"thresholding": True, "sample_max_value": 1e6, "dynamic_thresholding_ratio": 0.9}  # Imagen's s has no bound

# name: (scheduler, its config, steps, options of scheduler.step)
CASES = {
    "ddpm": ("DDPM", {}, 1000, {}),
    "ddpm_free": ("DDPM", FREE, 1000, {}),
    "ddpm_large": ("DDPM", LARGE, 1000, {}),
    "ddpm_large_skip": ("DDPM", LARGE | FREE, 50, {}),
    "ddpm_skip": ("DDPM", FREE, 50, {}),
    "ddpm_trailing": ("DDPM", TRAILING | {"clip_sample_range": 0.3}, 10, {}),
    "ddpm_linspace": ("DDPM", LINSPACE, 10, {}),
    "ddpm_large_trailing": (
        "DDPM",
        TRAILING | LARGE | FREE,
        10,
        {},
    ),  # its last step, not being step 1, draws noise too
    "ddpm_cosine": ("DDPM", COSINE, 100, {}),
    "ddpm_cosine_large": ("DDPM", COSINE | LARGE, 100, {}),
    "ddpm_sigmoid": ("DDPM", SIGMOID | FREE, 100, {}),
    "ddpm_scaled_linear": ("DDPM", LATENT | FREE, 100, {}),
    "ddpm_v": ("DDPM", V | FREE | LARGE, 50, {}),
    "ddim": ("DDIM", {}, 10, {}),  # published in diffusers' tests: sum 172.0067, mean 0.223967
    "ddim_free": ("DDIM", FREE, 10, {}),
    "ddim_recomputed": ("DDIM", {}, 10, {"use_clipped_model_output": True}),
    "ddim_dynamic": ("DDIM", DYNAMIC, 10, {"use_clipped_model_output": True}),
    "ddim_v": ("DDIM", V, 10, {}),  # published: 52.5302, 0.0684
    "ddim_trailing": ("DDIM", TRAILING | FREE, 10, {}),
    "ddim_offset": ("DDIM", OFFSET | FREE, 10, {}),
    "ddim_not_one": ("DDIM", NOT_ONE | FREE, 10, {}),
    "ddim_stable_diffusion": ("DDIM", LATENT | NOT_ONE | OFFSET | FREE, 20, {}),
    "ddim_odd": ("DDIM", FREE | LATENT, 30, {}),
    "ddim_eta": ("DDIM", FREE, 10, {"eta": 0.5}),
    "ddim_eta_clipped": ("DDIM", TRAILING, 20, {"eta": 0.5}),
    "ddim_eta_not_one": ("DDIM", LATENT | NOT_ONE | OFFSET | FREE, 20, {"eta": 1.0}),
    "ddim_cosine": ("DDIM", COSINE, 20, {}),
    "ddim_zero_snr": ("DDIM", TRAILING | V | ZERO_SNR | FREE, 10, {}),
    "ddim_zero_snr_eta": ("DDIM", TRAILING | V | ZERO_SNR | FREE | LATENT, 10, {"eta": 0.5}),
    "euler": ("EulerDiscrete", {}, 10, {}),
    "euler_trailing": ("EulerDiscrete", TRAILING | LATENT, 10, {}),
    "euler_leading": ("EulerDiscrete", LEADING | OFFSET | LATENT, 20, {}),
    "euler_sigma_min": ("EulerDiscrete", TRAILING | SIGMA_MIN, 10, {}),
    "euler_v": ("EulerDiscrete", V, 10, {}),
    "euler_karras": ("EulerDiscrete", KARRAS, 10, {}),
    "euler_exponential": ("EulerDiscrete", {"use_exponential_sigmas": True}, 10, {}),
    "heun": ("HeunDiscrete", {}, 10, {}),
    "heun_trailing": ("HeunDiscrete", TRAILING, 20, {}),
    "heun_v": ("HeunDiscrete", V, 10, {}),
    "heun_clipped": ("HeunDiscrete", {"clip_sample": True, "clip_sample_range": 0.3}, 10, {}),
    "heun_karras": ("HeunDiscrete", KARRAS, 10, {}),
    "dpm": ("DPMSolverMultistep", {}, 10, {}),
    "dpm_many": ("DPMSolverMultistep", LATENT, 20, {}),
    "dpm_trailing": ("DPMSolverMultistep", TRAILING, 10, {}),
    "dpm_leading": ("DPMSolverMultistep", LEADING | OFFSET, 10, {}),
    "dpm_v": ("DPMSolverMultistep", TRAILING | V, 20, {}),
    "dpm_dynamic": ("DPMSolverMultistep", TRAILING | DYNAMIC, 10, {}),
    "dpm_sigma_min": ("DPMSolverMultistep", TRAILING | SIGMA_MIN, 10, {}),
    "dpm_sigma_min_many": ("DPMSolverMultistep", TRAILING | SIGMA_MIN, 20, {}),
    "dpm_second_to_the_end": ("DPMSolverMultistep", TRAILING | SIGMA_MIN | ALWAYS_SECOND, 10, {}),
    "dpm_karras": ("DPMSolverMultistep", KARRAS, 10, {}),
    "dpm_karras_many": ("DPMSolverMultistep", KARRAS | LATENT, 25, {}),
    "dpm_log_snr": ("DPMSolverMultistep", {"use_lu_lambdas": True}, 10, {}),
    "dpm_sde": ("DPMSolverMultistep", SDE | TRAILING, 10, {}),
    "dpm_sde_many": ("DPMSolverMultistep", SDE | TRAILING | LATENT, 20, {}),
    "dpm_sde_karras": ("DPMSolverMultistep", SDE | KARRAS, 20, {}),
}
TABLES = {
    "linear": {},
    "scaled_linear": LATENT,
    "cosine": COSINE,
    "sigmoid": SIGMOID,
    "zero_snr": ZERO_SNR,
    "zero_snr_scaled_linear": ZERO_SNR | LATENT,
}


def run(name, config, steps, options, model):
    """What that scheduler ends with, and the timesteps at which it calls the model."""
    scheduler = getattr(diffusers, f"{name}Scheduler")(**config)
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas.double(), 0)
    if config.get("set_alpha_to_one") is False:
        scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    scheduler.set_timesteps(steps)
    in_sigma = hasattr(scheduler, "is_scale_input_called") or name == "HeunDiscrete"
    scale = [(1 + s**2) ** 0.5 if in_sigma else 1.0 for s in getattr(scheduler, "sigmas", (0, 0))]
    draws, x = noises(), START * scale[0]
    scheduling_ddpm.randn_tensor = lambda *args, **kwargs: next(draws)
    for t in scheduler.timesteps:
        noise = {"variance_noise": next(draws)} if options.get("eta") or config.get("algorithm_type") else {}
        output = model(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(output, t, x, **options, **noise).prev_sample
    return x / scale[-1], scheduler.timesteps


def main():
    """Writes the file beside this one."""
    found = {"versions": {"diffusers": diffusers.__version__, "torch": torch.__version__}, "entries": ENTRIES}
    found |= {"tables": {}, "cases": {}}
    for name, config in TABLES.items():
        table = diffusers.DDPMScheduler(**config).alphas_cumprod
        found["tables"][name] = {"config": config, "alpha_bar": {n: table[n - 1].item() for n in STEPS}}
    found["grids"] = {spacing: {} for spacing in ("trailing", "linspace", "leading")}
    for spacing, grids in found["grids"].items():
        scheduler = diffusers.DDIMScheduler(timestep_spacing=spacing)
        for steps in GRIDS:
            scheduler.set_timesteps(steps)
            grids[steps] = scheduler.timesteps.tolist()
    for name, (scheduler, config, steps, options) in CASES.items():
        case = {"scheduler": scheduler, "config": config, "steps": steps, "options": options}
        for model in (ratio, wave):
            x, timesteps = run(scheduler, config, steps, options, model)
            case[model.__name__] = {
                "sum": x.sum().item(),
                "mean": x.abs().mean().item(),
                "entries": [x.flatten()[i].item() for i in ENTRIES],
            }
        found["cases"][name] = case | ({"timesteps": timesteps.tolist()} if steps <= 50 else {})
    lines = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in found.pop("cases").items()]
    text = json.dumps(found)[:-1] + ', "cases": {\n' + ",\n".join(lines) + "\n}}\n"
    pathlib.Path(__file__).with_name("diffusers.json").write_text(text)


if __name__ == "__main__":
    main()
