"""Glow on scikit-learn's handwritten digits, told their class; dropout and weight decay against overfitting.

python -m launch.run --config=configs/glow_digits.py --workdir=runs/glow_digits

2 CPU cores, 4 minutes: 2.20 bits a dimension on held-out digits, 2.03 on training ones;
a full-covariance Gaussian has 2.95.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" is a version that runs in seconds."""
    model = base.update(base.glow(), conditional=True, levels=2, steps=6)
    base.update(model.conditioner, width=48, dropout=0.1)
    config = base.config(
        data=base.data("digits"),
        train=base.update(base.train(), num_steps=2500, log_every=50, eval_every=500, checkpoint_every=500),
        optimizer=base.update(base.optimizer(), learning_rate=2e-3, weight_decay=0.05),
        model=model,
        sampler=base.update(base.one_pass(), num_samples=1440),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    return base.tiny(config) if base.is_tiny(arg) else config


def sweep_permutation():
    """What mixes channels, with both couplings: figure 3 of the paper."""
    for coupling in ("affine", "additive"):
        for permutation in ("reverse", "shuffle", "plu"):
            yield {"model.coupling": coupling, "model.permutation": permutation}


def sweep_convolution():
    """The three parameterisations of the 1x1 convolution."""
    for permutation in ("plu", "direct", "householder"):
        yield {"model.permutation": permutation}


def sweep_depth():
    """Steps of a level."""
    for steps in (1, 2, 4, 8):
        yield {"model.steps": steps}


def sweep_temperature():
    """Section 6.2: less of the latent's width, cleaner samples."""
    for temperature in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        yield {"sampler.temperature": temperature}
