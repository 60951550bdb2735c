"""Rectified flow on MNIST, class-conditional, with a U-Net of three levels. An accelerator is recommended.

    python -m launch.run --config=configs/rectified_flow_mnist.py --workdir=runs/mnist --config.data.dir=DIR

The files are downloaded to data.dir where they are not there yet.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on generated data of the same shape."""
    config = base.config(
        data=base.update(base.data("mnist"), batch_size=256),
        train=base.update(base.train(), num_steps=20000, log_every=100, eval_every=2000, checkpoint_every=2000),
        optimizer=base.update(base.optimizer(), learning_rate=1e-3, warmup_steps=500, beta2=0.99),
        net=base.update(base.net(), name="unet", unet=dict(channels=(64, 128, 128), blocks=2, dropout=0.1)),
        model=base.rectified_flow(),
        sampler=base.update(base.sampler(), num_samples=10000),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    if base.is_tiny(arg):
        config = base.tiny(config, name="synthetic", shape=(28, 28, 1), levels=256, num_classes=10)
        config.net.unet.update({"channels": (8, 8)})  # attention in the middle, at 28 pixels, would be slow
    return config
