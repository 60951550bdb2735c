"""NICE on MNIST at the paper's architecture: 4 couplings of 5 hidden layers of 1000 units, logistic prior.

    python -m launch.run --config=configs/nice_mnist.py --workdir=runs/nice_mnist --config.data.dir=DIR

The paper: 1980.50 nats (4.36 bits a dimension) after 1500 epochs; this is 100. An accelerator is recommended. On 2 CPU
cores 25 epochs (data.batch_size=500, train.num_steps=3000) took 40 minutes beside other work and gave 4.78 bits a
dimension on the test set, 4.64 on training data; a full-covariance Gaussian has 5.28.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on generated data of the same shape."""
    config = base.config(
        data=base.update(base.data("mnist"), batch_size=200),
        train=base.update(base.train(), num_steps=30000, log_every=100, eval_every=1500, checkpoint_every=1500),
        optimizer=base.update(base.optimizer(), learning_rate=1e-3, beta2=0.99, ema_decay=0.999),
        model=base.nice(),
        sampler=base.one_pass(),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    if base.is_tiny(arg):
        return base.tiny(config, name="synthetic", shape=(28, 28, 1), levels=256, num_classes=10)
    return config
