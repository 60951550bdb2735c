"""EDM on CIFAR-10 (Karras et al. 2022), class-conditional: 390,000 steps of 512 images. It needs accelerators.

    python -m launch.run --config=configs/edm_cifar10.py --workdir=runs/edm --config.data.dir=DIR

The paper: FID 1.79 (unconditional 1.97) at 35 evaluations, with augmentation by 8 transformations and its own net; here
images are mirrored, and the net is the U-Net of ADM at that width and depth. Not run here.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on generated data."""
    unet = dict(channels=(128, 256, 256), blocks=4, attention=(16,), dropout=0.13)
    optimizer = dict(name="adam", learning_rate=1e-3, schedule="constant", warmup_steps=19500, ema_decay=0.9993)
    config = base.config(
        data=base.update(base.data("cifar10"), batch_size=512),
        train=base.update(base.train(), num_steps=390000, log_every=500, eval_every=10000, checkpoint_every=10000),
        optimizer=base.update(base.optimizer(), **optimizer),
        net=base.update(base.net(), name="unet", unet=unet),
        model=base.update(base.edm(), flip=True, label_dropout=0.1, dequantize=False),
        sampler=base.update(base.sampler(), name="edm", num_steps=18, spacing="karras", num_samples=50000),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    if base.is_tiny(arg):
        config = base.tiny(config, name="synthetic", shape=(8, 8, 3), levels=256, num_classes=10)
        config.net.unet.attention = (8,)
    return config


def sweep_churn():
    """Steps against noise on the way."""
    for steps in (18, 50, 256):
        for churn in (0.0, 10.0, 40.0):
            yield {"sampler.num_steps": steps, "sampler.S_churn": churn}
