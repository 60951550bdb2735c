"""Rectified flow on scikit-learn's handwritten digits, class-conditional: the demo.

python -m launch.run --config=configs/rectified_flow_digits.py --workdir=runs/digits
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" is a version that runs in seconds."""
    config = base.config(
        data=base.data("digits"),
        train=base.update(base.train(), num_steps=1000, log_every=50, eval_every=250, checkpoint_every=250),
        optimizer=base.update(base.optimizer(), learning_rate=2e-3, beta2=0.99, weight_decay=0.01, ema_decay=0.995),
        net=base.update(base.net(), name="unet", unet=dict(channels=(16, 32), blocks=1, dropout=0.1)),
        model=base.rectified_flow(),
        sampler=base.update(base.sampler(), num_samples=1440),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    return base.tiny(config) if base.is_tiny(arg) else config


def sweep_lr():
    """The learning rate over a factor of 16."""
    for rate in (5e-4, 2e-3, 8e-3):
        yield {"optimizer.learning_rate": rate}


def sweep_net():
    """The U-Net with and without attention at 4 pixels, and two transformers."""
    yield {"net.unet.attention": ()}
    yield {"net.unet.attention": (4,)}
    for positions in ("sincos", "rope"):
        yield {
            "net.name": "dit",
            "net.dit.width": 96,
            "net.dit.depth": 4,
            "net.dit.heads": 4,
            "net.dit.positions": positions,
        }


def sweep_seed():
    """Three seeds, for an interval."""
    for seed in range(3):
        yield {"seed": seed}
