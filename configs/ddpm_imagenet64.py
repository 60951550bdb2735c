"""DDPM on ImageNet at 64 x 64 pixels with ADM's U-Net of 192 channels, class-conditional. It is meant for a TPU pod.

    python -m launch.run --config=configs/ddpm_imagenet64.py --workdir=runs/ddpm_imagenet64 --config.data.dir=DIR

Dhariwal and Nichol (2021), table 5: FID 2.07 after 540,000 steps of 2048 images, 250 steps of sampling. Their learned
variances and their resampling inside of blocks are left out. docs/aot.md has what it takes on a pod. Not run here.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on generated data."""
    unet = dict(channels=(192, 384, 576, 768), blocks=3, attention=(32, 16, 8), head_dim=64, dropout=0.1)
    optimizer = dict(learning_rate=3e-4, schedule="constant", warmup_steps=5000, weight_decay=0.05, ema_decay=0.9999)
    config = base.config(
        data=base.update(base.data("imagenet64"), batch_size=2048),
        train=base.update(base.train(), num_steps=540000, log_every=1000, eval_every=20000, checkpoint_every=20000),
        optimizer=base.update(base.optimizer(), **optimizer),
        net=base.update(base.net(), name="unet", dtype="bfloat16", unet=unet),
        model=base.update(base.ddpm(), schedule="cosine", flip=True),
        sampler=base.update(base.sampler(), name="ddpm", num_steps=250, threshold="static", num_samples=50000),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    if base.is_tiny(arg):
        config = base.tiny(config, name="synthetic", shape=(8, 8, 3), levels=256, num_classes=10)
        config.net.unet.attention = (8,)
        config.model.num_steps = 20
    return config


def sweep_prediction():
    """What the net predicts, with both fixed variances in sampling."""
    for prediction in ("eps", "v"):
        for variance in ("beta", "beta_tilde"):
            yield {"model.prediction": prediction, "sampler.variance": variance}
