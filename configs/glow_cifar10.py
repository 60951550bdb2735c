"""Glow on CIFAR-10 as in the paper: 3 levels of 32 steps, 512 channels, batches of 64 a device on 8 devices.

    python -m launch.run --config=configs/glow_cifar10.py --workdir=runs/glow_cifar10 --config.data.dir=DIR

The paper: 3.35 bits a dimension. It needs accelerators, whose compilers like a loop; on a CPU set model.unroll.
Gradients are clipped and weights averaged here, not there. Not run here.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on generated data."""
    config = base.config(
        data=base.update(base.data("cifar10"), batch_size=512),
        train=base.update(base.train(), num_steps=180000, eval_every=5000, checkpoint_every=5000),
        optimizer=base.update(base.optimizer(), learning_rate=1e-3, schedule="constant", warmup_steps=1000),
        model=base.update(base.glow(), unroll=False, remat=True),
        sampler=base.update(base.one_pass(), num_samples=10000, temperature=0.7),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    if base.is_tiny(arg):
        return base.tiny(config, name="synthetic", shape=(8, 8, 3), levels=256, num_classes=10)
    return config


def sweep_permutation():
    """What mixes channels, with both couplings: figure 3 of the paper."""
    for coupling in ("affine", "additive"):
        for permutation in ("reverse", "shuffle", "plu"):
            yield {"model.coupling": coupling, "model.permutation": permutation}
