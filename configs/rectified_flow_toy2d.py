"""Rectified flow from noise to eight Gaussians on a circle (radius 2, std 0.2), whose density and entropy are exact.

    python -m launch.run --config=configs/rectified_flow_toy2d.py --workdir=runs/toy2d
    python -m launch.run --config=configs/rectified_flow_toy2d.py:moons --workdir=runs/moons

"moons" carries the eight Gaussians to the two moons: transport between two data sets, without noise.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "moons" starts from the eight Gaussians, "tiny" and "tiny_moons" run in seconds."""
    tiny = base.is_tiny(arg, "moons", "tiny_moons") or arg == "tiny_moons"
    config = base.config(
        data=base.update(base.data("8gaussians"), batch_size=512, size=1000000),
        train=base.update(base.train(), num_steps=8000, eval_every=2000, checkpoint_every=2000),
        optimizer=base.update(base.optimizer(), learning_rate=2e-3, beta2=0.99, ema_decay=0.995),
        net=base.update(base.net(), name="mlp", mlp=dict(width=128, depth=3, dropout=0.0)),
        model=base.update(base.rectified_flow(), label_dropout=1.0),
        sampler=base.update(base.sampler(), name="diffrax", num_samples=40000, balanced=False),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    if arg.endswith("moons"):
        config.data.update({"name": "two_moons", "source": "8gaussians"})
    return base.tiny(config) if tiny else config


def sweep_data():
    """Every toy set."""
    for name in ("8gaussians", "two_moons", "checkerboard", "pinwheel", "spirals", "rings", "swiss_roll"):
        yield {"data.name": name}


def sweep_time_density():
    """Which times the loss looks at."""
    for density in ("uniform", "logit_normal", "mode", "u_shaped"):
        yield {"model.time_density": density}


def sweep_interpolant():
    """The path between data and noise."""
    for interpolant in ("linear", "trigonometric", "vp"):
        yield {"model.interpolant": interpolant}


def sweep_gamma():
    """Noise on the way, of a stochastic interpolant."""
    for gamma in (0.0, 0.5, 1.0):
        yield {"model.gamma": gamma}


def sweep_coupling():
    """How noise is paired with data within a batch."""
    for coupling in ("independent", "sinkhorn", "exact"):
        yield {"model.coupling": coupling}
