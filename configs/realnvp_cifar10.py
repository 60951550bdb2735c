"""RealNVP on CIFAR-10 as in the paper: two scales, 8 residual blocks of 64 channels, batches of 64, Adam.

    python -m launch.run --config=configs/realnvp_cifar10.py --workdir=runs/realnvp_cifar10 --config.data.dir=DIR

The paper: 3.49 bits a dimension. It needs an accelerator. Gradients are clipped and weights averaged here, not
there; images are not flipped. Not run here.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on generated data."""
    model = base.realnvp()
    base.update(model.conditioner, width=64, depth=8)
    config = base.config(
        data=base.update(base.data("cifar10"), batch_size=64),
        train=base.update(base.train(), num_steps=400000, eval_every=5000, checkpoint_every=5000),
        optimizer=base.update(base.optimizer(), learning_rate=1e-3, schedule="constant"),
        model=model,
        sampler=base.update(base.one_pass(), num_samples=10000),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    if base.is_tiny(arg):
        return base.tiny(config, name="synthetic", shape=(8, 8, 3), levels=256, num_classes=10)
    return config
