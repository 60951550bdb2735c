"""XGBoost's first demo: trees of depth 2 tell poisonous mushrooms (8,124 of them) from those that can be eaten.

    python -m launch.run --config=configs/xgb_agaricus.py --workdir=runs/agaricus --config.data.dir=DIR

The demo's are the first two trees, and as there both kinds are as likely at the start: log-losses are .233376 in
training and .226686 in testing after the first tree, and errors .0465 and .0428; after the second .0223 and .0217. The
files are looked for in data.dir, and downloaded there where there are none. 2 CPU cores that other work shared, 16
seconds: after 20 trees the log-losses are .00107, and no mushroom of the test set is told wrong.
"""

from configs import base

OWN = {"objective": "logistic:start=0", "learning_rate": 1.0, "depth": 2, "num_trees": 20, "block": 1}


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on a generated table."""
    config = base.config(
        data=base.data("agaricus"),
        train=base.update(base.train(), num_steps=20, log_every=1, eval_every=1, checkpoint_every=10),
        model=base.update(base.gbdt(), **OWN),
        mesh=base.update(base.mesh(), data=1),
        precision=base.precision(),
    )
    return base.tiny(config, name="friedman_classes") if base.is_tiny(arg) else config


def sweep_size():
    """More trees, and deeper ones."""
    for trees in (2, 20):
        for depth in (1, 2, 4):
            size = {"model.num_trees": trees, "model.block": 1, "train.num_steps": trees}
            yield size | {"model.depth": depth}
