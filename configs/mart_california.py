"""Friedman's gradient boosting (MART, 2001) on California housing: the three losses of his paper, shrinkage and depth.

    python -m launch.run --config=configs/mart_california.py --workdir=runs/mart --config.data.dir=DIR

Splits are of squared errors of gradients, leaves have the best value of their loss: means, medians, or Huber's. The
file is looked for in data.dir, and downloaded there where there is none. 2 CPU cores that other work shared, half a
minute: after 200 trees the held-out mean squared error is 2.40e9, a root of 48,900 dollars.
"""

from configs import base

OWN = {"newton": False, "leaf_method": "exact", "depth": 3, "borders": "quantile", "num_trees": 200}
OWN |= dict.fromkeys(("reg_lambda", "min_child_weight", "gamma"), 0.0)


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on a generated table."""
    config = base.config(
        data=base.data("california_housing"),
        train=base.update(base.train(), num_steps=20, log_every=1, eval_every=5, checkpoint_every=10),
        model=base.update(base.gbdt(), **OWN),
        mesh=base.update(base.mesh(), data=1),
        precision=base.precision(),
    )
    return base.tiny(config, name="friedman") if base.is_tiny(arg) else config


def sweep_loss():
    """Squares, distances, and Huber's between them, of prices in dollars."""
    for loss in ("squared", "absolute", "huber:delta=50000"):
        yield {"model.objective": loss}


def sweep_shrinkage():
    """The rate against the number of trees: small steps need many, and end lower."""
    for rate in (0.05, 0.1, 0.25, 1.0):
        for blocks in (5, 20, 80):
            size = {"model.num_trees": 10 * blocks, "model.block": 10, "train.num_steps": blocks}
            yield {"model.learning_rate": rate} | size


def sweep_depth():
    """How many columns may act together: stumps add up functions of one."""
    for depth in (1, 2, 3, 5, 7):
        yield {"model.depth": depth}
