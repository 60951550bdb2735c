"""RealNVP on MNIST: two scales, residual conditioners, logit transform. An accelerator is recommended.

    python -m launch.run --config=configs/realnvp_mnist.py --workdir=runs/realnvp_mnist --config.data.dir=DIR

The paper has no MNIST number; others report 1.06 bits a dimension for this family (Grathwohl et al. 2019, table 2).
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on generated data of the same shape."""
    model = base.realnvp()
    base.update(model.conditioner, width=32, depth=4)
    config = base.config(
        data=base.update(base.data("mnist"), batch_size=64),
        train=base.update(base.train(), num_steps=50000, eval_every=2000, checkpoint_every=2000),
        optimizer=base.update(base.optimizer(), learning_rate=1e-3, schedule="constant"),
        model=model,
        sampler=base.update(base.one_pass(), num_samples=10000),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    if base.is_tiny(arg):
        return base.tiny(config, name="synthetic", shape=(8, 8, 1), levels=256, num_classes=10)
    return config
