"""Glow on ImageNet at 64 x 64 pixels as in the paper: 4 levels of 48 steps, 512 channels. It is meant for a TPU pod.

    python -m launch.run --config=configs/glow_imagenet64.py --workdir=runs/glow_imagenet64 --config.data.dir=DIR

The paper: 3.81 bits a dimension. docs/aot.md has what it takes on a pod. Gradients are clipped and weights averaged
here, not there. Not run here.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on generated data."""
    config = base.config(
        data=base.update(base.data("imagenet64"), batch_size=1024),
        train=base.update(base.train(), num_steps=250000, eval_every=5000, checkpoint_every=5000),
        optimizer=base.update(base.optimizer(), learning_rate=1e-3, schedule="constant", warmup_steps=2000),
        model=base.update(base.glow(), levels=4, steps=48, unroll=False, remat=True),
        sampler=base.update(base.one_pass(), num_samples=10000, temperature=0.7),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    if base.is_tiny(arg):
        return base.tiny(config, name="synthetic", shape=(8, 8, 3), levels=256, num_classes=10)
    return config


def sweep_steps():
    """Depth against width of the couplings' nets."""
    for steps, width in ((48, 512), (32, 768), (64, 384)):
        yield {"model.steps": steps, "model.conditioner.width": width}
