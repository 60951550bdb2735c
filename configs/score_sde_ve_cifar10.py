"""Score SDE on CIFAR-10, variance exploding to 50, of Song et al. (2021); the net is preconditioned as in EDM.

    python -m launch.run --config=configs/score_sde_ve_cifar10.py --workdir=runs/ve --config.data.dir=DIR

The paper's best FID, 2.20, is of this process with a deeper net of its own. Not run here.
"""

from configs import base, score_sde_vp_cifar10


def get_config(arg=""):
    """That of the VP SDE but for the process; arg "tiny" runs in seconds on generated data."""
    config = score_sde_vp_cifar10.get_config(arg)
    base.update(config.model, process="ve", prediction="edm")
    config.optimizer.ema_decay = 0.999
    return config
