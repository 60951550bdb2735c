"""Reflow and one-step distillation on scikit-learn's handwritten digits, class-conditional.

    python -m launch.reflow --config=configs/reflow_digits.py --workdir=runs/reflow
    python -m launch.run --config=configs/reflow_digits.py --workdir=runs/reflow

The second trains the first round alone, which is that of configs/rectified_flow_digits.py.
"""

from configs import base, rectified_flow_digits


def get_config(arg=""):
    """The experiment; arg "tiny" is a version that runs in seconds."""
    rounds = {"train": {"num_steps": 2000}, "optimizer": {"learning_rate": 1e-3}, "net": {"unet": {"dropout": 0.0}}}
    config = base.extend(
        rectified_flow_digits.get_config(),
        reflow=base.reflow(num_pairs=16384, draw={"num_steps": 20}, round=rounds, student=rounds),
    )
    return base.tiny(config) if base.is_tiny(arg) else config


def sweep_rounds():
    """How often pairs are drawn and learned."""
    for rounds in (1, 2):
        yield {"reflow.rounds": rounds}
