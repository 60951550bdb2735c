"""A neural spline flow on eight Gaussians on a circle (radius 2, std 0.2), whose density and entropy are exact.

python -m launch.run --config=configs/spline_toy2d.py --workdir=runs/spline_toy2d

2 CPU cores, a minute: KL 0.006 nats from the exact density.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" is a version that runs in seconds."""
    model = base.update(base.spline_flow(), couplings=6)
    base.update(model.conditioner, width=64)
    config = base.config(
        data=base.update(base.data("8gaussians"), batch_size=512, size=100000),
        train=base.update(base.train(), num_steps=4000, eval_every=1000, checkpoint_every=1000),
        optimizer=base.update(base.optimizer(), learning_rate=2e-3, ema_decay=0.995),
        model=model,
        sampler=base.update(base.one_pass(), num_samples=10000),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    return base.tiny(config) if base.is_tiny(arg) else config


def sweep_data():
    """Every toy set."""
    for name in ("8gaussians", "two_moons", "checkerboard", "pinwheel", "spirals", "rings", "swiss_roll"):
        yield {"data.name": name}


def sweep_bins():
    """How fine the splines are."""
    for bins in (2, 4, 8, 16):
        yield {"model.bins": bins}
