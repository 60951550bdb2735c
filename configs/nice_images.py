"""NICE's other architectures: CIFAR-10 ("", 4 hidden layers of 2000), SVHN ("svhn", the same), faces ("tfd", of 5000).

    python -m launch.run --config=configs/nice_images.py --workdir=runs/nice_cifar10 --config.data.dir=DIR
    python -m launch.run --config=configs/nice_images.py:svhn --workdir=runs/nice_svhn --config.data.dir=FILE.npz

The paper: 5371.78 nats on [-1, 1] (4.48 bits a dimension), 11496.55 and 5514.71, after whitening, which is left out;
SVHN and the faces are an .npz with train_x and test_x. It needs an accelerator. Not run here.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "svhn" or "tfd" takes another set, "tiny" runs in seconds on generated data."""
    tiny = base.is_tiny(arg, "svhn", "tfd")
    model = base.update(base.nice(), prior="gaussian" if arg == "tfd" else "logistic")
    base.update(model.conditioner, width=5000 if arg == "tfd" else 2000, depth=4)
    config = base.config(
        data=base.update(base.data("npz" if arg in ("svhn", "tfd") else "cifar10"), batch_size=200),
        train=base.update(base.train(), num_steps=100000, eval_every=5000, checkpoint_every=5000),
        optimizer=base.update(base.optimizer(), beta2=0.99),
        model=model,
        sampler=base.one_pass(),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    return base.tiny(config, name="synthetic", shape=(8, 8, 3), levels=256) if tiny else config
