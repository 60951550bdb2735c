"""A random forest on the 1797 handwritten digits of 8 x 8 pixels that come with scikit-learn.

    python -m launch.run --config=configs/random_forest_digits.py --workdir=runs/forest

2 CPU cores that other work shared, 1 minute: error 3.2 % out of bag and 1.4 % on held-out digits after 200 trees.
Several runs, such as those of the sweep `features`, are drawn beside each other by research.figures.oob.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds."""
    config = base.config(
        data=base.data("digits"),
        train=base.update(base.train(), num_steps=20, log_every=1, eval_every=1, checkpoint_every=10),
        model=base.update(base.random_forest(), max_nodes=1023),
        mesh=base.update(base.mesh(), data=1),
        precision=base.precision(),
    )
    return base.tiny(config) if base.is_tiny(arg) else config


def sweep_depth():
    """How deep a tree may grow, to pure leaves at the end."""
    for depth in (2, 4, 6, 8, 12, 0):
        yield {"model.max_depth": depth}


def sweep_features():
    """How many features a node may choose from: few make trees less alike, and each of them worse."""
    for number in ("1", "log2", "sqrt", "16", "all"):
        yield {"model.max_features": number}


def sweep_features_per():
    """Features drawn for each node (Breiman) or once for each tree (Ho), and how many."""
    for per in ("node", "tree"):
        for share in ("0.125", "0.25", "0.5"):
            yield {"model.features_per": per, "model.max_features": share}


def sweep_kinds():
    """Bagging, random forests, extra trees, and these with rows drawn too."""
    yield {"model.max_features": "all"}
    yield {"model.max_features": "log2"}
    yield {"model.splitter": "random", "model.bootstrap": False}
    yield {"model.splitter": "random"}
