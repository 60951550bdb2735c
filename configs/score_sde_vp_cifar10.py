"""Score SDE on CIFAR-10, variance preserving, as "DDPM++ cont." of Song et al. (2021). It needs accelerators.

    python -m launch.run --config=configs/score_sde_vp_cifar10.py --workdir=runs/vp --config.data.dir=DIR

The paper, with the net of DDPM: 3.21 bits a dimension by the probability flow. Ours is the U-Net of ADM at the width
and depth of DDPM++. Not run here.
"""

from configs import base


def get_config(arg=""):
    """The experiment, unconditional; arg "tiny" runs in seconds on generated data."""
    unet = dict(channels=(128, 256, 256, 256), blocks=4, attention=(16,), dropout=0.1)
    optimizer = dict(name="adam", learning_rate=2e-4, schedule="constant", warmup_steps=5000, ema_decay=0.9999)
    config = base.config(
        data=base.update(base.data("cifar10"), batch_size=128),
        train=base.update(base.train(), num_steps=1300000, log_every=1000, eval_every=20000, checkpoint_every=20000),
        optimizer=base.update(base.optimizer(), **optimizer),
        net=base.update(base.net(), name="unet", unet=unet),
        model=base.update(base.score_sde(), flip=True, label_dropout=1.0),
        sampler=base.update(base.sampler(), name="predictor_corrector", num_steps=1000),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    config.sampler.update({"num_samples": 50000, "balanced": False})
    if base.is_tiny(arg):
        config = base.tiny(config, name="synthetic", shape=(8, 8, 3), levels=256, num_classes=10)
        config.net.unet.attention = (8,)
    return config


def sweep_weight():
    """Both weights: sigma^2 draws better, g^2 has the better likelihood."""
    for weight in ("score", "likelihood"):
        yield {"model.weight": weight}


def sweep_solver():
    """Samplers of one SDE: table 1 of the paper, and solvers of its probability flow."""
    for name, steps in (("predictor_corrector", 1000), ("euler_maruyama", 2000), ("ddpm", 1000), ("heun", 50)):
        yield {"sampler.name": name, "sampler.num_steps": steps}
