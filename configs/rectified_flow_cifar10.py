"""Rectified flow on CIFAR-10 (Liu et al. 2022), unconditional, 58.7M parameters at the width and depth of DDPM++.

    python -m launch.run --config=configs/rectified_flow_cifar10.py --workdir=runs/rf_cifar10 --config.data.dir=DIR
    python -m launch.reflow --config=configs/rectified_flow_cifar10.py --workdir=runs/rf_cifar10 --config.data.dir=DIR

It needs accelerators. The paper: FID 2.58 by an adaptive solver (127 evaluations); by one step 378 for the first
round, 12.21 for the second, 4.85 distilled from it. Not run here.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on generated data."""
    unet = dict(channels=(128, 256, 256, 256), blocks=4, attention=(16,), head_dim=256, scale_shift=False, dropout=0.15)
    optimizer = dict(name="adam", learning_rate=2e-4, schedule="constant", warmup_steps=5000, ema_decay=0.999999)
    rounds = {"train": {"num_steps": 300000}}
    config = base.config(
        data=base.update(base.data("cifar10"), batch_size=128),
        train=base.update(base.train(), num_steps=800000, log_every=1000, eval_every=20000, checkpoint_every=20000),
        optimizer=base.update(base.optimizer(), **optimizer),
        net=base.update(base.net(), name="unet", unet=unet),
        model=base.update(base.rectified_flow(), flip=True, label_dropout=1.0),
        sampler=base.update(base.sampler(), name="diffrax", num_samples=50000, balanced=False),
        mesh=base.mesh(),
        precision=base.precision(),
        reflow=base.reflow(num_pairs=1000000, round=rounds, student=rounds),
    )
    if base.is_tiny(arg):
        config = base.tiny(config, name="synthetic", shape=(8, 8, 3), levels=256, num_classes=10)
        config.net.unet.attention = (8,)
    return config


def sweep_time_density():
    """Which times the loss looks at (Esser et al. 2024, table 1)."""
    for density in ("uniform", "logit_normal", "mode", "u_shaped"):
        yield {"model.time_density": density}


def sweep_interpolant():
    """Table 1 of the paper: lines against the path of a VP diffusion."""
    for interpolant in ("linear", "vp"):
        yield {"model.interpolant": interpolant}
