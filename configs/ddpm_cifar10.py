"""DDPM on CIFAR-10 as in the paper: U-Net of 35.7M parameters, 800,000 steps of 128 images. It needs accelerators.

    python -m launch.run --config=configs/ddpm_cifar10.py --workdir=runs/ddpm_cifar10 --config.data.dir=DIR

The paper: FID 3.17, with 1000 steps of the larger variance. Not run here.
"""

from configs import base


def get_config(arg=""):
    """The experiment of appendix B, unconditional; arg "tiny" runs in seconds on generated data."""
    unet = dict(channels=(128, 256, 256, 256), blocks=2, attention=(16,), head_dim=256, scale_shift=False, dropout=0.1)
    optimizer = dict(name="adam", learning_rate=2e-4, schedule="constant", warmup_steps=5000, ema_decay=0.9999)
    config = base.config(
        data=base.update(base.data("cifar10"), batch_size=128),
        train=base.update(base.train(), num_steps=800000, log_every=1000, eval_every=20000, checkpoint_every=20000),
        optimizer=base.update(base.optimizer(), **optimizer),
        net=base.update(base.net(), name="unet", unet=unet),
        model=base.update(base.ddpm(), flip=True, variance="beta", label_dropout=1.0),
        sampler=base.update(base.sampler(), name="ddpm", num_steps=1000, variance="beta", threshold="static"),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    config.sampler.update({"num_samples": 50000, "balanced": False})
    if base.is_tiny(arg):
        config = base.tiny(config, name="synthetic", shape=(8, 8, 3), levels=256, num_classes=10)
        config.net.unet.attention = (8,)
        config.model.num_steps = 20
    return config


def sweep_variance():
    """Both fixed variances, and what the net predicts: table 2 of the paper."""
    for prediction in ("eps", "x0"):
        for variance in ("beta", "beta_tilde"):
            yield {
                "model.prediction": prediction,
                "model.variance": variance,
                "sampler.variance": variance,
            }
