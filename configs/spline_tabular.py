"""A neural spline flow on a table of the UCI repository: the joint density of features and target.

    python -m launch.run --config=configs/spline_tabular.py --workdir=runs/power --config.data.dir=DIR

2 CPU cores, a minute: 4.45 bits a dimension on held-out rows, 4.35 on training ones; a full-covariance Gaussian 4.81.
"""

from configs import base


def get_config(arg=""):
    """The experiment on 8611 rows of five columns; arg "tiny" runs in seconds on generated data."""
    model = base.update(base.spline_flow(), couplings=6)
    base.update(model.conditioner, width=64, dropout=0.1)
    config = base.config(
        data=base.update(base.data("uci_regression"), table="power-plant", batch_size=256),
        train=base.update(base.train(), num_steps=3000, eval_every=500, checkpoint_every=500),
        optimizer=base.update(base.optimizer(), learning_rate=1e-3, weight_decay=0.01, ema_decay=0.995),
        model=model,
        sampler=base.update(base.one_pass(), num_samples=4000),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    return base.tiny(config, name="synthetic", shape=(5,)) if base.is_tiny(arg) else config


def sweep_split():
    """Five of the twenty splits, for an interval."""
    for split in range(5):
        yield {"data.split": split}


def sweep_table():
    """Tables whose columns are continuous, or nearly; discrete ones have no density to speak of."""
    for table in ("power-plant", "concrete", "bostonHousing"):
        yield {"data.table": table}
