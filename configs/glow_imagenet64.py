"""Glow on ImageNet at 64 x 64 pixels as in the paper: 4 levels of 48 steps, 512 channels. It is meant for a TPU pod.

    python -m launch.run --config=configs/glow_imagenet64.py --workdir=runs/glow_imagenet64 --config.data.dir=DIR

The paper: 3.81 bits a dimension. docs/aot.md has what it takes on a pod. Gradients are clipped and weights averaged
here, not there. Not run here.
"""

from configs import glow_cifar10


def get_config(arg=""):
    """That of CIFAR-10 but for its size; arg "tiny" runs in seconds on generated data."""
    config = glow_cifar10.get_config(arg)
    if arg != "tiny":
        config.data.update({"name": "imagenet64", "batch_size": 1024})
        config.train.num_steps = 250000
        config.optimizer.warmup_steps = 2000
        config.model.update({"levels": 4, "steps": 48})
    return config


def sweep_steps():
    """Depth against width of the couplings' nets."""
    for steps, width in ((48, 512), (32, 768), (64, 384)):
        yield {"model.steps": steps, "model.conditioner.width": width}
