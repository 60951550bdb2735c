"""Score SDE on CIFAR-10, sub-VP, whose likelihood is the best of the three of Song et al. (2021).

    python -m launch.run --config=configs/score_sde_subvp_cifar10.py --workdir=runs/subvp --config.data.dir=DIR

The paper, with the net of DDPM: 3.05 bits a dimension by the probability flow. Not run here.
"""

from configs import base, score_sde_vp_cifar10


def get_config(arg=""):
    """That of the VP SDE but for the process; arg "tiny" runs in seconds on generated data."""
    config = score_sde_vp_cifar10.get_config(arg)
    base.update(config.model, process="sub_vp")
    return config
