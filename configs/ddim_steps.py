"""Steps against eta: the table of DDIM (Song et al. 2021, table 1), of any trained DDPM, without training again.

python -m launch.run --config=configs/ddim_steps.py --workdir=runs/ddpm
python -m launch.evaluate --workdir=runs/ddpm --config=configs/ddim_steps.py --sweep=steps
"""

from configs import ddpm_digits


def get_config(arg=""):
    """What is sampled from where no other run is given."""
    return ddpm_digits.get_config(arg)


def sweep_steps():
    """S = 10 .. 1000 steps by eta = 0 .. 1 and sigma-hat, the wider variance of DDPM."""
    for steps in (10, 20, 50, 100, 1000):
        for eta in (0.0, 0.2, 0.5, 1.0):
            yield {"sampler.name": "ddim", "sampler.num_steps": steps, "sampler.eta": eta}
        yield {"sampler.name": "ddpm", "sampler.num_steps": steps, "sampler.variance": "beta"}


def sweep_solver():
    """Deterministic solvers of the same model at 10 to 50 evaluations."""
    for name in ("ddim", "euler", "dpm_solver_pp"):
        for steps in (10, 20, 50):
            yield {"sampler.name": name, "sampler.num_steps": steps}
