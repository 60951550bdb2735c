"""Boosted linear functions on a UCI regression table: least squares, ridge, lasso and what lies between.

    python -m launch.run --config=configs/gblinear_uci.py --workdir=runs/gblinear --config.data.dir=DIR

The files are looked for in data.dir, and downloaded there where there are none. 2 CPU cores that other work shared, 8
seconds: of power-plant the held-out mean squared error is 22.64 after 500 rounds, without penalties.
"""

from configs import base

TABLES = ("bostonHousing", "concrete", "energy", "power-plant", "wine-quality-red", "yacht")


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on a generated table."""
    config = base.config(
        data=base.update(base.data("uci_regression"), target=True),
        train=base.update(base.train(), num_steps=50, log_every=1, eval_every=5, checkpoint_every=25),
        model=base.update(base.gblinear(), num_trees=500),
        mesh=base.update(base.mesh(), data=1),
        precision=base.precision(),
    )
    return base.tiny(config, name="friedman") if base.is_tiny(arg) else config


def sweep_tables():
    """Each table, with neither penalty and with some of each."""
    for table in TABLES:
        for l2, l1 in ((0.0, 0.0), (0.1, 0.0), (0.0, 0.1)):
            yield {"data.table": table, "model.reg_lambda": l2, "model.reg_alpha": l1}


def sweep_penalties():
    """The elastic net: the penalty of squares against that of sizes, in the unit of y."""
    for l2 in (0.0, 0.01, 0.1, 1.0):
        for l1 in (0.0, 0.03, 0.1, 0.3, 1.0):
            yield {"model.reg_lambda": l2, "model.reg_alpha": l1}
