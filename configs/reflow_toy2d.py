"""Reflow on eight Gaussians: straight in one round, so that one Euler step samples (Liu et al. 2022, figure 2).

    python -m launch.reflow --config=configs/reflow_toy2d.py --workdir=runs/reflow
    python -m launch.run --config=configs/reflow_toy2d.py --workdir=runs/reflow

The second trains the first round alone.
"""

from configs import base, rectified_flow_toy2d


def get_config(arg=""):
    """The experiment; arg "tiny" is a version that runs in seconds."""
    rounds = {"train": {"num_steps": 8000}, "optimizer": {"learning_rate": 1e-3}}
    config = base.extend(
        rectified_flow_toy2d.get_config(), reflow=base.reflow(num_pairs=200000, round=rounds, student=rounds)
    )
    return base.tiny(config) if base.is_tiny(arg) else config


def sweep_rounds():
    """How often pairs are drawn and learned."""
    for rounds in (1, 2, 3):
        yield {"reflow.rounds": rounds}
