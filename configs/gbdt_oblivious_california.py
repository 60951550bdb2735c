"""Boosted oblivious trees on California housing (20,640 rows): the median price of a block's houses.

    python -m launch.run --config=configs/gbdt_oblivious_california.py --workdir=runs/california --config.data.dir=DIR

The file is looked for in data.dir, and downloaded there where there is none. 2 CPU cores that other work shared, half a
minute: after 1000 trees the held-out mean squared error is 1.80e9, a root of 42,400 dollars.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on a generated table."""
    config = base.config(
        data=base.data("california_housing"),
        train=base.update(base.train(), num_steps=100, log_every=1, eval_every=5, checkpoint_every=25),
        model=base.gbdt_oblivious(),
        mesh=base.update(base.mesh(), data=1),
        precision=base.precision(),
    )
    return base.tiny(config, name="friedman") if base.is_tiny(arg) else config


def sweep_l2_shrinkage():
    """Regularisation against the rate, and the depth."""
    for depth in (4, 6, 8):
        for l2 in (1.0, 3.0, 10.0):
            for rate in (0.05, 0.1, 0.2):
                yield {"model.depth": depth, "model.l2_leaf_reg": l2, "model.learning_rate": rate}
