"""Rectified flow from noise to eight Gaussians on a circle (radius 2, std 0.2), whose density and entropy are exact.

python -m launch.run --config=configs/rectified_flow_toy2d.py --workdir=runs/toy2d
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" is a version that runs in seconds."""
    config = base.config(
        data=base.update(base.data("8gaussians"), batch_size=512, size=50000),
        train=base.update(base.train(), num_steps=5000, eval_every=1000, checkpoint_every=1000),
        optimizer=base.update(base.optimizer(), learning_rate=2e-3, beta2=0.99, ema_decay=0.995),
        net=base.update(base.net(), name="mlp", mlp=dict(width=128, depth=3, dropout=0.0)),
        model=base.rectified_flow(),
        sampler=base.update(base.sampler(), name="diffrax", num_samples=10000, balanced=False),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    return base.tiny(config) if base.is_tiny(arg) else config


def sweep_data():
    """Every toy set."""
    for name in ("8gaussians", "two_moons", "checkerboard", "pinwheel", "spirals", "rings", "swiss_roll"):
        yield {"data.name": name}


def sweep_time_density():
    """Which times the loss looks at."""
    for density in ("uniform", "logit_normal"):
        yield {"model.time_density": density}
